// The table of the index: sorted by a click on a heading, filtered by words.
const table = byId("table");
const lines = [...table.tBodies[0].rows];
const headings = [...table.tHead.rows[0].cells];

function filter() {
  const words = byId("filter").value.trim().toLowerCase().split(/\s+/);
  const fits = lines.map((line) => {
    const text = `${line.textContent} ${line.cells[0].title}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  lines.forEach((line, i) => { line.hidden = !fits[i]; });
  const left = fits.filter(Boolean).length;
  byId("count").textContent = left === lines.length ? `${left} networks` : `${left} of ${lines.length} networks`;
}

byId("filter").addEventListener("input", filter);

// Once: the largest first, text from A; twice: the other way; three times: as at first.
function sort(heading) {
  const values = lines.map((line) => line.cells[heading.cellIndex].dataset.value ?? null);
  const number = heading.cellIndex > 0;
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
  table.tBodies[0].append(...rows.map((row) => lines[row]));
}

table.tHead.addEventListener("click", (event) => {
  const heading = event.target.closest("th[data-key]");
  if (heading) sort(heading);
});
