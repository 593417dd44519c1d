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

// Once: the largest first, text from A; twice: the other way; three times: the order of execution.
function sort(heading) {
  const number = heading.dataset.key in data.columns;
  const values = number ? data.columns[heading.dataset.key].values : textsOf(heading.dataset.key);
  const ways = number ? ["descending", "ascending"] : ["ascending", "descending"];
  const way = ways[ways.indexOf(heading.getAttribute("aria-sort")) + 1];
  for (const each of headings) each.removeAttribute("aria-sort");
  const rows = lines.map((line, row) => row);
  if (way) {
    heading.setAttribute("aria-sort", way);
    const sign = way === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      const [p, q] = [values[a], values[b]];
      if (p === null || q === null) return (p === null) - (q === null); // what is not known comes last
      return sign * (number ? p - q : p.localeCompare(q, "en", { numeric: true })) || a - b;
    });
  }
  body.append(...rows.map((row) => lines[row]));
}

table.tHead.addEventListener("click", (event) => {
  const heading = event.target.closest("th[data-key]");
  if (heading) sort(heading);
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
