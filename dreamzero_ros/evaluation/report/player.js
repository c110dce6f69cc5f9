// SPDX-License-Identifier: Apache-2.0
// Plays the pictures of an episode and moves the cursor of the plots with them; the one time is `now`.
"use strict";

const data = readEpisode();
const find = (id) => document.getElementById(id);
const pictures = { observed: find("observed"), dreamed: find("dreamed") };
const AHEAD = 4; // pictures that are loaded before they are needed
const WINDOWS_S = [5, 15, 60, 300, Infinity]; // stretches of time that the plots show
const MARKS = [
  ...data.calls.answered.map((at, k) => (data.calls.late[k] || data.calls.used[k] === 0 ? at : NaN)),
  ...data.worst.map((moment) => moment.at),
]
  .filter((at) => !Number.isNaN(at))
  .sort((a, b) => a - b);

const plots = data.joints.map((_, j) => new JointPlot(data, j));
let now = 0;
let playing = false;
let speed = 1;
let span = 15;
let view = { begin: -1, end: -1 };
let shown = new Set();
let stale = true; // the plots in sight must be drawn again
let before = 0; // time of the last frame on the screen [ms]

/** Goes to a time; whether it also becomes the address of the page is the caller's to say. */
function seek(time, remember = true) {
  now = Math.min(Math.max(time, 0), data.duration);
  if (remember) history.replaceState(null, "", `#t=${now.toFixed(2)}`);
  render();
}

function play(wanted) {
  if (wanted && now >= data.duration) now = 0;
  playing = wanted;
  find("play").textContent = playing ? "Pause" : "Play";
  find("play").setAttribute("aria-pressed", playing);
  if (playing) requestAnimationFrame(start);
  else seek(now);
}

function start(at) {
  before = at;
  requestAnimationFrame(advance);
}

function advance(at) {
  if (!playing) return;
  now = Math.min(now + ((at - before) / 1000) * speed, data.duration);
  before = at;
  render();
  if (now >= data.duration) play(false);
  else requestAnimationFrame(advance);
}

/** Steps to the next or the one before of ascending times. */
function step(times, direction) {
  const i = direction > 0 ? after(times, now + 1e-3) : after(times, now - 1e-3) - 1;
  if (i >= 0 && i < times.length) seek(times[i]);
}

function render() {
  Object.keys(pictures).forEach(showPicture);
  const fine = clock(now, true);
  find("time").textContent = `${fine} of ${clock(data.duration, true)}`;
  find("scrub").value = now;
  find("scrub").setAttribute("aria-valuetext", fine);
  showCall();
  moveView();
  for (const plot of plots) {
    if (!plot.visible) continue;
    if (plot.stale || stale) plot.draw(view, shown);
    plot.stale = false;
    plot.point(now);
  }
  if (stale) plots.forEach((plot) => (plot.stale = !plot.visible));
  stale = false;
}

/** Shows the picture of the time; while one is loading no other is asked for, so fast playing leaves some out. */
function showPicture(kind) {
  const image = pictures[kind];
  const i = Math.max(after(data.pictures.times, now) - 1, 0);
  const there = data.pictures[kind][i] === 1;
  image.hidden = !there;
  image.nextElementSibling.hidden = there;
  const name = (index) => `${kind}/${String(index).padStart(6, "0")}.jpg`;
  if (!there || image.getAttribute("src") === name(i)) return;
  if (image.hasAttribute("src") && !image.complete) return;
  image.src = name(i);
  for (let next = i + 1; next <= i + AHEAD; next++) {
    if (data.pictures[kind][next] === 1) new Image().src = name(next);
  }
}

/** The call whose chunk came last. */
function showCall() {
  const { answered, captured, errors, unit, used, dropped, late, limits, slower } = data.calls;
  const k = after(answered, now) - 1;
  const words = k < 0 ? ["no chunk yet"] : [
    `call ${k}`,
    `error ${Number.isNaN(errors[k]) ? "unknown" : `${short(errors[k])} ${unit}`}`,
    `picture ${Math.round(1000 * (answered[k] - captured[k]))} ms old`,
    `${used[k]} targets used, ${dropped[k]} dropped`,
    `${limits[k]} limits hit`,
  ];
  if (k >= 0 && slower[k] > 1) words.push(`slowed down ${slower[k]} times`);
  if (k >= 0 && late[k]) words.push("deadline missed");
  if (k >= 0 && used[k] === 0) words.push("nothing of the chunk was used");
  find("call").textContent = words.join(" · ");
}

/** The plots follow the time, which stays in the middle. */
function moveView() {
  const length = Math.min(span, data.duration);
  const begin = Math.min(Math.max(now - length / 2, 0), data.duration - length);
  if (begin === view.begin && begin + length === view.end) return;
  view = { begin, end: begin + length };
  stale = true;
}

