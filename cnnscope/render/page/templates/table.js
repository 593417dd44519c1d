// The table: sorted by a click on a heading, filtered by words and by type, tied to the drawing.
const table = byId("table");
const body = table.tBodies[0];
const lines = [...body.rows];
const headings = [...table.tHead.rows[0].cells];
const columnOf = (key) => headings.findIndex((heading) => heading.dataset.key === key);
const textsOf = (key) => lines.map((line) => line.cells[columnOf(key)]?.textContent ?? "");
const names = textsOf("name"), types = textsOf("type");

function factsOf(row) {
  return headings.slice(1).flatMap((heading, i) => {
    const text = lines[row].cells[i + 1].textContent, { key } = heading.dataset;
    if (!text || text === "0") return [];
    if (["type", "output", "window"].includes(key)) return [text];
    const small = heading.querySelector("small")?.textContent ?? "";
    const title = heading.querySelector("button").firstChild.textContent.trim();
    return [`${title} ${text}${small ? ` ${small}` : ""}`];
  });
}

function markRow(row) {
  for (const line of lines) line.classList.toggle("chosen", line === lines[row]);
  const box = body.closest(".scroll"), line = lines[row];
  const top = line.offsetTop - table.tHead.offsetHeight, bottom = line.offsetTop + 2 * line.offsetHeight;
  if (box.scrollTop > top) box.scrollTop = top;
  if (box.scrollTop + box.clientHeight < bottom) box.scrollTop = bottom - box.clientHeight;
}

// Bring a row into sight, also one that the filter hides.
function showRow(row) {
  if (lines[row].hidden) {
    byId("filter").value = byId("type").value = "";
    filter();
  }
  choose(row);
  lines[row].scrollIntoView({ block: "center" });
  lines[row].querySelector("button").focus({ preventScroll: true });
}

function filter() {
  const words = byId("filter").value.trim().toLowerCase().split(/\s+/), type = byId("type").value;
  let left = 0;
  lines.forEach((line, row) => {
    const text = line.textContent.toLowerCase();
    const fits = words.every((word) => text.includes(word)) && (!type || types[row] === type);
    line.hidden = !fits;
    left += fits;
  });
  byId("count").textContent = left === lines.length ? `${left} layers` : `${left} of ${lines.length} layers`;
}

byId("filter").addEventListener("input", filter);
byId("type").addEventListener("change", filter);
for (const type of [...new Set(types)].filter(Boolean).sort()) {
  byId("type").add(new Option(type.length > 40 ? `${type.slice(0, 39)}…` : type, type));
}

sortable(table, (heading) => {
  const { key } = heading.dataset, number = key in data.columns;
  return { values: number ? data.columns[key].values : textsOf(key), number };
});

body.addEventListener("click", (event) => {
  const row = lines.indexOf(event.target.closest("tr"));
  if (row < 0) return;
  choose(row, { centre: true });
  if (sheet.rows[row] >= 0) byId("diagram").scrollIntoView({ block: "start" });
});

for (const chart of document.querySelectorAll(".chart")) {
  chart.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-row]");
    if (mark) showRow(+mark.dataset.row);
  });
  chart.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("[data-row]");
    if (!mark || mark.firstChild) return;
    const title = document.createElementNS(SVG, "title");
    title.textContent = [names[mark.dataset.row], ...factsOf(+mark.dataset.row)].join(" · ");
    mark.append(title);
  });
}
