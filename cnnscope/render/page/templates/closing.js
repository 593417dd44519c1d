// Closing modules. What is inside a closed frame is hidden, and the room that it took is cut out of the picture: in
// each column the rows that have become empty, and the empty strips at the sides. Coordinates only ever move closer
// in their order, so nothing that did not overlap before can overlap now, and lines stay where they were tied.
const HEAD = 24, SVG = "http://www.w3.org/2000/svg";

// What is left of some intervals when others are taken out, in order.
function without(intervals, kept) {
  const edges = [...intervals.map(([a, b]) => [a, 0, 1]), ...intervals.map(([a, b]) => [b, 0, -1]),
    ...kept.map(([a, b]) => [a, 1, 1]), ...kept.map(([a, b]) => [b, 1, -1])].sort((p, q) => p[0] - q[0]);
  const depth = [0, 0], found = [];
  let open = null;
  for (const [at, which, change] of edges) {
    depth[which] += change;
    const free = depth[0] > 0 && depth[1] === 0;
    if (free && open === null) open = at;
    if (!free && open !== null) {
      if (at > open) found.push([open, at]);
      open = null;
    }
  }
  return found;
}

// Where a coordinate goes when the intervals are cut out.
const cutting = (cuts) => (v) => cuts.reduce((to, [a, b]) => to - Math.min(Math.max(v - a, 0), b - a), v);

// A path in pieces: letters with their points, horizontals and verticals as lines.
function points(d) {
  const found = [];
  let x = 0, y = 0;
  for (const [, letter, rest] of d.matchAll(/([MVHLCQ])([^MVHLCQZ]*)/g)) {
    const numbers = rest.match(/-?[\d.]+/g).map(Number);
    const pairs = letter === "V" ? [[x, numbers[0]]] : letter === "H" ? [[numbers[0], y]] : [];
    for (let i = 0; !"VH".includes(letter) && i < numbers.length; i += 2) pairs.push([numbers[i], numbers[i + 1]]);
    [x, y] = pairs.at(-1);
    found.push(["VH".includes(letter) ? "L" : letter, pairs]);
  }
  return found;
}

class Closing {
  constructor(svg, geometry, prefix) {
    this.svg = svg;
    this.columns = geometry.columns;
    this.top = geometry.columns.length > 1 ? geometry.top - 56 : geometry.top - 12;
    this.closed = new Set(); // numbers of modules
    this.panels = geometry.panels.map(([x, y, w, h, left, right, room, group], i) =>
      this.#panel(svg.getElementById(`${prefix}-p${i}`), { x, y, w, h, left, right, room, group }));
    this.cards = geometry.cards.map((box, i) => ({ el: svg.getElementById(`${prefix}-c${i}`), box }));
    this.tracks = [...svg.querySelectorAll("path[data-edges]")].map((el) => ({ el, path: points(el.getAttribute("d")) }));
    for (const track of this.tracks) track.points = track.path.flatMap(([, pairs]) => pairs);
    this.tips = [...svg.querySelectorAll(":scope > path")].map((el) => ({
      el, all: [...el.getAttribute("d").matchAll(/L([\d.]+) ([\d.]+)Z/g)].map(([, x, y]) => ({ x: +x, y: +y })) }));
    this.labels = [...svg.querySelectorAll("[data-layer=shapes] text")].map((el) => {
      const wide = +(el.getAttribute("textLength") ?? 6), at = +el.getAttribute("x");
      const x = el.getAttribute("text-anchor") === "end" ? at - wide : at;
      return { el, x, y: +el.getAttribute("y"), w: wide };
    });
    this.rails = [...svg.querySelectorAll("[data-layer=rail] rect")].map((el) => {
      const [x, y, h] = ["x", "y", "height"].map((name) => +el.getAttribute(name));
      return { el, x, y, h, text: el.nextElementSibling?.tagName === "text" ? el.nextElementSibling : null };
    });
    this.#place();
  }

  #panel(el, panel) {
    const parts = [...el.children].filter((each) => each.tagName !== "title");
    const at = (each, name) => +each.getAttribute(name);
    const frames = parts.filter((each) => each.classList.contains("frame"))
      .map((each) => ({ el: each, dx: at(each, "x") - panel.x, dy: at(each, "y") - panel.y }));
    const words = parts.filter((each) => !each.classList.contains("frame"))
      .map((each) => ({ el: each, right: at(each, "x") > panel.x + 14 + panel.left }));
    el.classList.add("panel");
    const toggle = document.createElementNS(SVG, "g");
    toggle.setAttribute("class", "toggle");
    toggle.innerHTML = '<title></title><circle r="7"/><path/>';
    el.append(toggle);
    return { ...panel, el, frames, words, toggle };
  }

