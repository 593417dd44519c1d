// The drawing and what one does with it: close and open modules, choose a card, look for one, colour by a column.
const data = JSON.parse(byId("data").textContent);
const sheets = { d: { ...data.sheets.d, svg: stage.querySelector("svg.drawing"), prefix: "d" } };
let sheet = sheets.d;
let chosen = -1; // the row

function prepare(each) {
  each.closing = new Closing(each.svg, each.geometry, each.prefix);
  each.closing.arrange();
  each.cards = each.closing.cards;
  each.members = each.cards.map(() => []); // the rows that a card shows itself
  each.rows.forEach((card, row) => { if (card >= 0 && each.own[row] === "1") each.members[card].push(row); });
  view.box = each.closing.box;
}

function rearrange(change) {
  change(sheet.closing.closed);
  sheet.closing.arrange();
  view.box = sheet.closing.box;
  view.paint();
}

function toggle(panel, at) {
  const before = panel.toggle.getBoundingClientRect();
  rearrange((closed) => (closed.has(panel.group) ? closed.delete(panel.group) : closed.add(panel.group)));
  const after = panel.toggle.getBoundingClientRect(); // what was clicked stays under the pointer
  view.by(before.x - after.x, before.y - after.y);
  say(`${panel.el.dataset.module} ${sheet.closing.closed.has(panel.group) ? "collapsed" : "expanded"}`);
}

byId("close-all")?.addEventListener("click", () => {
  rearrange((closed) => sheet.closing.panels.forEach((panel) => closed.add(panel.group)));
  view.fit();
});
byId("open-all")?.addEventListener("click", () => {
  rearrange((closed) => closed.clear());
  view.fit();
});

function say(...parts) { byId("picked").replaceChildren(...parts); }

// -- choosing ---------------------------------------------------------------------------------------------------------

const order = (row) => [data.columns.macs?.values[row] ?? 0, data.columns.params?.values[row] ?? 0];

// The row that says most about a card.
function mainRow(card) {
  return sheet.members[card].reduce((best, row) => {
    const [a, b] = [order(best), order(row)];
    return b[0] > a[0] || (b[0] === a[0] && b[1] > a[1]) ? row : best;
  }, sheet.members[card][0] ?? -1);
}

function chooseCard(card) {
  const row = mainRow(card);
  if (row >= 0) return choose(row);
  mark(card);
  chosen = -1;
  say(sheet.cards[card].el.querySelector("title")?.textContent ?? "");
}

function mark(card) {
  for (const each of sheet.cards) each.el.classList.remove("chosen");
  sheet.cards[card]?.el.classList.add("chosen");
}

function choose(row, { centre = false } = {}) {
  chosen = row;
  const card = sheet.rows[row];
  mark(card);
  markRow(row);
  describe(row, card);
  if (centre && card >= 0) reveal(card);
}

// Open what hides a card, and bring it to the middle.
function reveal(card) {
  const { inside } = sheet.cards[card];
  if (sheet.closing.hidden(sheet.cards[card])) {
    rearrange((closed) => inside.forEach((panel) => closed.delete(panel.group)));
  }
  view.show(sheet.cards[card].now);
}

function describe(row, card) {
  const name = document.createElement("b");
  name.textContent = names[row];
  const parts = [name, ...factsOf(row).map((fact) => ` · ${fact}`)];
  const others = card >= 0 ? sheet.members[card].filter((each) => each !== row) : [];
  if (card < 0) parts.push(" · it runs no operator of its own, so it has no card");
  else if (sheet.own[row] !== "1") parts.push(" · drawn once, with its equals");
  if (others.length && sheet.own[row] === "1") parts.push(` · with ${others.map((each) => names[each]).join(", ")}`);
  const jump = document.createElement("button");
  jump.type = "button";
  jump.textContent = "Show the row";
  jump.addEventListener("click", () => showRow(row));
  say(...parts, " ", jump);
}

// -- looking for a card -----------------------------------------------------------------------------------------------

let hits = [], hit = -1;

function seek(words) {
  const wanted = words.trim().toLowerCase();
  const rows = wanted ? lines.flatMap((line, row) =>
    ([names[row], types[row]].some((text) => text.toLowerCase().includes(wanted)) ? [row] : [])) : [];
  hits = [...new Set(rows.map((row) => sheet.rows[row]).filter((card) => card >= 0))];
  hit = -1;
  sheet.svg.classList.toggle("seeking", wanted !== "");
  sheet.cards.forEach((each, i) => each.el.classList.toggle("hit", hits.includes(i)));
  byId("found").textContent = wanted ? `${hits.length} of ${sheet.cards.length} cards` : "";
}

