// SPDX-License-Identifier: Apache-2.0
// The data of an episode, and plots of one joint each on canvas: only what is in view is drawn, and of many
// values that share a pixel the least and the greatest.
"use strict";

const MARGIN = { left: 46, right: 6, top: 8, bottom: 18 };
const GAP_S = 1; // a line is broken where its values are further apart
const PIXELS_PER_BOUNDARY = 8; // boundaries of chunks are drawn where they are further apart on average
const LINES = { recorded: 4, planned: 3, measured: 1.3 }; // thickness, in the order in which they are drawn
const root = getComputedStyle(document.documentElement);
const color = (name) => root.getPropertyValue(`--${name}`).trim();

/** Base64 of little-endian numbers as a typed array. */
function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
}

/** Index of the first entry of an ascending array that is greater than a value. */
function after(array, value) {
  let low = 0;
  let high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Reads the data of the page; arrays of joints become views of one array. */
function readEpisode() {
  const data = JSON.parse(document.getElementById("episode").textContent);
  const rows = (text) => {
    const all = unpack(text, Float32Array);
    const length = all.length / data.joints.length;
    return data.joints.map((_, j) => all.subarray(j * length, (j + 1) * length));
  };
  for (const name of Object.keys(LINES)) {
    const line = data.lines[name];
    data.lines[name] = { times: unpack(line.times, Float64Array), rows: rows(line.values) };
  }
  data.chunks.begin = unpack(data.chunks.begin, Float64Array);
  data.chunks.rows = rows(data.chunks.values);
  for (const kind of ["captured", "answered", "errors"]) {
    data.calls[kind] = unpack(data.calls[kind], Float64Array);
  }
  data.pictures.times = unpack(data.pictures.times, Float64Array);
  for (const kind of ["observed", "dreamed"]) data.pictures[kind] = unpack(data.pictures[kind], Uint8Array);
  return data;
}

/** Round numbers within a range, about so many. */
function ticks(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= rough * 0.99);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

/** A time as m:ss or, in short stretches, with tenths. */
function clock(seconds, fine) {
  const whole = fine ? Math.floor(seconds * 10 + 1e-6) / 10 : Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  const rest = whole - 60 * minutes;
  return `${minutes}:${(fine ? rest.toFixed(1) : String(rest)).padStart(fine ? 4 : 2, "0")}`;
}

/** Sizes a canvas to its place on the screen, and returns what to draw with, in CSS pixels. */
function prepare(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  return { pen, width, height };
}

/** One joint over time. */
class JointPlot {
  /**
   * @param data what `readEpisode` returns
   * @param j index of the joint
   */
  constructor(data, j) {
    this.data = data;
    this.j = j;
    this.joint = data.joints[j];
    this.visible = false;
    this.element = document.getElementById("plot").content.firstElementChild.cloneNode(true);
    this.canvas = this.element.querySelector("canvas");
    this.cursor = this.element.querySelector(".cursor");
    const { name, unit, lower, upper } = this.joint;
    this.element.querySelector("h3").textContent = name;
    const open = (value) => (value === null ? "none" : short(value));
    this.limits = lower === null && upper === null ? "no limits" : `limits ${open(lower)} to ${open(upper)}`;
    this.element.querySelector(".limits").textContent = `${unit}, ${this.limits}`;
    this.canvas.setAttribute(
      "aria-label",
      `Joint ${name} over time: measured, recorded, predicted and planned [${unit}], ${this.limits}`,
    );
  }

  /** Where a time is on the canvas, in CSS pixels. */
  x(time) {
    const share = (time - this.view.begin) / (this.view.end - this.view.begin);
    return MARGIN.left + share * (this.width - MARGIN.left - MARGIN.right);
  }

  /** The time at a place on the canvas. */
  time(x) {
    const share = (x - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right);
    return this.view.begin + share * (this.view.end - this.view.begin);
  }

  y(value) {
    const share = (value - this.low) / (this.high - this.low);
    return this.height - MARGIN.bottom - share * (this.height - MARGIN.top - MARGIN.bottom);
  }

  /**
   * Draws a stretch of time.
   * @param view {begin, end} in seconds
   * @param shown set of names of what is shown; "limits" scales the plot so that they are in it
   */
  draw(view, shown) {
    this.view = view;
    const { pen, width, height } = prepare(this.canvas);
    Object.assign(this, { pen, width, height });
    this.scale(shown.has("limits"));
    this.axes();
    pen.save();
    pen.beginPath();
    pen.rect(MARGIN.left, 0, width - MARGIN.left - MARGIN.right, height - MARGIN.bottom);
    pen.clip();
    this.limitLines();
    this.boundaries();
    for (const [name, thickness] of Object.entries(LINES)) {
      if (shown.has(name)) this.line(this.data.lines[name], color(name), thickness);
    }
    if (shown.has("predicted")) this.chunks();
    pen.restore();
  }

  /** Empties the canvas, for example because it is out of sight. */
  clear() {
    this.canvas.width = this.canvas.height = 0;
  }

  /** Puts the cursor and what the lines are at a time. */
  point(now) {
    const inside = now >= this.view.begin && now <= this.view.end;
    this.cursor.hidden = !inside;
    if (inside) this.cursor.style.transform = `translateX(${this.x(now)}px)`;
    for (const name of Object.keys(LINES)) {
      const { times, rows } = this.data.lines[name];
      const i = after(times, now) - 1;
      const value = i >= 0 && now - times[i] < GAP_S ? rows[this.j][i] : NaN;
      this.element.querySelector(`.${name} b`).textContent = Number.isNaN(value) ? "–" : value.toFixed(3);
    }
  }

  scale(withLimits) {
    const ends = [this.joint.low, this.joint.high];
    if (withLimits) ends.push(this.joint.lower, this.joint.upper);
    const known = ends.filter((value) => value !== null);
    const low = known.length ? Math.min(...known) : 0;
    const high = known.length ? Math.max(...known) : 1;
    const pad = 0.06 * (high - low) || 0.05;
    this.low = low - pad;
    this.high = high + pad;
  }

  axes() {
    const { pen } = this;
    const { begin, end } = this.view;
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    pen.lineWidth = 1;
    pen.strokeStyle = color("faint");
    pen.fillStyle = color("soft");
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of ticks(this.low, this.high, 4)) {
      const y = Math.round(this.y(value)) + 0.5;
      segment(pen, MARGIN.left, y, this.width - MARGIN.right, y);
      pen.fillText(short(value), MARGIN.left - 6, y);
    }
    pen.textAlign = "center";
    pen.textBaseline = "bottom";
    for (const time of ticks(begin, end, this.width / 110)) {
      const x = Math.min(Math.max(this.x(time), MARGIN.left + 12), this.width - 18);
      pen.fillText(clock(time, end - begin < 8), x, this.height);
    }
  }

  limitLines() {
    const { pen } = this;
    pen.lineWidth = 1.5;
    pen.strokeStyle = color("soft");
    pen.setLineDash([6, 4]);
    for (const limit of [this.joint.lower, this.joint.upper]) {
      if (limit !== null) segment(pen, MARGIN.left, this.y(limit), this.width, this.y(limit));
    }
    pen.setLineDash([]);
  }

  line({ times, rows }, ink, thickness) {
    const { pen } = this;
    const values = rows[this.j];
    const first = Math.max(0, after(times, this.view.begin) - 1);
    const last = Math.min(times.length - 1, after(times, this.view.end));
    const dense = last - first > 2 * this.width;
    pen.strokeStyle = ink;
    pen.lineWidth = thickness;
    pen.lineJoin = "round";
    pen.beginPath();
    if (dense) this.extremes(times, values, first, last);
    else this.every(times, values, first, last);
    pen.stroke();
  }

  every(times, values, first, last) {
    let open = false;
    for (let i = first; i <= last; i++) {
      if (Number.isNaN(values[i])) {
        open = false;
        continue;
      }
      if (open && times[i] - times[i - 1] < GAP_S) this.pen.lineTo(this.x(times[i]), this.y(values[i]));
      else this.pen.moveTo(this.x(times[i]), this.y(values[i]));
      open = true;
    }
  }

  extremes(times, values, first, last) {
    let column = NaN;
    let low = Infinity;
    let high = -Infinity;
    const flush = () => {
      if (high < low) return;
      this.pen.moveTo(column, this.y(low) + 0.5);
      this.pen.lineTo(column, this.y(high) - 0.5);
    };
    for (let i = first; i <= last; i++) {
      const at = Math.round(this.x(times[i]));
      if (at !== column) {
        flush();
        column = at;
        low = Infinity;
        high = -Infinity;
      }
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
    flush();
  }

  chunks() {
    const { pen } = this;
    const { begin, rows, step, length } = this.data.chunks;
    const values = rows[this.j];
    const last = after(begin, this.view.end);
    const narrow = (this.x(step * length) - this.x(0)) < 3;
    pen.strokeStyle = color("policy");
    pen.lineWidth = 1;
    pen.beginPath();
    for (let k = after(begin, this.view.begin - step * (length + 1)); k < last; k++) {
      const chunk = values.subarray(k * length, (k + 1) * length);
      if (narrow) {
        const x = this.x(begin[k]);
        pen.moveTo(x, this.y(Math.min(...chunk)));
        pen.lineTo(x, this.y(Math.max(...chunk)));
      } else {
        chunk.forEach((value, i) => {
          const x = this.x(begin[k] + (i + 1) * step);
          if (i === 0) pen.moveTo(x, this.y(value));
          else pen.lineTo(x, this.y(value));
        });
      }
    }
    pen.stroke();
  }

  boundaries() {
    const { pen } = this;
    const { answered, late, used } = this.data.calls;
    const first = after(answered, this.view.begin);
    const last = after(answered, this.view.end);
    const room = (last - first) * PIXELS_PER_BOUNDARY < this.width;
    const foot = this.height - MARGIN.bottom;
    for (let k = first; k < last; k++) {
      const x = Math.round(this.x(answered[k])) + 0.5;
      const wrong = late[k] || used[k] === 0;
      pen.lineWidth = 1;
      pen.strokeStyle = color("line");
      if (room) segment(pen, x, MARGIN.top, x, foot);
      if (!wrong) continue;
      pen.lineWidth = 2;
      pen.strokeStyle = color(late[k] ? "bad" : "mark");
      segment(pen, x, 0, x, room ? foot : MARGIN.top);
    }
  }
}

function segment(pen, x0, y0, x1, y1) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

function short(value) {
  return String(Number(value.toPrecision(3)));
}