/** Errors of the calls, misses and worst moments over the whole episode, behind the scrubber. */
function drawTimeline() {
  const { pen, width, height } = prepare(find("timeline"));
  const x = (time) => Math.round((time / data.duration) * (width - 1)) + 0.5;
  const { captured, errors } = data.calls;
  const largest = errors.reduce((a, b) => (b > a ? b : a), 0) || 1;
  pen.fillStyle = color("faint");
  pen.fillRect(0, height - 2, width, 2);
  pen.fillStyle = color("recorded");
  errors.forEach((error, k) => {
    if (Number.isNaN(error)) return;
    const tall = (error / largest) * (height - 12);
    const wide = x(captured[k + 1] ?? captured[k] + data.chunks.step * data.chunks.length) - x(captured[k]);
    pen.fillRect(x(captured[k]), height - 2 - tall, Math.max(wide - 1, 1), tall);
  });
  data.calls.answered.forEach((at, k) => {
    const wrong = data.calls.late[k] || data.calls.used[k] === 0;
    if (!wrong && !data.calls.fresh[k]) return;
    pen.strokeStyle = color(data.calls.late[k] ? "bad" : wrong ? "mark" : "hold");
    pen.lineWidth = wrong ? 2 : 1;
    segment(pen, x(at), wrong ? 6 : 0, x(at), wrong ? height - 6 : height);
  });
  pen.fillStyle = color("policy");
  for (const { at } of data.worst) {
    pen.beginPath();
    pen.moveTo(x(at) - 5, 0);
    pen.lineTo(x(at) + 5, 0);
    pen.lineTo(x(at), 8);
    pen.fill();
  }
}

function zoom(direction) {
  const select = find("span");
  select.selectedIndex = Math.min(Math.max(select.selectedIndex + direction, 0), select.options.length - 1);
  select.dispatchEvent(new Event("change"));
}

function redraw() {
  stale = true;
  drawTimeline();
  render();
}

const KEYS = {
  " ": () => play(!playing),
  ArrowRight: (event) => (event.shiftKey ? seek(now + 1) : step(data.pictures.times, 1)),
  ArrowLeft: (event) => (event.shiftKey ? seek(now - 1) : step(data.pictures.times, -1)),
  n: () => step(MARKS, 1),
  p: () => step(MARKS, -1),
  "+": () => zoom(-1),
  "-": () => zoom(1),
};

document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("select, button, a, input[type=checkbox]");
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  if (busy && (event.key === " " || busy.matches("select"))) return; // these keys mean something there
  event.preventDefault();
  KEYS[event.key](event);
});

find("play").addEventListener("click", () => play(!playing));
find("back").addEventListener("click", () => step(data.pictures.times, -1));
find("forward").addEventListener("click", () => step(data.pictures.times, 1));
find("mark").addEventListener("click", () => step(MARKS, 1));
find("mark").disabled = MARKS.length === 0;
find("scrub").max = data.duration;
find("scrub").addEventListener("input", (event) => seek(Number(event.target.value)));
find("speed").addEventListener("change", (event) => (speed = Number(event.target.value)));
find("span").addEventListener("change", (event) => {
  span = WINDOWS_S[event.target.selectedIndex];
  render();
});
for (const [kind, image] of Object.entries(pictures)) {
  image.addEventListener("load", () => {
    const shape = `${image.naturalWidth} / ${image.naturalHeight}`;
    for (const frame of document.querySelectorAll("figure .frame")) frame.style.aspectRatio = shape;
    showPicture(kind);
  });
}
for (const box of document.querySelectorAll("input[name=shown]")) {
  box.addEventListener("change", chooseShown);
}
window.addEventListener("hashchange", fromAddress);
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

function chooseShown() {
  const boxes = [...document.querySelectorAll("input[name=shown]:checked")];
  shown = new Set(boxes.map((box) => box.value));
  stale = true;
  render();
}

/** #t=12.3 in the address is a time in seconds. */
function fromAddress() {
  const time = Number.parseFloat(new URLSearchParams(location.hash.slice(1)).get("t"));
  if (!Number.isNaN(time)) seek(time, false);
}

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const plot = plots.find((candidate) => candidate.element === entry.target);
    plot.visible = entry.isIntersecting;
    plot.stale = true;
    if (!plot.visible) plot.clear();
  }
  render();
}, { rootMargin: "200px" });

for (const plot of plots) {
  find("plots").append(plot.element);
  sight.observe(plot.element);
  const point = (event) => seek(plot.time(event.offsetX));
  plot.canvas.addEventListener("pointerdown", (event) => {
    plot.canvas.setPointerCapture(event.pointerId);
    point(event);
  });
  plot.canvas.addEventListener("pointermove", (event) => event.buttons && point(event));
}
find("span").selectedIndex = WINDOWS_S.indexOf(span);
chooseShown();
drawTimeline();
fromAddress();
