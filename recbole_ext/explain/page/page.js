"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const { board, items, cards, concepts } = page;
  const held = new Set(page.held_out);
  const MOST_OPTIONS = 100;
  const find = (id) => document.getElementById(id);
  let chosen = page.opened; // a place in concepts, or null
  let stop = 0; // a place in board.strengths

  /** An element; what is written in it is text, whatever it says. */
  function make(tag, name = "", ...content) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...content);
    return made;
  }
  /** A name from the data, whose direction of writing must not spill over. */
  const named = (text, name = "") => make("bdi", name, text);
  const spoken = (text) => make("span", "hidden-text", text);
  const percent = (share) => `${(100 * share).toFixed(share && share < 0.0995 ? 1 : 0)}%`;
  const number = (value) => String(Number(value.toPrecision(3)));
  const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
  const carried = () => new Set(chosen === null ? [] : concepts[chosen].carried);
  const listAt = (place) => (place === 0 || chosen === null ? page.before : concepts[chosen].lists[place - 1]);

  function describe() {
    find("model").textContent = page.model;
    const facts = { Dataset: page.dataset, User: page.user, "Held out": counted(page.held_out_in_all, "item"), Run: page.run };
    for (const [what, value] of Object.entries(facts)) find("facts").append(make("div", "", make("dt", "", what), make("dd", "", named(value))));
    find("history-count").textContent = `${counted(page.history.length, "item")} in the history`;
    find("concept-label").textContent = `Search ${counted(concepts.length, "concept")}`;
    const best = { characterises: "TF-IDF, characterises", unique: "TF-IDF, unique", correlation: "correlation", f1: "F1" }[board.by];
    find("how").textContent = `${page.live.toLocaleString("en")} of ${counted(page.neurons, "neuron")} are live. A concept is turned by the ${board.count} that stand for it best (${best}), or as many as there are. ${how()}`;
  }

  function how() {
    return {
      redistribute: "At strength α they get the share α of the user's whole activation, in equal parts, and every neuron keeps 1 − α of its own.",
      add: "At strength α each of them is raised by α, in the units of the code.",
      set: "At strength α each of them is raised to α times the user's strongest neuron, and never lowered.",
    }[board.mode];
  }

  // What an item looks like in a list.
  function row(item, place, moved) {
    const { token, title, detail } = items[item];
    const body = make("div", "", make("span", "title", named(title)));
    if (detail || token !== title) body.append(make("span", "detail", named(detail), detail && token !== title ? " · " : "", token === title ? "" : named(token)));
    if (held.has(item)) body.append(make("span", "held", "held out"));
    const made = make("li", "", make("span", "place", String(place)), body, moved ?? "");
    made.dataset.item = item;
    return made;
  }

  function mark(made, carries) {
    made.classList.toggle("carries", carries);
    made.querySelector(".star")?.remove();
    made.querySelector(".title .hidden-text")?.remove();
    if (!carries) return;
    const star = make("span", "star", "★");
    star.setAttribute("aria-hidden", "true");
    made.querySelector(".title").prepend(star);
    made.querySelector(".title").append(spoken(`, carries ${concepts[chosen].name}`));
  }

  function movement(was, now) {
    const made = make("span", "moved");
    const set = (kind, shown, said) => {
      made.classList.add(kind);
      const text = make("span", "", shown);
      text.setAttribute("aria-hidden", "true");
      made.append(text, spoken(said));
    };
    if (was === undefined) set("new", "new", "new");
    else if (was > now) set("up", `+${was - now}`, `up ${counted(was - now, "place")}`);
    else if (was < now) set("down", `−${now - was}`, `down ${counted(now - was, "place")}`);
    else set("same", "=", "as before");
    return made;
  }

  /** Show the list of the stop; rows that stay glide to their new places where the reader has not asked for less motion. */
  function showList(glide) {
    const list = find("turned");
    const before = new Map(page.before.map((item, at) => [item, at + 1]));
    const carrying = carried();
    const old = new Map([...list.children].map((made) => [Number(made.dataset.item), made.getBoundingClientRect().top]));
    const now = listAt(stop);
    const rows = now.map((item, at) => {
      const made = row(item, at + 1, stop === 0 ? "" : movement(before.get(item), at + 1));
      mark(made, carrying.has(item));
      return made;
    });
    list.replaceChildren(...rows);
    if (glide && matchMedia("(prefers-reduced-motion: no-preference)").matches) {
      for (const made of rows) {
        const from = old.get(Number(made.dataset.item));
        const by = from === undefined ? null : from - made.getBoundingClientRect().top;
        const frames = by === null ? [{ opacity: 0 }, { opacity: 1 }] : [{ transform: `translateY(${by}px)` }, { transform: "none" }];
        if (by !== 0) made.animate(frames, { duration: 320, easing: "ease-out" });
      }
    }
    const gone = page.before.filter((item) => !now.includes(item));
    find("gone").hidden = !gone.length;
    find("gone-count").textContent = `${counted(gone.length, "item")} left the list of strength 0`;
    find("gone-items").replaceChildren(...gone.map((item) => make("li", "", named(items[item].title))));
    tell(now, before, carrying);
  }

  function tell(now, before, carrying) {
    if (chosen === null) return;
    const { name, knobs } = concepts[chosen];
    const count = (list, set) => list.filter((item) => set.has(item)).length;
    const said = [];
    const share = `${count(now, carrying)} of ${counted(now.length, "item")} carry it`;
    if (!knobs.length) said.push("no neuron has anything to do with it, so that it cannot be turned");
    else if (stop === 0) said.push(share, "the model's own list");
    else {
      const places = now.map((item, at) => [before.get(item), at + 1]);
      const fresh = places.filter(([was]) => was === undefined).length;
      const up = places.filter(([was, at]) => was > at).length;
      const down = places.filter(([was, at]) => was < at).length;
      said.push(`${share}, ${count(page.before, carrying)} at 0`, `${fresh} new, ${up} up, ${down} down`);
    }
    if (page.held_out_in_all && knobs.length) said.push(`${count(now, held)} of ${counted(page.held_out_in_all, "held-out item")}${stop ? `, ${count(page.before, held)} at 0` : ""}`);
    find("summary").replaceChildren(named(name), ` at ${number(board.strengths[stop])}: ${said.join("; ")}.`);
  }

  function showStop(glide = true) {
    const value = number(board.strengths[stop]);
    find("alpha").value = stop;
    find("alpha").setAttribute("aria-valuetext", board.mode === "redistribute" ? `${value}, ${percent(board.strengths[stop])} of the activation` : value);
    find("dial-value").textContent = `α ${value}`;
    find("turned-title").textContent = stop === 0 ? "The model's own (α 0)" : `Turned (α ${value})`;
    [...find("stops").children].forEach((made, at) => made.classList.toggle("now", at === stop));
    showList(glide);
  }

  function choose(concept, glide = true) {
    chosen = concept;
    const { name, on, knobs } = concepts[concept];
    if (!knobs.length) stop = 0;
    find("concept").value = name;
    find("dial-name").textContent = name;
    find("alpha").disabled = !knobs.length;
    for (const button of find("chips").querySelectorAll("button")) button.setAttribute("aria-pressed", String(Number(button.dataset.concept) === concept));
    find("legend").replaceChildren(
      make("li", "", make("b", "", "★"), " carries ", named(name), `, as ${counted(on, "item")} in all ${on === 1 ? "does" : "do"}`),
      make("li", "", make("b", "", "new, +3, −2"), " against the list of strength 0"),
      make("li", "", make("b", "", "held out"), " the user has it, and the model was not told"),
    );
    find("knobs-title").replaceChildren("Of ", named(name));
    find("knobs").replaceChildren(...knobs.map((knob, at) => card(knob.neuron, at === 0, knob)));
    if (!knobs.length) find("knobs").append(make("p", "note", "None: no neuron has anything to do with it."));
    for (const made of [...find("plain").children, ...find("history").children]) mark(made, concepts[concept].carried.includes(Number(made.dataset.item)));
    const own = page.history.filter((item) => carried().has(item)).length;
    find("history-count").replaceChildren(`${counted(page.history.length, "item")} in the history, ${own} with `, named(name));
    showStop(glide);
  }

  // Cards.
  function card(neuron, open, knob) {
    const { share, characterises, unique, excites, items: exciting, codes } = cards[neuron];
    const label = characterises ? named(concepts[characterises.concept].name) : make("span", "sure", "no label");
    const made = make("details", "card");
    made.open = open;
    made.append(make("summary", "", make("span", "number", spoken("neuron "), String(neuron)), label, make("span", "share", `${percent(share)} of the code`)));
    const facts = make("dl");
    const sure = ({ correlation, f1 }) => make("span", "sure", `r ${correlation.toFixed(2).replace("-", "−")}, F1 ${f1.toFixed(2)}`);
    const fact = (what, ...value) => facts.append(make("dt", "", what), make("dd", "", ...value));
    const labelled = (found) => (found ? [named(concepts[found.concept].name), ", ", sure(found)] : ["no label: its items have no concept"]);
    fact("characterises", ...labelled(characterises));
    fact("unique", ...labelled(unique));
    if (knob) fact("this concept", sure(knob));
    const list = make("ul", "items");
    exciting.forEach((item, at) => list.append(make("li", "", named(items[item].title), make("span", "", codes[at] < 0.1 ? codes[at].toPrecision(2) : codes[at].toFixed(2)))));
    const title = make("p", "", excites === 1 ? "1 item excites it:" : `${excites.toLocaleString("en")} items excite it, most:`);
    made.append(make("div", "body", facts, title, list));
    return made;
  }

  // The search field: a combobox with a list box, as in the ARIA practices.
  const field = find("concept");
  const options = find("options");
  let active = -1;

  function matching(query) {
    const wanted = query.trim().toLowerCase();
    const all = concepts.map((_, at) => at);
    if (!wanted) return all;
    const has = all.filter((at) => concepts[at].name.toLowerCase().includes(wanted));
    const first = (at) => concepts[at].name.toLowerCase().startsWith(wanted);
    return [...has.filter(first), ...has.filter((at) => !first(at))];
  }

  function openOptions(query) {
    const found = matching(query);
    options.replaceChildren(
      ...found.slice(0, MOST_OPTIONS).map((at) => {
        const made = make("li", "", named(concepts[at].name), make("span", "", counted(concepts[at].on, "item")));
        made.id = `option-${at}`;
        made.dataset.concept = at;
        made.setAttribute("role", "option");
        made.setAttribute("aria-selected", String(at === chosen));
        return made;
      }),
    );
    const note = !found.length ? "No concept has this in its name." : found.length > MOST_OPTIONS ? `${found.length - MOST_OPTIONS} more; type on` : "";
    if (note) {
      const made = make("li", "none", note);
      made.setAttribute("role", "presentation");
      options.append(made);
    }
    options.hidden = false;
    field.setAttribute("aria-expanded", "true");
    activate(query.trim() && found.length ? 0 : found.indexOf(chosen));
  }

  function activate(at) {
    const found = [...options.querySelectorAll("[role=option]")];
    active = found.length ? Math.min(Math.max(at, -1), found.length - 1) : -1;
    found.forEach((made, place) => made.classList.toggle("active", place === active));
    if (active < 0) field.removeAttribute("aria-activedescendant");
    else {
      field.setAttribute("aria-activedescendant", found[active].id);
      found[active].scrollIntoView({ block: "nearest" });
    }
  }

  function closeOptions() {
    options.hidden = true;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
    field.value = chosen === null ? "" : concepts[chosen].name;
  }

  function pick(made) {
    choose(Number(made.dataset.concept));
    closeOptions();
    field.select();
  }

  field.addEventListener("focus", () => field.select());
  field.addEventListener("click", () => options.hidden && openOptions(""));
  field.addEventListener("input", () => openOptions(field.value));
  field.addEventListener("blur", closeOptions);
  field.addEventListener("keydown", (event) => {
    const count = options.querySelectorAll("[role=option]").length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (options.hidden) openOptions("");
      else activate((active + (event.key === "ArrowDown" ? 1 : -1) + count) % Math.max(count, 1));
    } else if (event.key === "Enter" && !options.hidden) {
      event.preventDefault();
      const found = options.querySelectorAll("[role=option]")[active];
      if (found) pick(found);
    } else if (event.key === "Escape" && !options.hidden) {
      event.preventDefault();
      closeOptions();
      field.select();
    }
  });
  options.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
  options.addEventListener("click", (event) => {
    const found = event.target.closest("[role=option]");
    if (found) pick(found);
  });

  // Everything that stands once.
  describe();
  for (const at of page.strongest_concepts) {
    const button = make("button", "", named(concepts[at].name), make("span", "", ` ${percent(concepts[at].share)}`));
    button.type = "button";
    button.dataset.concept = at;
    button.addEventListener("click", () => choose(at));
    find("chips").append(make("li", "", button));
  }
  if (!page.strongest_concepts.length) find("chips-label").textContent = "None stands out in this user's code now.";
  find("history").append(
    ...page.history.map((item) => {
      const made = make("li", "", make("span", "title", named(items[item].title)));
      made.dataset.item = item;
      return made;
    }),
  );
  find("plain").append(...page.plain.map((item, at) => row(item, at + 1)));
  find("strongest").append(...page.strongest_neurons.map((neuron) => card(neuron, false)));
  if (!page.strongest_neurons.length) find("strongest").append(make("p", "note", "None: its code is all zeros."));
  const apart = Math.ceil(board.strengths.length / 11); // more would not fit a phone
  board.strengths.forEach((alpha, at) => find("stops").append(make("span", "", at % apart ? "" : number(alpha))));
  find("alpha").max = board.strengths.length - 1;
  find("alpha").addEventListener("input", () => {
    stop = Number(find("alpha").value);
    showStop();
  });
  find("beside").addEventListener("change", () => {
    find("plain-column").hidden = !find("beside").checked;
    find("columns").classList.toggle("two", find("beside").checked);
  });
  find("alpha").disabled = chosen === null;
  if (chosen === null) showStop(false);
  else choose(chosen, false);
})();
