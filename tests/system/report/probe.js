/* Put at the start of a copy of the report by browser.sh: looks at the page as a reader would, and leaves
 * what it found as lines "probe: NAME VALUE" in the document. */
(function () {
  const bad = [];
  addEventListener("error", (event) => bad.push("error " + event.message));
  addEventListener("unhandledrejection", (event) => bad.push("rejection " + event.reason));
  addEventListener("securitypolicyviolation", (event) => bad.push("blocked " + event.blockedURI));
  for (const level of ["error", "warn"]) {
    const plain = console[level];
    console[level] = (...args) => { bad.push(level + " " + args.join(" ")); plain.apply(console, args); };
  }

  /* A canvas counts as drawn when it has more than a few colours in it. */
  function colours(canvas) {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4)
      if (data[i + 3] > 0) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return seen.size;
  }

  function contrast(element) {
    const luminance = (css) => {
      const parts = css.match(/[\d.]+/g).slice(0, 3).map((v) => {
        const c = v / 255;
        return c <= 0.03928 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4);
      });
      return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const a = luminance(getComputedStyle(element).color);
    const b = luminance(getComputedStyle(document.body).backgroundColor);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }

  function look() {
    const figures = [...document.querySelectorAll("figure[data-chart]")];
    const blank = figures.filter((f) => !(f.dataset.drawn === "yes" && colours(f.querySelector("canvas")) > 3));
    const nameless = figures.filter((f) => !f.querySelector("canvas").getAttribute("aria-label"));
    const wide = [...document.querySelectorAll("main *")].filter((e) =>
      !e.closest(".table") && e.getBoundingClientRect().right > innerWidth + 1);
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    const found = {
      width: innerWidth,
      charts: figures.length,
      blank: blank.length + " " + blank.map((f) => f.dataset.chart).join(" "),
      nameless: nameless.length,
      tables: document.querySelectorAll("table").length,
      scrolls_sideways: document.documentElement.scrollWidth > innerWidth ? "yes" : "no",
      too_wide: wide.length + " " + wide.slice(0, 3).map((e) => e.tagName + "." + e.className).join(" "),
      low_contrast: [...document.querySelectorAll("p, th, td, a, dd, dt")].filter((e) => contrast(e) < 4.5).length,
      dead_links: [...document.querySelectorAll('a[href^="#"]')].filter((a) => !ids.includes(a.hash.slice(1))).length,
      same_ids: ids.length - new Set(ids).size,
      requests: performance.getEntriesByType("resource").length,
      bad: bad.length + " " + bad.join("; "),
    };
    const lines = Object.entries(found).map(([name, value]) => `probe: ${name} ${value}`).join("\n");
    if (parent !== window) parent.postMessage(lines, "*");
    const out = document.createElement("pre");
    out.textContent = lines;
    document.body.append(out);
  }

  addEventListener("load", () => {
    document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
    setTimeout(look, 600);
  });
})();
