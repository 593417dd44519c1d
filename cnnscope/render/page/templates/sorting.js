// A table that a click on a heading sorts. Once: the largest first, text from A; twice: the other way; three times: as
// at first. valuesOf: the values of a heading's column by line, numbers or not, null where one is not known.
function sortable(table, valuesOf) {
  const lines = [...table.tBodies[0].rows];
  const headings = [...table.tHead.rows[0].cells];

  table.tHead.addEventListener("click", (event) => {
    const heading = event.target.closest("th[data-key]");
    if (!heading) return;
    const { values, number } = valuesOf(heading);
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
  });
}
