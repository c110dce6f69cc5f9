// SPDX-License-Identifier: Apache-2.0
// Tables whose columns can be sorted with the mouse or the keyboard.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => sort(table, heading, column));
  });
}

/** Sorts the rows by a column; another time turns the order round. Rows without a value stay last. */
function sort(table, heading, column) {
  const order = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", order);
  const body = table.tBodies[0];
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
  rows.sort(([a], [b]) => (a === "") - (b === "") || (a === "" ? 0 : sign * compare(a, b)));
  body.append(...rows.map(([, row]) => row));
}

function value(cell) {
  const stored = cell.dataset.value;
  if (stored === undefined) return cell.textContent.trim();
  return stored === "" ? "" : Number(stored);
}

function compare(a, b) {
  return typeof a === "number" ? a - b : a.localeCompare(b);
}