function nextHit(step) {
  if (!hits.length) return;
  hit = (hit + step + hits.length) % hits.length;
  chooseCard(hits[hit]);
  reveal(hits[hit]);
}

byId("find").addEventListener("input", (event) => seek(event.target.value));
byId("find").addEventListener("keydown", (event) => {
  if (event.key === "Enter") nextHit(event.shiftKey ? -1 : 1);
  if (event.key === "Escape") { event.target.value = ""; seek(""); }
});

// -- heat -------------------------------------------------------------------------------------------------------------

const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

function heat(key) {
  const column = data.columns[key];
  const amounts = sheet.members.map((rows) => {
    const known = rows.map((row) => column?.values[row]).filter((value) => typeof value === "number");
    if (!known.length) return 0;
    return column.fold === "sum" ? known.reduce((a, b) => a + b) : Math.max(...known);
  });
  const most = Math.max(0, ...amounts);
  sheet.cards.forEach((card, i) => {
    if (amounts[i] > 0) card.el.style.setProperty("--heat", `${(4 + 96 * amounts[i] / most).toFixed(1)}%`);
    else card.el.removeAttribute("style");
  });
  if (key && key !== "macs") sheet.svg.dataset.heat = key;
  else delete sheet.svg.dataset.heat;
  byId("ramp").hidden = !key;
  const unit = { byte: " B", MAC: " MAC", FLOP: " FLOP", second: " s" }[column?.unit] ?? "";
  byId("ramp").lastElementChild.textContent = key ? `0 to ${short.format(most)}${unit} a card` : "";
}

byId("heat").addEventListener("change", (event) => heat(event.target.value));

// -- equal blocks, each drawn -----------------------------------------------------------------------------------------

async function unpacked(key) {
  const bytes = Uint8Array.from(atob(byId(`packed-${key}`).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const holder = document.createElement("div");
  holder.innerHTML = await new Response(stream).text();
  return holder.firstElementChild;
}

byId("unfold")?.addEventListener("change", async (event) => {
  const key = event.target.checked ? "u" : "d";
  sheets[key] ??= { ...data.sheets[key], svg: await unpacked(key), prefix: key };
  sheet.svg.replaceWith(sheets[key].svg);
  sheet = sheets[key];
  if (!sheet.closing) prepare(sheet);
  view.box = sheet.closing.box;
  view.fit(true);
  seek(byId("find").value);
  heat(byId("heat").value);
  if (chosen >= 0) choose(chosen, { centre: true });
});
if (byId("unfold") && !window.DecompressionStream) byId("unfold").closest("label").remove();

// -- pointer and keys -------------------------------------------------------------------------------------------------

stage.addEventListener("click", (event) => {
  if (dragged) return;
  const card = event.target.closest(".card");
  if (card) return chooseCard(sheet.cards.findIndex((each) => each.el === card));
  const group = event.target.closest(".panel");
  const panel = group && sheet.closing.panels.find((each) => each.el === group);
  if (!panel) return;
  const head = event.target.closest(".toggle") || !event.target.classList.contains("frame");
  if (head || sheet.closing.closed.has(panel.group)) toggle(panel);
});

function step(by) {
  const seen = sheet.cards.flatMap((card, i) => (sheet.closing.hidden(card) ? [] : [i]));
  const now = seen.findIndex((i) => sheet.cards[i].el.classList.contains("chosen"));
  const next = seen[Math.min(Math.max(now < 0 ? (by > 0 ? 0 : seen.length - 1) : now + by, 0), seen.length - 1)];
  if (next === undefined) return;
  chooseCard(next);
  view.show(sheet.cards[next].now);
}

function closeAround() {
  const card = sheet.cards.find((each) => each.el.classList.contains("chosen"));
  const shut = card?.inside.filter((panel) => sheet.closing.closed.has(panel.group)) ?? [];
  const panels = shut.length ? shut : card?.inside ?? [];
  if (panels.length) toggle(panels.reduce((a, b) => (shut.length ? a.w > b.w : a.w < b.w) ? a : b));
}

const KEYS = {
  ArrowLeft: () => view.by(60, 0), ArrowRight: () => view.by(-60, 0),
  ArrowUp: () => view.by(0, 60), ArrowDown: () => view.by(0, -60),
  "+": () => view.zoom(1.25), "=": () => view.zoom(1.25), "-": () => view.zoom(0.8), 0: () => view.fit(),
  n: () => step(1), p: () => step(-1), c: closeAround, Enter: () => chosen >= 0 && showRow(chosen),
};

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});
