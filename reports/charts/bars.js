/* Bars lie: their names are long. An interval is a thin floating bar in the same place as its bar. */
function barsChart(spec) {
  const datasets = spec.series.flatMap((series, i) => barDatasets(series, i));
  const stacked = spec.series.some((series) => series.stack);
  const most = Math.max(...spec.series.flatMap((series) => series.points.map((p) => p.hi || 0)));
  const room = theme.narrow ? 20 : 40;
  const proper = (dataset) => !dataset.interval;
  return {
    type: "bar",
    data: { labels: spec.categories.map((name) => shorten(name, room)), datasets },
    options: {
      indexAxis: "y",
      scales: {
        x: axis(spec.y, spec.y_log, { beginAtZero: true, stacked, suggestedMax: most }),
        y: { stacked: true, grid: { display: false }, ticks: { autoSkip: false } },
      },
      plugins: {
        legend: { position: "bottom", labels: { boxWidth: 14, filter: (item, data) => proper(data.datasets[item.datasetIndex]) } },
        tooltip: {
          filter: (item) => proper(item.dataset),
          callbacks: {
            title: (items) => (items.length ? spec.categories[items[0].dataIndex] : ""),
            label: (item) => barLabel(item.dataset.label, item.dataset.points[item.dataIndex]),
          },
        },
      },
    },
  };
}

function barDatasets(series, i) {
  const colour = theme.colour(series, i);
  const open = series.role === "predicted";
  const stack = series.stack || series.name;
  const whole = {
    label: series.name, stack, points: series.points, data: series.points.map((p) => p.y), order: 2,
    backgroundColor: open ? theme.faded(colour) : colour, borderColor: colour, borderWidth: open ? 2 : 1,
    barPercentage: 0.88, categoryPercentage: 0.8,
  };
  if (!series.points.some((p) => p.lo !== undefined && p.hi !== undefined)) return [whole];
  const interval = {
    label: series.name + " interval", interval: true, stack, order: 1, barPercentage: 0.14, categoryPercentage: 0.8,
    data: series.points.map((p) => (p.lo !== undefined && p.hi !== undefined ? [p.lo, p.hi] : null)),
    backgroundColor: theme.text, borderSkipped: false,
  };
  return [whole, interval];
}

function barLabel(name, point) {
  const range = point.lo !== undefined && point.hi !== undefined ? ` (${show(point.lo)} to ${show(point.hi)})` : "";
  return `${name}: ${point.y === null ? "none" : show(point.y)}${range}`;
}
