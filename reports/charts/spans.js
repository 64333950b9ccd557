/* What was busy when: a floating bar for each span, one row for each category. */
function spansChart(spec) {
  const datasets = spec.series.map((series, i) => ({
    label: series.name, points: series.points, grouped: false,
    data: series.points.map((p) => ({ x: [p.x, p.hi], y: spec.categories[p.y] })),
    backgroundColor: theme.colour(series, i), borderColor: theme.panel, borderWidth: { left: 1, right: 0, top: 0, bottom: 0 },
    borderSkipped: false, barPercentage: 0.8, categoryPercentage: 0.9, minBarLength: 1,
  }));
  const all = spec.series.flatMap((series) => series.points);
  return {
    type: "bar",
    data: { labels: spec.categories, datasets },
    options: {
      indexAxis: "y",
      scales: {
        x: axis(spec.x, false, { min: Math.min(...all.map((p) => p.x)), max: Math.max(...all.map((p) => p.hi)) }),
        y: { grid: { display: false }, ticks: { autoSkip: false } },
      },
      plugins: {
        legend: { position: "bottom", labels: { boxWidth: 14 } },
        tooltip: { callbacks: {
          label: (item) => {
            const p = item.dataset.points[item.dataIndex];
            return `${item.dataset.label}: ${show(p.x)} to ${show(p.hi)}${p.label ? ", " + p.label : ""}`;
          },
        } },
      },
    },
  };
}
