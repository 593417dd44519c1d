// Everything is there: begin.
(async () => {
  if (byId("packed-d")) {
    const svg = await unpacked("d");
    sheet.svg.replaceWith(svg);
    sheet.svg = svg;
  }
  prepare(sheet);
  view.fit(true);
  page.dataset.ready = "";
})();
