// Moving and zooming: the stage shows a part of the drawing by its viewBox.
const stage = byId("stage");
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
const LEAST = 0.05, MOST = 6, READABLE = 0.5;

const view = {
  x: 0, y: 0, scale: 1, // the upper left corner in units of the drawing, and pixels for each unit
  box: { x: 0, y: 0, w: 1, h: 1 }, // what there is to see
  running: 0,
  fitted: false,

  paint() {
    const { clientWidth: wide, clientHeight: high } = stage;
    stage.querySelector("svg.drawing").setAttribute(
      "viewBox", [this.x, this.y, wide / this.scale, high / this.scale].map((n) => n.toFixed(2)).join(" "));
  },

  put(x, y, scale) {
    cancelAnimationFrame(this.running);
    Object.assign(this, { x, y, scale: Math.min(Math.max(scale, LEAST), MOST) });
    this.paint();
  },

  glide(x, y, scale) {
    if (calm.matches) return this.put(x, y, scale);
    cancelAnimationFrame(this.running);
    const from = { x: this.x, y: this.y, scale: this.scale }, start = performance.now();
    const step = (now) => {
      const part = Math.min((now - start) / 180, 1), soft = part * (2 - part);
      this.x = from.x + (x - from.x) * soft;
      this.y = from.y + (y - from.y) * soft;
      this.scale = from.scale + (scale - from.scale) * soft;
      this.paint();
      if (part < 1) this.running = requestAnimationFrame(step);
    };
    this.running = requestAnimationFrame(step);
  },

  by(dx, dy) { this.put(this.x - dx / this.scale, this.y - dy / this.scale, this.scale); },

  zoom(factor, px = stage.clientWidth / 2, py = stage.clientHeight / 2) {
    const scale = Math.min(Math.max(this.scale * factor, LEAST), MOST);
    this.put(this.x + px / this.scale - px / scale, this.y + py / this.scale - py / scale, scale);
  },

  // The whole drawing; or, where letters would be too small to read, its upper left part.
  fit(readable = false) {
    const { clientWidth: wide, clientHeight: high } = stage, { x, y, w, h } = this.box;
    if (!wide) return; // not in sight yet
    this.fitted = true;
    const whole = Math.min(wide / w, high / h, 1.6);
    const scale = readable ? Math.max(whole, READABLE) : whole;
    this.put(x - Math.max(0, (wide / scale - w) / 2), y - Math.max(0, (high / scale - h) / 2), scale);
  },

  // Bring a part of the drawing to the middle, large enough to read.
  show([left, top, right, bottom]) {
    const scale = Math.max(this.scale, 0.9);
    const { clientWidth: wide, clientHeight: high } = stage;
    this.glide((left + right) / 2 - wide / scale / 2, (top + bottom) / 2 - high / scale / 2, scale);
  },
};

const pointers = new Map();
let dragged = false;

function spread() {
  const [a, b] = [...pointers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, far: Math.hypot(a.x - b.x, a.y - b.y) };
}

stage.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  if (!pointers.size) dragged = false;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
});

stage.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const before = pointers.size === 2 ? spread() : last;
  const dx = event.clientX - last.x, dy = event.clientY - last.y;
  if (!dragged && pointers.size === 1 && Math.hypot(dx, dy) < 4) return;
  if (!dragged) {
    dragged = true;
    stage.classList.add("moving");
    for (const id of pointers.keys()) stage.setPointerCapture(id);
  }
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (pointers.size === 1) return view.by(dx, dy);
  const after = spread(), frame = stage.getBoundingClientRect();
  view.by(after.x - before.x, after.y - before.y);
  if (before.far) view.zoom(after.far / before.far, after.x - frame.left, after.y - frame.top);
});

for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
  stage.addEventListener(name, (event) => {
    if (name === "lostpointercapture" && event.target !== stage) return; // a finger's own, which the stage takes over
    pointers.delete(event.pointerId);
    if (!pointers.size) stage.classList.remove("moving");
  });
}
window.addEventListener("pointerup", (event) => pointers.delete(event.pointerId));

// A plain wheel scrolls the page, as everywhere, unless the drawing has the focus or the whole screen.
stage.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey && document.activeElement !== stage && !document.fullscreenElement) return;
  event.preventDefault();
  const frame = stage.getBoundingClientRect();
  const pixels = event.deltaY * (event.deltaMode ? 16 : 1);
  view.zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.002)), event.clientX - frame.left, event.clientY - frame.top);
}, { passive: false });

byId("zoom-in").addEventListener("click", () => view.zoom(1.3));
byId("zoom-out").addEventListener("click", () => view.zoom(1 / 1.3));
byId("fit").addEventListener("click", () => view.fit());
if (stage.requestFullscreen) byId("full").addEventListener("click", () => stage.requestFullscreen());
else byId("full").remove();
document.addEventListener("fullscreenchange", () => view.fit());
new ResizeObserver(() => (view.fitted ? view.paint() : view.fit(true))).observe(stage);

// On paper there is nothing to move: the whole drawing.
window.addEventListener("beforeprint", () => {
  const { x, y, w, h } = view.box;
  stage.querySelector("svg.drawing").setAttribute("viewBox", `${x} ${y} ${w} ${h}`);
});
window.addEventListener("afterprint", () => view.paint());
