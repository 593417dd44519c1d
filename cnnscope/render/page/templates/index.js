// The table of the index: sorted by a click on a heading, filtered by words.
const table = byId("table");
const lines = [...table.tBodies[0].rows];

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

sortable(table, (heading) => ({
  values: lines.map((line) => line.cells[heading.cellIndex].dataset.value ?? null),
  number: heading.cellIndex > 0,
}));
