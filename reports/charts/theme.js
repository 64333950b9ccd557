"use strict";
/* Colours come from the page's style, so that charts follow light, dark and print. */
const theme = {
  read() {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue("--" + name).trim();
    const series = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => get("s" + i));
    Object.assign(this, { text: get("text"), quiet: get("quiet"), grid: get("grid"), panel: get("panel"), series });
    this.roles = { predicted: get("predicted"), measured: get("measured"), chosen: get("chosen") };
    this.narrow = window.innerWidth < 600;
    Chart.defaults.color = this.text;
    Chart.defaults.borderColor = this.grid;
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = this.narrow ? 11 : 12;
    Chart.defaults.animation = false;
    Chart.defaults.maintainAspectRatio = false;
  },
  colour(series, i) { return this.roles[series.role] || this.series[i % 8]; },
  faded(colour) { return colour + "33"; },
  /* Lines differ by their dashes as well as by their colours. */
  dash(i) { return [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 4], [12, 4], [1, 2], [6, 2, 2, 2, 2, 2]][i % 8]; },
  shape(i) { return ["circle", "rect", "triangle", "rectRot", "crossRot", "star", "rectRounded", "cross"][i % 8]; },
};

/* Three significant digits, as in the tables. */
function show(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-6 || size >= 1e15) return value.toExponential(2);
  return size >= 999.5 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));
}

function axis(title, log, more) {
  const ticks = { callback: (value) => tick(value, log), maxRotation: 0, autoSkipPadding: 12 };
  return Object.assign({
    type: log ? "logarithmic" : "linear", ticks, grid: { color: theme.grid },
    title: { display: Boolean(title), text: title || "" },
  }, more);
}

/* Log axes name 1, 2, 5 of each decade only. */
function tick(value, log) {
  if (!log) return show(value);
  const lead = Number(value.toExponential(0)[0]);
  const exact = Math.abs(value / Number(value.toExponential(0)) - 1) < 1e-9;
  return exact && (lead === 1 || (!theme.narrow && (lead === 2 || lead === 5))) ? compact(value) : null;
}

function compact(value) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (value >= size) return show(value / size) + letter;
  return show(value);
}

/* Long names are cut where there is no room; the table beside has them in full. */
function shorten(name, most) {
  return name.length > most ? name.slice(0, most - 1) + "\u2026" : name;
}