  // What each thing lies in.
  #place() {
    const holds = (p, x, y) =>
      x > p.x - 0.6 && x < p.x + p.w + 0.6 && y > p.y - p.room - 0.6 && y < p.y + p.h + 0.6;
    const inside = (x, y) => this.panels.filter((p) => holds(p, x, y));
    const all = (pairs) => this.panels.filter((p) => pairs.every(([x, y]) => holds(p, x, y)));
    for (const panel of this.panels) {
      panel.inside = all([[panel.x, panel.y], [panel.x + panel.w, panel.y + panel.h]]).filter((p) => p !== panel);
    }
    for (const card of this.cards) {
      const [left, top, right, bottom] = card.box;
      card.inside = inside((left + right) / 2, (top + bottom) / 2);
    }
    for (const track of this.tracks) track.inside = all(track.points);
    for (const tip of this.tips.flatMap((each) => each.all)) tip.inside = inside(tip.x, tip.y + 1);
    for (const label of this.labels) label.inside = inside(label.x + label.w / 2, label.y - 3);
    for (const panel of this.panels) panel.doors = this.#doors(panel);
  }

  // Where lines from outside meet the frame.
  #doors(panel) {
    const touches = (y) => Math.abs(y - panel.y) < 1.5 + panel.room || Math.abs(y - panel.y - panel.h) < 1.5;
    return this.tracks.filter((track) => !track.inside.includes(panel))
      .flatMap((track) => [track.points[0], track.points.at(-1)])
      .filter(([x, y]) => x >= panel.x && x <= panel.x + panel.w && touches(y)).map(([x]) => x);
  }

  hidden(thing) { return thing.inside.some((panel) => this.closed.has(panel.group)); }

  column(x) {
    const next = this.columns.findIndex((left) => x < left - 22);
    return next < 0 ? this.columns.length - 1 : Math.max(next - 1, 0);
  }

  // The frame of a closed panel: as wide as its words and doors need.
  #narrow(panel) {
    const doors = panel.doors.length ? panel.doors : [panel.x + panel.w / 2];
    const first = Math.min(...doors) - 14, last = Math.max(...doors) + 14;
    const wide = Math.min(Math.max(last - first, panel.left + panel.right + 40), panel.w);
    const left = Math.min(Math.max((first + last - wide) / 2, panel.x), panel.x + panel.w - wide);
    return [left, left + wide];
  }

  arrange() {
    const seen = (things) => things.filter((each) => !this.hidden(each));
    const panels = seen(this.panels), cards = seen(this.cards), tracks = seen(this.tracks), labels = seen(this.labels);
    const free = { x: [], y: this.columns.map(() => []) }, kept = { x: [], y: this.columns.map(() => []) };
    const keep = (left, right, top, bottom) => {
      kept.x.push([left, right]);
      kept.y[this.column((left + right) / 2)].push([top, bottom]);
    };
    for (const p of panels) {
      if (this.closed.has(p.group)) {
        p.span = this.#narrow(p);
        free.x.push([p.x, p.x + p.w]);
        free.y[this.column(p.x + p.w / 2)].push([p.y + HEAD, p.y + p.h]);
        keep(p.span[0] - 8, p.span[1] + 8 + p.room, p.y - p.room - 4, p.y + HEAD);
      } else {
        p.span = [p.x, p.x + p.w];
        keep(p.x - 8, p.x + p.left + 16, p.y - p.room - 4, p.y + HEAD);
        keep(p.x + p.w - p.right - 16, p.x + p.w + 8 + p.room, p.y + p.h - 12, p.y + p.h + 4);
      }
    }
    for (const { box: [left, top, right, bottom] } of cards) keep(left - 12, right + 12, top - 6, bottom + 6);
    for (const { x, y, w } of labels) keep(x - 4, x + w + 4, y - 10, y + 3);
    for (const track of tracks) {
      track.points.forEach(([x, y], i) => {
        kept.x.push([x - 8, x + 8]);
        const [a, b] = track.points[i - 1] ?? [x, y];
        if (Math.abs(a - x) > 0.5) kept.y[this.column(x)].push([Math.min(b, y), Math.max(b, y)]);
      });
    }
    const across = cutting(without(free.x, kept.x));
    const down = free.y.map((intervals, k) => cutting(without(intervals, kept.y[k])));
    this.#draw(across, (x, y) => down[this.column(x)](y));
  }

  #draw(across, down) {
    const round = (n) => Math.round(n * 100) / 100;
    const shift = (el, dx, dy) => el.setAttribute("transform", `translate(${round(dx)} ${round(dy)})`);
    const away = (each) => each.el.classList.toggle("away", this.hidden(each));
    let right = 0, bottom = 0;
    for (const card of this.cards) {
      away(card);
      const [x, y, end, low] = card.box, dx = across(x) - x, dy = down((x + end) / 2, y) - y;
      shift(card.el, dx, dy);
      card.now = [x + dx, y + dy, end + dx, low + dy];
      if (!this.hidden(card)) [right, bottom] = [Math.max(right, card.now[2]), Math.max(bottom, card.now[3])];
    }
    for (const panel of this.panels) {
      away(panel);
      if (this.hidden(panel)) continue;
      const middle = panel.x + panel.w / 2, [x, end] = panel.span.map(across), y = down(middle, panel.y);
      const shut = this.closed.has(panel.group), high = shut ? HEAD : down(middle, panel.y + panel.h) - y;
      for (const { el, dx, dy } of panel.frames) {
        for (const [name, value] of Object.entries({ x: x + dx, y: y + dy, width: end - x, height: high })) {
          el.setAttribute(name, round(value));
        }
      }
      for (const word of panel.words) {
        shift(word.el, word.right ? end - panel.x - panel.w : x - panel.x, y - panel.y);
      }
      panel.el.classList.toggle("shut", shut);
      shift(panel.toggle, x, y + 11);
      panel.toggle.firstChild.textContent = shut ? "expand" : "collapse";
      panel.toggle.lastChild.setAttribute("d", shut ? "M-3.5 0h7M0-3.5v7" : "M-3.5 0h7");
      [right, bottom] = [Math.max(right, end + panel.room), Math.max(bottom, y + high)];
    }
    for (const track of this.tracks) {
      away(track);
      if (this.hidden(track)) continue;
      track.el.setAttribute("d", track.path.map(([letter, pairs]) =>
        letter + pairs.map(([x, y]) => `${round(across(x))} ${round(down(x, y))}`).join(" ")).join(""));
      for (const [x, y] of track.points) [right, bottom] = [Math.max(right, across(x)), Math.max(bottom, down(x, y))];
    }
    for (const tips of this.tips) {
      tips.el.setAttribute("d", tips.all.filter((tip) => !this.hidden(tip))
        .map(({ x, y }) => [round(across(x)), round(down(x, y))])
        .map(([x, y]) => `M${round(x - 3.3)} ${round(y - 6.5)}h6.6L${x} ${y}Z`).join(""));
    }
    for (const label of this.labels) {
      away(label);
      shift(label.el, across(label.x) - label.x, down(label.x, label.y) - label.y);
    }
    for (const { el, x, y, h, text } of this.rails) {
      const top = down(x, y), high = down(x, y + h) - top;
      el.setAttribute("x", round(across(x)));
      el.setAttribute("y", round(top));
      el.setAttribute("height", round(Math.max(high, 0)));
      text?.setAttribute("transform", `translate(${round(across(x) - 4)} ${round(top + high / 2)}) rotate(-90)`);
      text?.classList.toggle("away", +text.getAttribute("textLength") > high + 14);
    }
    this.box = { x: 12, y: this.top, w: right + 16, h: bottom - this.top + 20 };
  }
}
