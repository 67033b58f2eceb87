// The interactive plots: Plotly's basic bundle, inflated once the page is there, fed with the page's own data.
(() => {
  const section = document.getElementById("explore");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const RULES = { sgd: ["--sgd", "circle", "solid"], sam: ["--sam", "square", "dash"], asam: ["--asam", "triangle-up", "dashdot"],
                  minmax: ["--minmax", "diamond", "dot"], "retain-sam": ["--retain", "triangle-down", "longdash"] };
  const look = (rule) => {
    const family = Object.keys(RULES).sort((a, b) => b.length - a.length).find((name) => rule === name || rule.startsWith(`${name}-`));
    const [name, symbol, dash] = RULES[family] ?? ["--ink", "x", "longdashdot"];
    return { color: color(name), symbol, dash };
  };
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const group = (rows, key) => rows.reduce((found, row) => ((found[key(row)] ??= []).push(row), found), {});
  const unique = (values) => [...new Set(values)];
  const show = (value) => (value === null || value === undefined || Number.isNaN(value) ? "–" : String(Number(Number(value).toPrecision(3))));

  const rowsOf = (columns) => {
    const names = Object.keys(columns);
    return (columns[names[0]] ?? []).map((_, place) => Object.fromEntries(names.map((name) => [name, columns[name][place]])));
  };

  // A labelled list or slider; `change` is called with every new value.
  const field = (plot, label, control, change) => {
    const box = document.createElement("label");
    const value = document.createElement("output");
    box.append(label, control, value);
    plot.querySelector(".controls").append(box);
    control.addEventListener(control.tagName === "SELECT" ? "change" : "input", () => change(control.value, value));
    return { control, value };
  };
  const choose = (plot, label, options, change) => {
    const control = document.createElement("select");
    for (const option of options) control.add(new Option(option, option));
    field(plot, label, control, change);
    return control;
  };
  const slide = (plot, label, values, start, change) => {
    const control = Object.assign(document.createElement("input"), { type: "range", min: 0, max: values.length - 1, step: 1 });
    control.value = start;
    const tell = (place, value) => {
      value.textContent = show(values[place]);
      control.setAttribute("aria-valuetext", show(values[place]));
    };
    const { value } = field(plot, label, control, (place, shown) => { tell(place, shown); change(values[place]); });
    tell(start, value);
    return control;
  };

  const layout = (x, y, more = {}) => {
    const axis = { gridcolor: color("--faint"), zeroline: false, automargin: true };
    return {
      paper_bgcolor: color("--paper"), plot_bgcolor: color("--paper"), font: { color: color("--ink"), size: 12 }, height: 400,
      margin: { l: 50, r: 10, t: 10, b: 45 }, legend: { orientation: "h", y: -0.25 },
      xaxis: { ...axis, title: { text: x }, ...more.x }, yaxis: { ...axis, title: { text: y }, ...more.y }, ...more.all,
    };
  };
  const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false };
  const draw = (plot, traces, frame, says) => {
    const area = plot.querySelector(".area");
    window.Plotly.react(area, traces, frame, CONFIG);
    area.setAttribute("aria-label", says);
    plot.querySelector(".says").textContent = says;
  };
  const nothing = (plot) => {
    plot.querySelector(".area").hidden = true;
    plot.querySelector(".says").textContent = "No record has these numbers yet.";
  };

  const tow = (plot, runs, names) => {
    const studies = unique(runs.map((run) => run.study)).sort((a, b) => runs.filter((r) => r.study === b).length - runs.filter((r) => r.study === a).length);
    if (!studies.length) return nothing(plot);
    const state = { study: studies.includes("digits") ? "digits" : studies[0], pretrain: "all", set: "all" };
    const refresh = () => {
      const chosen = runs.filter((run) => run.study === state.study && (state.pretrain === "all" || run.pretrain === state.pretrain)
        && (state.set === "all" || run.difficulty === state.set));
      const traces = Object.entries(group(chosen, (run) => run.rule)).map(([rule, rows]) => ({
        type: "scatter", mode: "markers", name: names.rule[rule] ?? rule, x: rows.map((run) => names.method[run.method] ?? run.method),
        y: rows.map((run) => run.tow), text: rows.map((run) => `seed ${run.seed}, ${run.difficulty}, after ${run.pretrain}`),
        marker: { color: look(rule).color, symbol: look(rule).symbol, size: 9, opacity: 0.8 },
      }));
      const best = Object.entries(group(chosen, (run) => `${names.method[run.method]} with ${names.rule[run.rule]}`))
        .map(([name, rows]) => [name, mean(rows.map((run) => run.tow))]).sort((a, b) => b[1] - a[1])[0];
      draw(plot, traces, layout("method", "ToW (1 is the retrained model)", { y: { range: [Math.min(...chosen.map((run) => run.tow)) - 0.03, 1.03] }, all: { scattermode: "group", scattergap: 0.6 } }),
        `${chosen.length} runs of ${state.study}. ${best ? `Highest mean ToW: ${best[0]}, ${show(best[1])}.` : ""}`);
    };
    const pick = (label, name, options) => choose(plot, label, options, (value) => { state[name] = value; refresh(); });
    pick("study ", "study", studies).value = state.study;
    pick("pretrained with ", "pretrain", ["all", ...unique(runs.map((run) => run.pretrain))]);
    pick("forget set ", "set", ["all", ...unique(runs.map((run) => run.difficulty))]);
    refresh();
    return refresh;
  };

  // Lists that choose settings which can be compared: each offers what the lists before it leave, at first the first.
  const PLACE = { "study ": "study", "data ": "dataset", "pretrained with ": "pretrain", "forget set ": "difficulty" };
  const narrow = (plot, settings, change) => {
    const lists = Object.entries(PLACE).map(([label, name]) => [name, choose(plot, label, [], () => change())]);
    return () => lists.reduce((left, [name, list]) => {
      const options = unique(left.map((setting) => setting[name]));
      const value = options.includes(list.value) ? list.value : options[0];
      list.replaceChildren(...options.map((option) => new Option(option, option, false, option === value)));
      list.parentElement.hidden = options.length < 2;
      return left.filter((setting) => setting[name] === value);
    }, settings);
  };
  const placed = ([setting], names) => `study ${setting.study}, data ${setting.dataset}, pretrained with ${names.rule[setting.pretrain] ?? setting.pretrain}, forget set ${setting.difficulty}`;

  const pareto = (plot, settings, names) => {
    const costed = settings.filter((setting) => setting.cost > 0).sort((a, b) => (b.study === "digits") - (a.study === "digits"));
    if (!costed.length) return nothing(plot);
    const refresh = () => {
      const chosen = pick();
      const alphas = unique(chosen.map((setting) => setting.alpha)).length > 1;
      const called = (setting) => [`${names.method[setting.method] ?? setting.method} with ${names.rule[setting.rule] ?? setting.rule}`, alphas && `alpha ${setting.alpha}`, setting.other].filter(Boolean).join(", ");
      const front = chosen.filter((one) => !chosen.some((other) => other.cost <= one.cost && other.tow > one.tow));
      const traces = Object.entries(group(chosen, (setting) => setting.rule)).map(([rule, rows]) => ({
        type: "scatter", mode: "markers", name: names.rule[rule] ?? rule, x: rows.map((setting) => setting.cost), y: rows.map((setting) => setting.tow),
        text: rows.map((setting) => `${called(setting)}, ${setting.seeds} seeds`),
        marker: { color: look(rule).color, symbol: look(rule).symbol, size: 10, line: { width: rows.map((setting) => (front.includes(setting) ? 2 : 0)), color: color("--ink") } },
      }));
      draw(plot, traces, layout("gradient evaluations, as a share of retraining", "mean ToW", { x: { type: "log" } }),
        `${chosen.length} settings of ${placed(chosen, names)}; none is both cheaper and better than ${front.map(called).join("; ")} (outlined).`);
    };
    const pick = narrow(plot, costed, refresh);
    refresh();
    return refresh;
  };

  const alpha = (plot, settings, names) => {
    const along = (curve) => unique(curve.map((setting) => setting.alpha)).length;
    const curveOf = (setting) => JSON.stringify([...Object.values(PLACE), "method", "rule", "other"].map((name) => setting[name]));
    const curves = Object.values(group(settings, curveOf)).filter((curve) => along(curve) > 2).sort((a, b) => along(b) - along(a));
    if (!curves.length) return nothing(plot);
    const what = { ToW: "tow", "forget accuracy": "forget_accuracy", "test accuracy": "test_accuracy", "retain accuracy": "retain_accuracy" };
    let shown = "ToW";
    const refresh = () => {
      const chosen = pick();
      const methods = unique(chosen.map((setting) => setting.method)).length > 1;
      const ends = [];
      const traces = Object.values(group(chosen, curveOf)).map((curve) => {
        curve.sort((a, b) => a.alpha - b.alpha);
        const { method, rule, other } = curve[0];
        const name = [names.rule[rule] ?? rule, methods && (names.method[method] ?? method), other].filter(Boolean).join(", ");
        ends.push(`${name} ${show(curve[0][what[shown]])} at ${curve[0].alpha}`);
        return { type: "scatter", mode: "lines+markers", name, x: curve.map((setting) => setting.alpha), y: curve.map((setting) => setting[what[shown]]),
          error_y: { type: "data", array: curve.map((setting) => setting[`${what[shown]}_sd`]), color: look(rule).color, thickness: 1 },
          line: { color: look(rule).color, dash: look(rule).dash }, marker: { symbol: look(rule).symbol, size: 8 } };
      });
      draw(plot, traces, layout("alpha, weight of the retain loss", shown),
        `Mean ${shown} with standard deviation over seeds, ${placed(chosen, names)}; at the smallest alpha: ${ends.join(", ")}.`);
    };
    choose(plot, "number ", Object.keys(what), (value) => { shown = value; refresh(); });
    const pick = narrow(plot, curves.flat(), refresh);
    refresh();
    return refresh;
  };

  const compared = (plot, points, names) => {
    const after = points.filter((point) => point.stage === "after");
    if (!after.length) return nothing(plot);
    const strengths = unique(after.map((point) => point.signal_strength)).sort((a, b) => a - b);
    const quantities = unique(after.map((point) => point.quantity));
    const state = { s: strengths[Math.min(1, strengths.length - 1)], quantity: quantities[0] };
    const refresh = () => {
      const chosen = after.filter((point) => point.signal_strength === state.s && point.quantity === state.quantity);
      const traces = ["theory", "network"].map((side, place) => ({
        type: "scatter", mode: "markers", name: side === "theory" ? "exact theory" : "two-layer networks",
        x: chosen.map((row) => `${row.pretrain} → ${row.unlearn}`), y: chosen.map((row) => row[side]),
        error_y: { type: "data", symmetric: false, array: chosen.map((row) => row[`${side}_high`] - row[side]), arrayminus: chosen.map((row) => row[side] - row[`${side}_low`]) },
        marker: { symbol: ["circle", "square-open"][place], size: 11, color: color(["--sgd", "--sam"][place]) },
      }));
      const said = chosen.map((row) => `${row.pretrain} → ${row.unlearn} theory ${show(row.theory)}, networks ${show(row.network)}`);
      draw(plot, traces, layout("pretraining rule → unlearning rule", names.quantity[state.quantity] ?? state.quantity),
        `After unlearning at signal strength ${show(state.s)}: ${said.join("; ") || "not recorded"}.`);
    };
    slide(plot, "signal strength s ", strengths, strengths.indexOf(state.s), (value) => { state.s = value; refresh(); });
    choose(plot, "number ", quantities, (value) => { state.quantity = value; refresh(); });
    refresh();
    return refresh;
  };

  const range = (from, to, count) => Array.from({ length: count }, (_, k) => Number((from * (to / from) ** (k / (count - 1))).toPrecision(3)));
  const explorer = (plot, pretraining, sweeps) => {
    const setting = { n: 40, m: 10, patches: 2, sigma_p: 1, eta_scale: 40, batch_size: 10, pretrain_epochs: 100, signal_strength: 0.5, d: 4000 };
    const state = { rule: "sgd", alpha: 0.9, active: 0.5 };
    const near = (a, b) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b));
    const refresh = () => {
      const epochs = Array.from({ length: 51 }, (_, k) => 2 * k);
      const forms = epochs.map((pretrain_epochs) => window.theory.closedForms({ ...setting, pretrain_epochs }, state.active));
      const sgd = state.rule === "sgd";
      const kappa = forms.map((form) => (sgd ? form.kappa_sgd : form.kappa_sam));
      const paint = look(state.rule).color;
      const traces = [{ type: "scatter", mode: "lines", name: "kappa, closed form", x: epochs, y: kappa, line: { color: paint } }];
      if (sgd) traces.push({ type: "scatter", mode: "lines", name: "noise share of the output, closed form", x: epochs, y: forms.map((form) => form.zeta_sgd), line: { color: paint, dash: "dot" } });
      const keys = ["n", "m", "patches", "sigma_p", "eta_scale", "batch_size", "signal_strength", "d"];
      const recorded = pretraining.find((curve) => curve.pretrain === state.rule && keys.every((key) => near(curve[key], setting[key])));
      if (recorded) traces.push({ type: "scatter", mode: "markers", name: `kappa, simulated (${recorded.seeds} seeds)`, x: recorded.epochs, y: recorded.kappa, marker: { color: color("--ink"), symbol: "x", size: 7 } });
      const last = forms[forms.length - 1];
      const end = sweeps.find((row) => row.pretrain === state.rule && row.unlearn === state.rule && near(row.signal_strength, setting.signal_strength) && near(row.d, setting.d) && near(row.alpha, state.alpha));
      const after = end ? `After unlearning with ${state.rule} at alpha ${state.alpha}, simulated: test error ${show(end.test_error)}, forget error ${show(end.forget_error)}.`
        : `No record of unlearning at s = ${show(setting.signal_strength)}, d = ${setting.d}, alpha = ${state.alpha}.`;
      draw(plot, traces, layout("epochs of pretraining", "learned (preactivation)"),
        `Y = ${show(last.Y)}, X = ${show(last.X)}; after 100 epochs kappa is ${show(kappa[kappa.length - 1])}${sgd ? `, noise ${show(last.zeta_sgd)}` : ""}.${recorded ? ` Simulated kappa: ${show(recorded.kappa[recorded.kappa.length - 1])}.` : ""} ${after}`);
    };
    const known = (name, values) => unique([...values, ...sweeps.map((row) => row[name]), ...pretraining.map((row) => row[name])].filter((value) => value > 0)).sort((a, b) => a - b);
    const strengths = known("signal_strength", range(0.1, 3, 20));
    const dimensions = known("d", [500, 2000, 4000, 16000, 100000, 1000000]);
    const shares = Array.from({ length: 20 }, (_, k) => (k + 1) / 20);
    const weights = known("alpha", [0.5, 0.9]);
    slide(plot, "signal strength s ", strengths, strengths.indexOf(0.5), (value) => { setting.signal_strength = value; refresh(); });
    slide(plot, "dimension d ", dimensions, dimensions.indexOf(4000), (value) => { setting.d = value; refresh(); });
    slide(plot, "alpha ", weights, weights.indexOf(0.9), (value) => { state.alpha = value; refresh(); });
    slide(plot, "active share a ", shares, shares.indexOf(0.5), (value) => { state.active = value; refresh(); });
    choose(plot, "rule ", ["sgd", "sam"], (value) => { state.rule = value; refresh(); });
    refresh();
    return refresh;
  };

  const start = once(async () => {
    // A script element, not a file: nothing is fetched, from a network or from a disk.
    const code = document.createElement("script");
    code.textContent = await inflate("code-plotly", "gzip");
    document.head.append(code);
    const { runs, settings: columns, names, theory: points, pretraining, sweeps } = await data.plots();
    const settings = rowsOf(columns);
    const find = (name) => document.getElementById(`plot-${name}`);
    const again = [tow(find("tow"), rowsOf(runs), names), pareto(find("pareto"), settings, names), alpha(find("alpha"), settings, names),
      compared(find("compared"), points, names), explorer(find("theory"), pretraining, rowsOf(sweeps))].filter(Boolean);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => again.forEach((refresh) => refresh()));
    section.dataset.ready = "true";
  });
  window.explore = start;
  // Drawn without being asked for, so that a printed page has them too.
  addEventListener("load", () => setTimeout(start));
})();
