"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const { places, rows, metrics } = page;
  const find = (id) => document.getElementById(id);
  const COLOURS = 12;
  const SAMPLED = "ndcg_pp@10"; // per positive: where full and sampled ranking differ by sampling alone

  /** An element; what is written in it is text, whatever it says. */
  function make(tag, name = "", ...content) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...content);
    return made;
  }
  function draw(tag, attributes, ...content) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...content);
    return made;
  }
  /** A name from the records, whose direction of writing must not spill over. */
  const named = (text) => make("bdi", "", String(text));
  const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
  const plain = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));
  const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const inSeconds = (s) => (s < 10 ? `${Number(s.toPrecision(2))} s` : s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);
  const pOf = (p) => (p === null ? "not tested" : p < 1e-4 ? "p < 0.0001" : `p ${Number(p.toPrecision(2))}`);

  // What is shown, and the address that says so.
  const usual = { data: places[page.opened].key, protocol: "", metric: "", family: [], tuned: false, all: false, comparable: "", name: "", sort: "place", hide: [], open: "" };
  let state = { ...usual };

  function fromAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const list = (key) => (asked.get(key) ?? "").split(",").filter(Boolean);
    state = {
      ...usual,
      data: asked.get("data") ?? usual.data,
      protocol: asked.get("protocol") ?? "",
      metric: asked.get("metric") ?? "",
      family: list("family").filter((tag) => tag in page.tags),
      tuned: asked.get("tuned") === "1",
      all: asked.get("all") === "1",
      comparable: asked.get("comparable") ?? "", // a row's id, or 1: whichever stands first
      name: asked.get("name") ?? "",
      sort: asked.get("sort") ?? usual.sort,
      hide: list("hide"),
      open: asked.get("open") ?? "",
    };
    settle();
  }

  function toAddress() {
    const said = new URLSearchParams();
    for (const [key, value] of Object.entries(state)) {
      const text = Array.isArray(value) ? value.join(",") : value === true ? "1" : value === false ? "" : value;
      if (text !== "" && text !== usual[key]) said.set(key, text);
    }
    if (state.data === "") said.set("data", "");
    history.replaceState(null, "", `#${said}`);
  }

  const inPlace = (row) => state.data === "" || places[row.place].key === state.data;
  const at = () => places.find((place) => place.key === state.data);

  /** Put right what an address, or another choice, has made impossible. */
  function settle() {
    if (state.data !== "" && !at()) state.data = usual.data;
    const there = Object.keys(page.protocols).filter((name) => rows.some((row) => inPlace(row) && row.numbers[name]));
    const [protocol, metric] = at()?.headline ?? ["full", "ndcg@20"];
    if (!there.includes(state.protocol)) state.protocol = there.includes(protocol) ? protocol : there[0];
    const known = metricsOf(state.protocol).map(({ name }) => name);
    if (!known.includes(state.metric)) state.metric = [metric, SAMPLED, "ndcg@10"].find((name) => known.includes(name)) ?? known[0];
    if (!columns.some(({ key }) => key === state.sort.replace(/^-/, ""))) state.sort = usual.sort;
    if (!rows.some((row) => row.id === state.open)) state.open = "";
    if (state.comparable && !rows.some((row) => row.id === state.comparable && inPlace(row))) state.comparable = "1";
    return there;
  }
  const metricsOf = (protocol) => metrics[protocol].filter((_, m) => rows.some((row) => inPlace(row) && row.numbers[protocol]?.[m]));
  const headingOf = (wanted) => Object.values(metrics).flat().find(({ name }) => name === wanted)?.heading ?? wanted;
  const metricNow = () => metrics[state.protocol].find(({ name }) => name === state.metric);
  const numberOf = (row, protocol = state.protocol, metric = state.metric) => row.numbers[protocol]?.[metrics[protocol].findIndex(({ name }) => name === metric)] ?? null;
  const valueOf = (...asked) => numberOf(...asked)?.[0] ?? null;

  /** Row -> its place among those that may be compared with it, whatever else is filtered. */
  function standing(pool, protocol, metric) {
    const found = new Map();
    const smaller = metrics[protocol]?.find(({ name }) => name === metric)?.smaller;
    for (const row of pool) {
      const value = valueOf(row, protocol, metric);
      if (value === null || places[row.place].apart.includes(protocol)) continue;
      const better = pool.filter((other) => other.place === row.place && valueOf(other, protocol, metric) !== null && (smaller ? valueOf(other, protocol, metric) < value : valueOf(other, protocol, metric) > value));
      found.set(row, 1 + better.length);
    }
    return found;
  }

  /** Whether two rows differ in nothing but the model: the same place, and every term that both have. Lists of other protocols do not matter. */
  function alike(one, other) {
    const counts = (term) => !term.startsWith("lists of ") || term === `lists of ${state.protocol}`;
    return one.place === other.place && Object.keys(one.terms).every((term) => !counts(term) || !(term in other.terms) || one.terms[term] === other.terms[term]);
  }
  let compared = null; // the row that the others are comparable with

  // The table.
  let stands = new Map(); // row -> place
  let moves = new Map(); // row -> places won against full ranking
  const datasetOf = (row) => places[row.place].title;
  const columns = [
    { key: "place", head: "#", said: "Place", number: true, of: (row) => stands.get(row) ?? null },
    { key: "model", head: "Model", fixed: true, of: (row) => row.label.toLowerCase() },
    { key: "dataset", head: "Dataset", long: true, of: datasetOf, shown: (row) => [named(datasetOf(row))], when: () => state.data === "" },
    { key: "family", head: "Family", roomy: true, of: (row) => row.tags.join(), shown: (row) => row.tags.map((tag) => make("span", "tag", tag)) },
    { key: "value", head: () => metricNow().heading, number: true, fixed: true, falling: true, of: (row) => valueOf(row), shown: (row) => [valueOf(row)?.toFixed(4) ?? "–"] },
    { key: "interval", head: "95% interval", number: true, roomy: true, falling: true, of: (row) => numberOf(row)?.[1] ?? null, shown: (row) => { const found = numberOf(row); return [found?.[1] == null ? "–" : `${found[1].toFixed(4)} to ${found[2].toFixed(4)}`]; } },
    { key: "moved", head: "Against full", number: true, roomy: true, falling: true, of: (row) => moves.get(row) ?? null, shown: (row) => { const by = moves.get(row); return [by === undefined ? "–" : by > 0 ? `+${by}` : by < 0 ? `−${-by}` : "="]; }, when: () => moves.size > 0 },
    { key: "points", head: "Tuned points", number: true, roomy: true, falling: true, of: (row) => row.points },
    { key: "seeds", head: "Seeds", number: true, roomy: true, falling: true, of: (row) => row.seeds },
    { key: "seconds", head: "Tune and fit", number: true, of: (row) => row.seconds, shown: (row) => [row.seconds === null ? "–" : inSeconds(row.seconds)] },
    { key: "energy", head: "Energy, Wh", number: true, roomy: true, of: (row) => (row.cost.energy_kwh === undefined ? null : 1000 * row.cost.energy_kwh), shown: (row) => [row.cost.energy_kwh === undefined ? "–" : String(Number((1000 * row.cost.energy_kwh).toPrecision(2)))], when: () => rows.some((row) => inPlace(row) && row.cost.energy_kwh !== undefined) },
    { key: "table", head: "Table", roomy: true, long: true, of: (row) => row.table, shown: (row) => [named(short(row.table, 60))], when: () => state.all },
  ];
  const headOf = (column) => (typeof column.head === "function" ? column.head() : column.head);
  const kindOf = (column) => ["number", "roomy", "long"].filter((kind) => column[kind]).join(" ");
  const columnsNow = () => columns.filter((column) => (!column.when || column.when()) && (column.fixed || !state.hide.includes(column.key)));

  function filtered() {
    const wanted = state.name.trim().toLowerCase();
    const pool = rows.filter((row) => inPlace(row) && (row.main || state.all));
    stands = standing(pool, state.protocol, state.metric);
    moves = new Map();
    if (state.protocol !== "full" && metrics.full?.some(({ name }) => name === state.metric)) {
      const both = pool.filter((row) => valueOf(row, "full") !== null && valueOf(row) !== null);
      const [before, after] = [standing(both, "full", state.metric), standing(both, state.protocol, state.metric)];
      for (const row of both) if (after.has(row)) moves.set(row, before.get(row) - after.get(row));
    }
    let kept = pool.filter((row) => valueOf(row) !== null && (!state.tuned || row.points !== null) && state.family.every((tag) => row.tags.includes(tag)) && (!wanted || row.label.toLowerCase().includes(wanted)));
    const first = [...kept].sort((a, b) => a.place - b.place || (stands.get(a) ?? 1e9) - (stands.get(b) ?? 1e9))[0];
    compared = state.comparable ? rows.find((row) => row.id === state.comparable) ?? first ?? null : null;
    if (compared) kept = kept.filter((row) => alike(compared, row));
    const column = columns.find(({ key }) => key === state.sort.replace(/^-/, ""));
    const down = state.sort.startsWith("-") ? -1 : 1;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
    kept.sort((a, b) => {
      const [one, two] = [column.of(a), column.of(b)];
      if (one === null || two === null) return (one === null) - (two === null) || a.place - b.place;
      const first = state.sort === "place" ? a.place - b.place : 0; // ranks of several datasets are not mixed
      return first || down * compare(one, two) || a.place - b.place || (stands.get(a) ?? 1e9) - (stands.get(b) ?? 1e9) || compare(a.label, b.label);
    });
    return [kept, pool.filter((row) => valueOf(row) !== null).length];
  }

  function showHeads() {
    find("heads").replaceChildren(
      ...columnsNow().map((column) => {
        const button = make("button", "", headOf(column));
        button.type = "button";
        if (column.said) button.setAttribute("aria-label", column.said);
        button.dataset.sort = column.key;
        const head = make("th", kindOf(column), button);
        head.scope = "col";
        const [sorted, down] = [state.sort.replace(/^-/, "") === column.key, state.sort.startsWith("-")];
        head.setAttribute("aria-sort", sorted ? (down ? "descending" : "ascending") : "none");
        button.addEventListener("click", () => {
          state.sort = sorted ? `${down ? "" : "-"}${column.key}` : `${column.falling ? "-" : ""}${column.key}`;
          show();
          find("heads").querySelector(`[data-sort="${column.key}"]`)?.focus();
        });
        return head;
      }),
    );
  }

  function showRows(kept) {
    const cells = columnsNow();
    const made = kept.flatMap((row) => {
      const open = row.id === state.open;
      const line = make("tr", `row${open ? " open" : ""}`);
      line.dataset.row = row.id;
      for (const column of cells) {
        if (column.key === "model") {
          const button = make("button", "", named(row.label));
          button.type = "button";
          button.setAttribute("aria-expanded", String(open));
          if (open) button.setAttribute("aria-controls", "detail");
          button.addEventListener("click", () => openRow(open ? "" : row.id));
          const head = make("th", "", button);
          head.scope = "row";
          line.append(head);
        } else {
          const content = column.shown ? column.shown(row) : [plain(column.of(row) ?? "–")];
          line.append(make("td", kindOf(column), ...content));
        }
      }
      if (!open) return [line];
      const cell = make("td", "", panels(row));
      cell.colSpan = cells.length;
      const detail = make("tr", "detail", cell);
      detail.id = "detail";
      return [line, detail];
    });
    find("body").replaceChildren(...made);
  }

  function openRow(id) {
    const line = state.open || id;
    state.open = id;
    show();
    document.querySelector(`tr[data-row="${id || line}"] th button`)?.focus();
  }

  function shown(row, protocol, metric) {
    const [mean, low, high] = numberOf(row, protocol, metric);
    return `${mean.toFixed(4)}${low === null ? "" : ` (${low.toFixed(4)} to ${high.toFixed(4)})`}`;
  }

  function pairs(found) {
    const list = make("dl");
    for (const [what, value] of found) list.append(make("dt", "", named(what)), make("dd", "", named(plain(value))));
    return list;
  }

  /** Everything that is known of a row. */
  function panels(row) {
    const made = make("div", "panels");
    const only = make("button", "copy", "Only rows comparable with this one");
    only.type = "button";
    only.addEventListener("click", () => {
      state.comparable = row.id;
      show();
      document.querySelector(`tr[data-row="${row.id}"] th button`)?.focus();
    });
    const panel = (title, ...content) => { const box = make("div", "", make("h3", "", title), ...content); made.append(box); return box; };
    const everywhere = Object.keys(page.protocols).filter((name) => numberOf(row, name) !== null);
    const numbers = everywhere.map((name) => [name, shown(row, name, state.metric)]);
    const over = row.splits[state.metric];
    if (over) numbers.push([`full, ${over[2]} random splits`, `${over[0].toFixed(4)} ± ${over[1].toFixed(4)}`]);
    const command = make("pre", "", make("code", "", row.command));
    const copy = make("button", "copy", "Copy");
    copy.type = "button";
    copy.addEventListener("click", async () => {
      getSelection().selectAllChildren(command);
      try {
        await navigator.clipboard.writeText(row.command);
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Selected: press Ctrl+C";
      }
    });
    panel("The command that makes it again", command, ...row.notes.map((note) => make("p", "note", named(note))), copy, " ", only).className = "across";
    panel(metricNow().heading, pairs(numbers));
    const under = Object.keys(page.protocols).filter((name) => numberOf(row, name, SAMPLED) !== null);
    if (state.metric !== SAMPLED && under.length) panel(`${headingOf(SAMPLED)}, under each protocol`, pairs(under.map((name) => [name, shown(row, name, SAMPLED)])));
    const settings = Object.entries(row.params);
    panel("Parameters", settings.length ? pairs(settings) : make("p", "note", "It has none."));
    panel("Cost", pairs([...Object.entries(row.cost).map(([what, value]) => [what.replaceAll("_", " "), value.toLocaleString("en", { maximumSignificantDigits: 9 })]), ["on", row.environment]]));
    const [selector, best] = row.validation;
    const trials = row.points === null ? "Nothing was tuned." : `${counted(row.points, "point")} tried on validation.`;
    panel("Choice", make("p", "note", `${trials} ${best === null ? "" : `${selector} on validation: ${best.toFixed(4)}.`}`), ...(row.curve.length > 1 ? [curve(row)] : []));
    panel("Text and hashes", pairs([...Object.entries(row.text), ...Object.entries(row.read)]));
    panel("Runs", pairs([["run ids", row.runs.join(" ")], ...(row.elsewhere.length ? [["other splits", row.elsewhere.join(" ")]] : []), ["table", row.table], ["dataset", datasetOf(row)]]));
    if (row.remarks.length) panel("Remarks", ...row.remarks.map((remark) => make("p", "", named(remark))));
    return made;
  }

  /** The best validation score so far over the trials. */
  function curve(row) {
    const [first, last] = [row.curve[0], row.curve[row.curve.length - 1]];
    const x = (trial) => 4 + (212 * (trial - first[0])) / (last[0] - first[0] || 1);
    const y = (value) => 46 - (40 * (value - first[1])) / (last[1] - first[1] || 1);
    const way = row.curve.map(([trial, value], i) => (i ? `H${x(trial)}V${y(value)}` : `M${x(trial)} ${y(value)}`)).join("");
    const said = `Best so far: ${first[1].toFixed(4)} at trial ${first[0]}, ${last[1].toFixed(4)} at the end, trial ${last[0]}`;
    return make("div", "", draw("svg", { class: "spark", viewBox: "0 0 220 50", role: "img", "aria-label": said }, draw("path", { d: way })), make("p", "note", said));
  }

  // Charts.
  /** The first models of a dataset have a colour each, the same in both charts. */
  function colourOf(row) {
    const i = rows.filter((other) => other.main && other.place === row.place).indexOf(row);
    return i >= 0 && i < COLOURS ? `var(--c${i})` : "var(--grey)";
  }

  /** A line or a dot that is a button: pointed at it says what it is, pressed it opens its row. */
  function mark(chart, row, colour, said, ...content) {
    const made = draw("g", { class: `mark${row.id === state.open ? " open" : ""}`, tabindex: "0", role: "button", "aria-label": said, "data-mark": row.id, style: `color: ${colour}` }, ...content);
    const tell = () => find(`${chart}-said`).replaceChildren(named(said));
    made.addEventListener("pointerenter", tell);
    made.addEventListener("focus", tell);
    const open = () => {
      openRow(row.id);
      document.querySelector(`tr[data-row="${row.id}"]`)?.scrollIntoView({ block: "center" });
    };
    made.addEventListener("click", open);
    made.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open();
    });
    return made;
  }

  function showBump() {
    const chart = find("bump");
    const place = at();
    const metric = [SAMPLED, "hit_pp@10"].includes(state.metric) ? state.metric : SAMPLED;
    const pool = place ? rows.filter((row) => inPlace(row) && row.main && place.orders.every((name) => valueOf(row, name, metric) !== null)) : [];
    const able = place && place.orders.length > 1 && pool.length > 1;
    find("bump-said").replaceChildren();
    if (!able) {
      find("bump-note").textContent = place ? "There is nothing to draw: no two models here have both full ranking and drawn candidates." : "Choose one dataset to see its chart.";
      chart.replaceChildren();
      return;
    }
    const heading = headingOf(metric);
    find("bump-note").textContent = `Every model of this dataset by ${heading}. A line that crosses another is a pair that sampled candidates turn round; point at it for the p-values.`;
    const width = Math.max(280, chart.parentElement.clientWidth - 2);
    const narrow = width < 480;
    const [step, top] = [24, 44];
    const [left, right] = narrow ? [130, 34] : [190, 190];
    const stand = place.orders.map((name) => standing(pool, name, metric));
    const placed = (row, i) => top + step * (stand[i].get(row) - 1);
    const x = (i) => left + ((width - left - right) * i) / (place.orders.length - 1);
    const ordered = [...pool].sort((a, b) => stand[0].get(a) - stand[0].get(b));
    const parts = place.orders.map((name, i) => draw("text", { x: x(i), y: 20, "text-anchor": "middle" }, name));
    const lines = ordered.flatMap((row) => {
      const points = place.orders.map((_, i) => `${x(i)} ${placed(row, i)}`);
      const way = `M${points.join("L")}`;
      const label = (i, anchor, shift, text) => draw("text", { x: x(i) + shift, y: placed(row, i) + 4, "text-anchor": anchor }, text);
      const last = place.orders.length - 1;
      const turned = place.swaps.filter((swap) => swap.metric === metric && [swap.first, swap.second].some((n) => rows[n] === row)).sort((a, b) => (a.full ?? 2) - (b.full ?? 2));
      const told = turned.slice(0, 3).map((swap) => `by ${swap.protocol} ${rows[swap.first].label} falls below ${rows[swap.second].label} (full ${pOf(swap.full)}, here ${pOf(swap.here)})`);
      const more = turned.length > 3 ? [`and ${turned.length - 3} more pairs`] : [];
      const said = [`${row.label}: ${place.orders.map((name, i) => `place ${stand[i].get(row)} by ${name}`).join(", ")}`, ...told, ...more].join("; ");
      const line = mark(
        "bump", row, colourOf(row), said,
        draw("path", { d: way, class: "wide" }), draw("path", { d: way, "stroke-width": 2 }),
        ...place.orders.map((_, i) => draw("circle", { cx: x(i), cy: placed(row, i), r: 4 })),
        label(0, "end", -30, short(row.label, narrow ? 14 : 23)),
      );
      // What is printed within a button is to be in its name: places, and the name again, stand beside it.
      const beside = draw("g", { class: "beside", "aria-hidden": "true", style: `color: ${colourOf(row)}` }, label(0, "end", -10, String(stand[0].get(row))), label(last, "start", 10, narrow ? String(stand[last].get(row)) : `${stand[last].get(row)} ${short(row.label, 23)}`));
      for (const kind of ["click", "pointerenter"]) beside.addEventListener(kind, () => line.dispatchEvent(new Event(kind)));
      return [line, beside];
    });
    const height = top + step * ordered.length;
    // Coloured lines lie above grey ones; the order of the keyboard is that of full ranking.
    chart.replaceChildren(draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `Places by ${heading}: a line for each model` }, ...parts, ...lines));
  }

  function showCost(kept) {
    const chart = find("cost");
    const able = state.data !== "" && kept.filter((row) => row.seconds !== null).length > 1;
    find("cost-said").replaceChildren();
    if (!able) {
      find("cost-note").textContent = state.data === "" ? "Choose one dataset to see its chart." : "There is nothing to draw: fewer than two rows have both.";
      chart.replaceChildren();
      return;
    }
    const heading = metricNow().heading;
    find("cost-note").textContent = `${heading} of the rows above against seconds of tuning and one fit, with 95% intervals. Machines differ between rows: a row that is opened names its own.`;
    const pool = kept.filter((row) => row.seconds !== null).sort((a, b) => (stands.get(a) ?? 1e9) - (stands.get(b) ?? 1e9));
    const width = Math.max(280, chart.parentElement.clientWidth - 2);
    const height = Math.max(340, Math.min(480, width * 0.75));
    const [left, right, top, bottom] = [52, 16, 16, 44];
    const times = pool.map((row) => Math.log10(Math.max(row.seconds, 1e-2)));
    const ends = pool.flatMap((row) => numberOf(row).filter((value) => value !== null));
    const room = (low, high, share) => { const by = share * (high - low) || 0.5 * Math.abs(high) || 0.5; return [low - by, high + by]; };
    const [t0, t1] = room(Math.min(...times), Math.max(...times), 0.08);
    const [v0, v1] = room(Math.min(...ends), Math.max(...ends), 0.05);
    const x = (time) => left + ((width - left - right) * (time - t0)) / (t1 - t0);
    const y = (value) => height - bottom - ((height - top - bottom) * (value - v0)) / (v1 - v0);
    const parts = [];
    const step = 10 ** Math.floor(Math.log10((v1 - v0) / 3));
    const by = (v1 - v0) / step > 12 ? 5 * step : (v1 - v0) / step > 6 ? 2 * step : step;
    for (let value = Math.ceil(v0 / by) * by; value <= v1; value += by) parts.push(draw("path", { class: "grid", d: `M${left} ${y(value)}H${width - right}` }), draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toFixed(6)))));
    for (let time = Math.ceil(t0); time <= t1; time += 1) parts.push(draw("path", { class: "grid", d: `M${x(time)} ${top}V${height - bottom}` }), draw("text", { x: x(time), y: height - bottom + 17, "text-anchor": "middle" }, String(Number((10 ** time).toFixed(2)))));
    parts.push(draw("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, "seconds, log scale"));
    const taken = []; // boxes of labels and dots: a label that would lie on another goes elsewhere, or is left to the pointer
    const free = (box) => taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
    for (const [i, row] of pool.entries()) taken.push([x(times[i]) - 5, y(valueOf(row)) - 5, x(times[i]) + 5, y(valueOf(row)) + 5]);
    const dots = pool.map((row, i) => {
      const [value, low, high] = numberOf(row);
      const [px, py] = [x(times[i]), y(value)];
      const text = short(row.label, 20);
      const long = 7 * text.length;
      const spots = [[px + 8, py + 4, "start"], [px - 8, py + 4, "end"], [px + 8, py - 8, "start"], [px + 8, py + 16, "start"], [px - 8, py - 8, "end"], [px - 8, py + 16, "end"]];
      const box = ([sx, sy, anchor]) => (anchor === "start" ? [sx, sy - 10, sx + long, sy + 3] : [sx - long, sy - 10, sx, sy + 3]);
      const spot = spots.find((each) => free(box(each)) && box(each)[0] > left && box(each)[2] < width);
      if (spot) taken.push(box(spot));
      return mark(
        "cost", row, colourOf(row), `${row.label}: ${heading} ${value.toFixed(4)} in ${inSeconds(row.seconds)}`,
        ...(low === null ? [] : [draw("path", { d: `M${px} ${y(low)}V${y(high)}`, "stroke-width": 1.5, opacity: 0.55 })]),
        draw("circle", { cx: px, cy: py, r: 5 }), draw("circle", { cx: px, cy: py, r: 12, opacity: 0 }),
        ...(spot ? [draw("text", { x: spot[0], y: spot[1], "text-anchor": spot[2] }, text)] : []),
      );
    });
    chart.replaceChildren(draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${heading} against seconds: a dot for each row` }, ...parts, ...dots));
  }

  // Controls.
  function option(value, text, chosen) {
    const made = make("option", "", text);
    made.value = value;
    made.selected = value === chosen;
    return made;
  }

  function showControls(there) {
    find("data-set").replaceChildren(...places.map(({ key, title }) => option(key, title, state.data)), option("", "all of them, which are not compared with one another", state.data));
    find("protocol").replaceChildren(...there.map((name) => option(name, `${name}: ${page.protocols[name]}`, state.protocol)));
    find("metric").replaceChildren(...metricsOf(state.protocol).map(({ name, heading }) => option(name, heading, state.metric)));
    if (document.activeElement !== find("search")) find("search").value = state.name;
    find("tuned").checked = state.tuned;
    find("all").checked = state.all;
    find("comparable").checked = state.comparable !== "";
    for (const box of find("tags").querySelectorAll("input")) box.checked = state.family.includes(box.value);
    for (const box of find("columns").querySelectorAll("input")) box.checked = !state.hide.includes(box.value);
  }

  function show() {
    const there = settle();
    showControls(there);
    const [kept, all] = filtered();
    showHeads();
    showRows(kept);
    const place = at();
    const smaller = metricNow().smaller ? "; smaller is better" : "";
    const apart = (place ? [place] : places).some((each) => each.apart.includes(state.protocol)) ? " Candidates differ between rows under this protocol: there are no places." : "";
    find("told").textContent = `${kept.length} of ${counted(all, "row")} by ${metricNow().heading} under ${state.protocol} (${page.protocols[state.protocol]}${smaller}).${apart}`;
    if (compared) {
      const said = Object.entries(compared.terms).filter(([term]) => ["budget", "chosen by", "trained on"].includes(term)).map(([term, value]) => `${term}: ${value}`);
      find("told").append(" Only what differs from ", named(compared.label), ` in nothing but the model (${said.join("; ")}).`);
    }
    find("facts").replaceChildren(...(place ? Object.entries(place.facts).flatMap(([what, value]) => [make("dt", "", what), make("dd", "", named(value))]) : [make("dt", "", "each dataset"), make("dd", "", "choose one to see its own")]));
    const scroll = find("scroll");
    const beyond = scroll.scrollWidth > scroll.clientWidth; // then the keyboard has to get there
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", "Rows, wider than the page"]]) beyond ? scroll.setAttribute(name, value) : scroll.removeAttribute(name);
    showBump();
    showCost(kept);
    toAddress();
  }

  function check(value, text, home, key, inverse) {
    const box = make("input");
    box.type = "checkbox";
    box.value = value;
    box.addEventListener("change", () => {
      const others = state[key].filter((each) => each !== value);
      state[key] = box.checked !== inverse ? [...others, value] : others;
      show();
    });
    find(home).append(make("label", "check", box, ` ${text}`));
  }

  find("lead").textContent = `${counted(rows.length, "row")} of ${counted(page.records, "record")} on ${counted(new Set(places.map(({ dataset }) => dataset)).size, "dataset")}. A row opens to its parameters, its cost and the command that makes it again; the address of this page holds what is shown.`;
  for (const [tag, meaning] of Object.entries(page.tags)) {
    check(tag, tag, "tags", "family", false);
    find("meanings").append(make("dt", "", tag), make("dd", "", meaning));
  }
  for (const column of columns.filter(({ fixed, when }) => !fixed && !when)) check(column.key, column.said ?? headOf(column), "columns", "hide", true);
  for (const [id, key] of [["data-set", "data"], ["protocol", "protocol"], ["metric", "metric"]]) find(id).addEventListener("change", () => { state[key] = find(id).value; show(); });
  for (const id of ["tuned", "all"]) find(id).addEventListener("change", () => { state[id] = find(id).checked; show(); });
  find("comparable").addEventListener("change", () => { state.comparable = find("comparable").checked ? state.open || "1" : ""; show(); });
  find("search").addEventListener("input", () => { state.name = find("search").value; show(); });
  find("reset").addEventListener("click", () => { state = { ...usual }; show(); find("data-set").focus(); });
  addEventListener("hashchange", () => { fromAddress(); show(); });
  let wide = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === wide) return;
    wide = innerWidth;
    showBump();
    showCost(filtered()[0]);
  });
  fromAddress();
  show();
})();
