// The page works without this script; it adds charts, sorting, filtering and the theme.
"use strict";
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 44rem)");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // ---- what the page carries, inflated
  const inflate = async (element) => {
    const bytes = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  let plotly;
  const loadPlotly = () => {
    plotly ??= inflate(document.getElementById("plotly")).then((text) => {
      const script = document.createElement("script");
      script.textContent = text;
      document.head.append(script);
    });
    return plotly;
  };

  // ---- charts: specifications by element, drawn when they come into view
  const specs = new Map();
  const drawn = new Set();
  let printing = false;

  const colours = () => {
    const style = getComputedStyle(root);
    const named = (value) => {
      if (typeof value === "string" && value.startsWith("@")) {
        return style.getPropertyValue("--" + value.slice(1)).trim();
      }
      if (Array.isArray(value)) return value.map(named);
      if (value && typeof value === "object") {
        return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, named(item)]));
      }
      return value;
    };
    return named;
  };

  const themed = (spec, element) => {
    const named = colours();
    const layout = named(spec.layout);
    const base = {
      height: 290,
      margin: { l: 60, r: 16, t: 30, b: 48 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: named("@ink") },
      hoverlabel: {
        bgcolor: named("@surface"), bordercolor: named("@line"), align: "left",
        font: { color: named("@ink") }, namelength: -1,
      },
      legend: {
        orientation: "h", x: 0, y: 1, xanchor: "left", yanchor: "bottom",
        bgcolor: "rgba(0,0,0,0)", itemwidth: 36,
      },
      modebar: {
        bgcolor: "rgba(0,0,0,0)", color: named("@muted"), activecolor: named("@ink"),
        orientation: "h",
      },
      hovermode: "x",
      dragmode: narrow.matches ? false : "zoom",
      showlegend: spec.data.some((trace) => trace.showlegend !== false),
    };
    const axis = {
      gridcolor: named("@grid"), linecolor: named("@muted"), tickcolor: named("@muted"),
      zeroline: false, showline: true, ticks: "outside", ticklen: 4,
    };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) layout[key] = { ...axis, ...layout[key] };
    }
    const result = { ...base, ...layout };
    if (printing) Object.assign(result, { width: 660, height: Math.min(result.height, 330) });
    if (element.dataset.full) {
      result.yaxis = { ...result.yaxis, range: undefined, autorange: true };
      result.annotations = [];
    }
    return [named(spec.data), result];
  };

  const config = () => ({
    responsive: true, displaylogo: false,
    displayModeBar: narrow.matches ? false : "hover",
    // Plotly would offer to send the data to a server.
    showSendToCloud: false, plotlyServerURL: "",
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "zoom2d", "pan2d"],
  });

  const draw = (element) => {
    const [data, layout] = themed(specs.get(element), element);
    const first = !drawn.has(element);
    drawn.add(element);
    window.Plotly.react(element, data, layout, config());
    if (first) {
      element.on("plotly_click", (event) => {
        const target = event.points[0] && event.points[0].customdata;
        if (typeof target === "string") show(target);
      });
    }
  };

  const viewer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && specs.has(entry.target)) {
        viewer.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "300px" });

  const load = async (payload) => {
    try {
      const [text] = await Promise.all([inflate(payload), loadPlotly()]);
      for (const [name, spec] of Object.entries(JSON.parse(text))) {
        const element = document.getElementById("chart-" + name);
        if (element && spec) {
          specs.set(element, spec);
          viewer.observe(element);
        }
      }
    } catch (error) {
      const scope = payload.closest("details") || document.getElementById("curve");
      for (const element of all(".chart", scope)) {
        element.innerHTML = '<p class="message">This browser cannot draw the chart: it needs '
          + "DecompressionStream (browsers since 2023). The tables hold all numbers.</p>";
      }
    }
  };

  const redraw = () => { for (const element of drawn) if (element.offsetParent) draw(element); };

  // ---- runs
  const show = (identifier) => {
    const run = document.getElementById(identifier);
    if (!run || run.tagName !== "DETAILS") return;
    run.hidden = false;
    run.open = true;
    run.scrollIntoView();
    run.querySelector("summary").focus({ preventScroll: true });
  };
  for (const run of all("details.run")) {
    run.addEventListener("toggle", () => {
      if (!run.open) return;
      if (!run.dataset.loaded) {
        run.dataset.loaded = "yes";
        load(run.querySelector("[data-charts]"));
      } else {
        // The theme or the width may have changed while it was closed.
        for (const element of all(".chart", run)) if (drawn.has(element)) draw(element);
      }
    });
  }
  const follow = () => show(decodeURIComponent(location.hash.slice(1)));
  window.addEventListener("hashchange", follow);
  for (const link of all('a[href^="#run-"]')) {
    link.addEventListener("click", () => { if (location.hash === link.hash) follow(); });
  }
  // A page without runs has neither these buttons nor the table.
  document.getElementById("open-all")?.addEventListener("click", () => {
    for (const run of all("details.run")) if (!run.hidden) run.open = true;
  });
  document.getElementById("close-all")?.addEventListener("click", () => {
    for (const run of all("details.run")) run.open = false;
  });

  // ---- the table: sorting and filtering
  const body = document.querySelector(".cells tbody");
  const rows = body ? all("tr", body) : [];
  const headings = all(".cells thead th");
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.children[column].dataset.sort;
      const numeric = heading.dataset.kind === "number";
      const compare = (first, second) => {
        const [a, b] = [key(first), key(second)];
        if (a === "" || b === "") return (a === "") - (b === ""); // what does not exist comes last
        const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
        return down ? -order : order;
      };
      body.append(...[...rows].sort(compare));
    });
  });
  const filters = all("[data-filter]");
  const filter = () => {
    if (!rows.length) return;
    let count = 0;
    for (const row of rows) {
      const visible = filters.every((f) => !f.value || row.dataset[f.dataset.filter] === f.value);
      row.hidden = !visible;
      document.getElementById(row.dataset.run).hidden = !visible;
      count += visible;
    }
    document.getElementById("shown").textContent = `${count} of ${rows.length} runs`;
  };
  for (const select of filters) select.addEventListener("change", filter);

  for (const button of all(".rescale")) {
    button.addEventListener("click", () => {
      const element = document.getElementById(button.getAttribute("aria-controls"));
      const full = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(full));
      button.textContent = full ? "Frame what is known" : "Show all values";
      element.dataset.full = full ? "yes" : "";
      if (drawn.has(element)) draw(element);
    });
  }

  // ---- theme
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const remember = (value) => { try { localStorage.setItem("sltprob-theme", value); } catch { /* no storage */ } };
  const recall = () => { try { return localStorage.getItem("sltprob-theme"); } catch { return null; } };
  let theme = themes.includes(recall()) ? recall() : "auto";
  const apply = () => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    redraw();
  };
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    remember(theme);
    apply();
  });
  dark.addEventListener("change", redraw);
  narrow.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => {
    printing = true;
    root.dataset.theme = "light";
    for (const element of specs.keys()) if (element.offsetParent) draw(element);
  });
  window.addEventListener("afterprint", () => { printing = false; apply(); });

  apply();
  load(document.getElementById("curve-charts"));
  filter(); // a browser may restore the choices of the last visit
  if (location.hash) follow();
})();
