/* Lines with bands of their intervals, and single points with names. */
function linesChart(spec) {
  const datasets = [];
  spec.series.forEach((series, i) => {
    const colour = theme.colour(series, i);
    const line = {
      label: series.name, points: series.points, data: series.points.map((p) => ({ x: p.x, y: p.y })),
      borderColor: colour, backgroundColor: colour, borderWidth: 2, pointStyle: theme.shape(i),
      pointRadius: series.points.length > 40 ? 0 : 3, borderDash: theme.dash(i), tension: 0, order: 1,
    };
    datasets.push(line);
    if (!series.points.some((p) => p.lo !== undefined && p.hi !== undefined)) return;
    const edge = (key) => ({
      label: series.name, band: true, data: series.points.map((p) => ({ x: p.x, y: p[key] === undefined ? p.y : p[key] })),
      borderWidth: 0, pointRadius: 0, pointHitRadius: 0, backgroundColor: theme.faded(colour), order: 2,
    });
    datasets.push(edge("lo"), Object.assign(edge("hi"), { fill: "-1" }));
  });
  return xyChart("line", spec, datasets);
}

function pointsChart(spec) {
  const datasets = spec.series.map((series, i) => ({
    label: series.name, points: series.points, data: series.points.map((p) => ({ x: p.x, y: p.y })),
    backgroundColor: theme.colour(series, i), borderColor: theme.colour(series, i),
    pointStyle: series.role === "chosen" ? "rectRot" : theme.shape(i), pointRadius: series.role === "chosen" ? 9 : 6,
    pointHoverRadius: 9,
  }));
  return xyChart("scatter", spec, datasets);
}

function xyChart(type, spec, datasets) {
  const proper = (dataset) => !dataset.band;
  /* A logarithmic axis would begin at a power of ten. */
  const xs = spec.series.flatMap((series) => series.points.map((p) => p.x));
  const range = spec.x_log ? { min: Math.min(...xs), max: Math.max(...xs) } : {};
  return {
    type, data: { datasets },
    options: {
      scales: { x: axis(spec.x, spec.x_log, range), y: axis(spec.y, spec.y_log) },
      interaction: { mode: "nearest", intersect: false },
      plugins: {
        legend: {
          display: spec.series.length > 1, position: "bottom",
          labels: { usePointStyle: true, boxWidth: 9, boxHeight: 9, padding: 14, filter: (item, data) => proper(data.datasets[item.datasetIndex]) },
        },
        tooltip: {
          filter: (item) => proper(item.dataset),
          callbacks: {
            title: (items) => (items.length ? items[0].dataset.label : ""),
            label: (item) => pointLabel(spec, item.dataset.points[item.dataIndex]),
          },
        },
      },
    },
  };
}

function pointLabel(spec, point) {
  const range = point.lo !== undefined && point.hi !== undefined ? ` (${show(point.lo)} to ${show(point.hi)})` : "";
  const lines = [`${spec.x}: ${show(point.x)}`, `${spec.y}: ${show(point.y)}${range}`];
  return point.label ? [point.label, ...lines] : lines;
}
