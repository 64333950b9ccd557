/* Draws every figure of the page from the data beside it, and again when the colours change. */
(function () {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  if (specs.length === 0) return;
  const makers = { bars: barsChart, lines: linesChart, points: pointsChart, spans: spansChart };
  const drawn = new Map();

  function height(figure, spec) {
    if (spec.kind !== "bars" && spec.kind !== "spans") return;
    const stacks = new Set(spec.series.map((series) => series.stack || series.name)).size;
    const row = spec.kind === "spans" ? 44 : 14 + 16 * stacks;
    figure.querySelector(".canvas").style.height = Math.max(150, 96 + spec.categories.length * row) + "px";
  }

  function draw(figure) {
    const spec = specs.find((one) => one.id === figure.dataset.chart);
    if (drawn.has(figure)) drawn.get(figure).destroy();
    height(figure, spec);
    drawn.set(figure, new Chart(figure.querySelector("canvas"), makers[spec.kind](spec)));
    figure.dataset.drawn = "yes";
  }

  /* A folded figure has no size: it is drawn when it is unfolded. */
  function drawAll() {
    theme.read();
    for (const figure of document.querySelectorAll("figure[data-chart]"))
      if (figure.offsetParent !== null) draw(figure);
  }

  drawAll();
  document.querySelectorAll("details").forEach((fold) => fold.addEventListener("toggle", () => {
    if (!fold.open) return;
    theme.read();
    fold.querySelectorAll("figure[data-chart]").forEach((figure) => { if (!drawn.has(figure)) draw(figure); });
  }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  matchMedia("(max-width: 600px)").addEventListener("change", drawAll);
  matchMedia("print").addEventListener("change", drawAll);
})();
