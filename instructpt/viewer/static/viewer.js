// The viewer's page. What is shown is what the address says (`state`): every change of it goes through `go`, and
// `show` draws it. Corpus text enters the page through `put` alone, as text nodes: nothing here makes markup of strings.
"use strict";

const COUNT = 25; // records of a page
const BLOCK = 4000; // characters that are laid out at once
const RESERVED = ["artifact", "view", "row", "start", "text"]; // in the address; any other name is a filter
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u;
const HIDDEN_ONE = new RegExp(`(${HIDDEN.source})`, "u");

const $ = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");

let names = []; // of all artifacts
let about = null; // what is known of the one shown
let shownList = ""; // what the list was drawn for
let shownRecord = "";
let rows = []; // numbers of the records in the list
let goOn = null; // where a search that stopped goes on
let search = new AbortController();
let reading = new AbortController();

// ---- the page's elements -------------------------------------------------------------------------------------------

/** An element with properties, and children: strings become text. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Corpus text into an element. Characters that are invisible or turn the direction are spelled out, not obeyed. */
function put(element, text) {
  if (text.length > 2 * BLOCK) {
    for (const block of blocks(text)) element.append(put(make("span", { class: "block" }), block));
    return element;
  }
  if (!HIDDEN.test(text)) {
    element.append(text);
    return element;
  }
  for (const part of text.split(HIDDEN_ONE)) {
    if (part.length === 1 && HIDDEN.test(part)) {
      const code = `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
      element.append(make("span", { class: "control", title: `control character ${code}` }, code));
    } else if (part) element.append(part);
  }
  return element;
}

/** A long text in parts that end at a line's end where there is one: a browser lays out each when it comes into view,
 *  and takes a quarter of a minute for a single line of a million characters. */
function* blocks(text) {
  for (let start = 0; start < text.length;) {
    let stop = Math.min(start + BLOCK, text.length);
    const line = text.lastIndexOf("\n", stop - 1);
    if (stop < text.length && line > start) stop = line + 1;
    else if (/[\ud800-\udbff]/.test(text[stop - 1])) stop += 1; // not inside a character
    yield text.slice(start, stop);
    start = stop;
  }
}

const said = (tag, name, text) => put(make(tag, { class: name }), text);
const tag = (text, kind = "") => said("span", `tag ${kind}`, text);
const plural = (count, unit) => `${number(count)} ${unit}${count === 1 ? "" : "s"}`;

// ---- state and address ---------------------------------------------------------------------------------------------

function state() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

function address(changes, from = state()) {
  const kept = Object.entries({ ...from, ...changes }).filter(([, v]) => v !== null && v !== undefined && v !== "");
  return "?" + new URLSearchParams(kept.map(([name, value]) => [name, String(value)]));
}

function go(changes, { replace = false } = {}) {
  const url = address(changes);
  if (url === location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  show();
}

/** A link inside the page. */
function link(changes, properties, ...children) {
  return make("a", { href: address(changes), ...properties }, ...children);
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[href^='?']");
  if (!anchor || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (anchor.search === location.search) return;
  history.pushState(null, "", anchor.getAttribute("href"));
  show();
});
window.addEventListener("popstate", () => show());

const filtersOf = (now) => Object.entries(now).filter(([name]) => !RESERVED.includes(name));
const isSearch = (now) => Boolean(now.text || filtersOf(now).length);

// ---- the server ----------------------------------------------------------------------------------------------------

async function ask(path, signal) {
  const response = await fetch(`/api/${path}`, { signal });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function trouble(error) {
  if (error.name === "AbortError") return;
  $("trouble").replaceChildren();
  put($("trouble"), error.message);
  $("trouble").hidden = false;
}

// ---- drawing -------------------------------------------------------------------------------------------------------

async function show() {
  const now = state();
  $("trouble").hidden = true;
  try {
    if (!about || about.name !== now.artifact) await open(now.artifact);
    const inAbout = now.view === "about" || !about.record;
    document.body.className = inAbout ? "about" : now.row === undefined ? "" : "reading";
    $("to-records").toggleAttribute("aria-current", !inAbout);
    $("to-about").toggleAttribute("aria-current", inAbout);
    $("to-records").href = address({ view: null });
    $("to-about").href = address({ view: "about" });
    $("to-records").hidden = !about.record;
    if (inAbout) return await showAbout();
    showSearch(now);
    await showList(now);
    await showRecord(now);
  } catch (error) {
    trouble(error);
  }
}

async function open(name) {
  about = await ask(`${encodeURIComponent(name)}/about`);
  shownList = shownRecord = "";
  document.title = `${about.name} · instructpt`;
  $("artifact").replaceChildren(...names.map((n) => make("option", { value: n, selected: n === name }, n)));
  const unit = about.record === "Row" ? `packed row` : (about.record || "file").toLowerCase();
  $("what").replaceChildren(`${about.stage} · ${plural(about.num_records || about.num_shards, unit)}`);
  $("search").hidden = about.record === "Row" || !about.record;
  $("filters").replaceChildren(...about.filters.map(filter));
  if (about.filters.length) suggest(name);
}

function filter(name) {
  const pick = (event) => go({ [name]: event.target.value, row: null, start: null });
  return make("select", { id: `filter-${name}`, "aria-label": `Filter by ${name}`, onchange: pick },
    make("option", { value: "" }, `any ${name}`));
}

/** Fill the filters with values of a sample; it is read meanwhile. */
async function suggest(name) {
  const { values } = await ask(`${encodeURIComponent(name)}/charts`);
  if (about.name !== name) return;
  for (const [filter, counted] of Object.entries(values)) {
    for (const [value, count] of counted) {
      const known = [...$(`filter-${filter}`).options].find((option) => option.value === value);
      const option = known || make("option", { value });
      option.replaceChildren();
      put(option, filter === "source" ? value.split("/").at(-1) : value.replaceAll("_", " "));
      option.append(` (${number(count)})`);
      if (!known) $(`filter-${filter}`).append(option);
    }
  }
  showSearch(state());
}

function showSearch(now) {
  if (document.activeElement !== $("text")) $("text").value = now.text || "";
  for (const name of about.filters) {
    const select = $(`filter-${name}`);
    const value = now[name] || "";
    if (![...select.options].some((option) => option.value === value)) {
      select.append(put(make("option", { value }), value));
    }
    select.value = value;
    select.classList.toggle("on", Boolean(value));
  }
  $("clear").hidden = !isSearch(now);
}

// ---- the list ------------------------------------------------------------------------------------------------------

async function showList(now) {
  const start = now.start !== undefined ? Number(now.start) : Math.floor((Number(now.row) || 0) / COUNT) * COUNT;
  const wanted = JSON.stringify([now.artifact, now.text, filtersOf(now), isSearch(now) ? "" : start]);
  if (wanted !== shownList) {
    search.abort();
    search = new AbortController();
    shownList = wanted;
    rows = [];
    $("records").replaceChildren();
    $("pager").replaceChildren();
    $("meter").hidden = !isSearch(now);
    if (isSearch(now)) runSearch(now, 0).catch(trouble);
    else await showPage(now.artifact, start);
  }
  for (const anchor of $("records").querySelectorAll("a")) {
    const isIt = anchor.dataset.row === now.row;
    anchor.toggleAttribute("aria-current", isIt);
    anchor.href = address({ row: anchor.dataset.row });
    if (isIt) anchor.scrollIntoView({ block: "nearest" });
  }
}

async function showPage(artifact, start) {
  const path = `${encodeURIComponent(artifact)}/records?start=${start}&count=${COUNT}`;
  const { records } = await ask(path, search.signal);
  records.forEach(addItem);
  const last = start + records.length;
  $("progress").textContent = records.length
    ? `${number(start)} to ${number(last - 1)} of ${number(about.num_records)}` : "no records here";
  const jump = make("input", { type: "text", inputMode: "numeric", placeholder: "number", ariaLabel: "Go to number" });
  const form = make("form", { onsubmit: (event) => {
    event.preventDefault();
    const row = Number(jump.value.replaceAll(/[ ,.]/g, ""));
    if (Number.isInteger(row) && row >= 0 && row < about.num_records) go({ row, start: null });
    else trouble(new Error(`there is no record ${jump.value}: give a number below ${number(about.num_records)}`));
  } }, jump, make("button", {}, "Go"));
  $("pager").replaceChildren(
    link({ start: Math.max(0, start - COUNT), row: null }, { id: "earlier", hidden: start === 0 }, "← earlier"),
    link({ start: last, row: null }, { id: "later", hidden: last >= about.num_records }, "later →"), form);
}

function addItem(record) {
  rows.push(record.row);
  const start = make("div", { class: "start", dir: "auto" });
  if (record.snippet) {
    put(start, record.snippet.before);
    start.append(put(make("mark"), record.snippet.found));
    put(start, record.snippet.after);
  } else put(start, record.text);
  const tags = record.snippet ? [record.snippet.field, ...record.tags] : record.tags;
  const anchor = link({ row: record.row }, {},
    make("div", { class: "head" }, said("b", "", record.id), make("span", { class: "number" }, number(record.row))),
    start, make("div", { class: "tags" }, tags.map((text) => tag(text))));
  anchor.dataset.row = String(record.row);
  anchor.toggleAttribute("aria-current", String(record.row) === state().row);
  $("records").append(make("li", {}, anchor));
}

/** Hits as they come. A new search aborts this one, and the server stops reading. */
async function runSearch(now, start) {
  goOn = null;
  $("pager").replaceChildren();
  $("progress").textContent = "searching …";
  const query = address({ artifact: null, view: null, row: null, start: start || null }, now);
  const response = await fetch(`/api/${encodeURIComponent(now.artifact)}/search${query}`, { signal: search.signal });
  if (!response.ok) throw new Error((await response.json()).error);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const step = JSON.parse(line);
      if (step.error) throw new Error(step.error);
      step.hits.forEach(addItem);
      goOn = step.next;
      progress(step.searched);
    }
  }
  $("meter").hidden = true;
  if (goOn === null) return;
  const more = make("button", { id: "more", onclick: () => runSearch(state(), goOn).catch(trouble) }, "Search on");
  $("pager").replaceChildren(more);
}

function progress(searched) {
  const hits = plural(rows.length, "hit");
  const isAll = searched >= about.num_records;
  $("progress").textContent = isAll ? `${hits} in ${number(about.num_records)} records`
    : `${hits}; searched ${number(searched)} of ${number(about.num_records)}`;
  $("meter").hidden = isAll;
  $("meter").firstElementChild.style.width = `${(100 * searched) / Math.max(1, about.num_records)}%`;
}

// ---- a record ------------------------------------------------------------------------------------------------------

async function showRecord(now) {
  if (now.row === undefined) {
    shownRecord = "";
    const hint = about.num_records ? "Choose a record: j for the next one, / to search, ? for all keys."
      : "This artifact holds no records.";
    $("reader").replaceChildren(make("p", { class: "soft" }, hint));
    return;
  }
  const wanted = `${now.artifact}/${now.row}`;
  if (wanted === shownRecord) return;
  shownRecord = wanted;
  await readRecord(now);
}

async function readRecord(now, all = "") {
  reading.abort();
  reading = new AbortController();
  const path = `${encodeURIComponent(now.artifact)}/records/${encodeURIComponent(now.row)}`;
  const record = await ask(path + all, reading.signal);
  const draw = { Group: groupView, Text: textView, Document: documentView, Row: rowView }[record.record] || fieldsView;
  $("reader").replaceChildren(title(record, path), make("div", { id: "way" }), ...draw(record));
  if (record.cut) {
    const whole = () => readRecord(now, "?all=1").catch(trouble);
    const button = record.record === "Row" ? "" : make("button", { id: "whole", onclick: whole }, "Show all of it");
    $("reader").append(make("p", { class: "soft" }, "Too long to show at once; its beginning is above. ", button));
  }
  $("reader").scrollTop = 0;
  $("reader").dataset.row = now.row;
}

function title(record, path) {
  const actions = make("div", { class: "actions" }, link({ row: null }, { class: "back" }, "← list"));
  if (["Group", "Text", "Document"].includes(record.record)) {
    actions.append(make("button", { id: "trace", onclick: () => showWay(path).catch(trouble) }, "Where it came from"));
  }
  const [name, unit] = about.record === "Row" ? [`Row ${number(record.row)}`, ""] : [record.id || "(no id)", "record "];
  const place = `${unit}${unit && number(record.row)} of ${number(about.num_records)}`;
  return make("div", { class: "title" }, said("h2", "", name), make("span", { class: "soft" }, place), actions);
}

async function showWay(path) {
  const { hops } = await ask(`${path}/way`, reading.signal);
  const items = hops.map((hop) => {
    const name = `${hop.artifact}, record ${number(hop.row)}`;
    const item = make("li", {}, make("div", {}, link({ artifact: hop.artifact, row: hop.row, ...cleared() }, {}, name),
      make("span", { class: "soft" }, `  ${hop.stage}  `), said("span", "soft", hop.id)),
      hop.notes.map((text) => said("p", "", text)), said("p", "", `“${hop.text}”`));
    item.style.marginLeft = `${18 * hop.depth}px`;
    return item;
  });
  const list = make("ol", { class: "hops", tabIndex: -1, ariaLabel: "Where it came from" }, items);
  $("way").replaceChildren(list);
  list.focus({ preventScroll: true });
}

/** The address without what belongs to one artifact alone. */
function cleared() {
  return { view: null, start: null, text: null, ...Object.fromEntries(filtersOf(state()).map(([name]) => [name, null])) };
}

function where(part) {
  const line = make("p", { class: "where" });
  put(line, `${part.source} · ${number(part.characters)} characters`);
  const others = Object.entries(part.meta || {});
  if (!others.length) return [line];
  const text = JSON.stringify(part.meta, null, 2);
  return [line, make("details", {}, make("summary", {}, plural(others.length, "other field")), said("pre", "", text))];
}

function passage(pieces) {
  const text = make("p", { class: "text passage-text", dir: "auto" });
  for (const [part, marks] of pieces) {
    if (!marks.length) put(text, part);
    else text.append(put(make("mark", { "data-pairs": marks.join(" ") }), part));
  }
  return text;
}

const documentView = (record) => [...where(record), passage(record.pieces)];

function groupView(record) {
  return record.shots.map((shot, place) => {
    const before = shot.follows ? `, written after ${plural(shot.follows, "earlier one")}` : "";
    const left = make("div", { class: "passage" },
      make("h3", { class: "soft" }, `Passage ${place + 1} of ${record.shots.length}${before}`),
      said("p", "where", shot.id), ...where(shot), passage(shot.pieces));
    const pairs = shot.pairs.map((pair, n) => pairView(pair, n, left));
    const rejects = shot.rejects.map((reject) => make("div", { class: "reject" },
      tag(reject.reason.replaceAll("_", " "), "bad"), said("p", "", reject.text)));
    const out = rejects.length ? make("details", { class: "rejects", open: Boolean(state().reason) },
      make("summary", {}, `${rejects.length} left out`), rejects) : null;
    const writings = shot.writings.map((one) => make("article", { class: "pair" }, said("p", "text", one.text),
      make("div", { class: "tags" }, tag(one.form), tag(`variant ${one.variant}`))));
    return make("section", { class: "shot" }, left, make("div", {},
      make("h3", { class: "soft" }, plural(pairs.length, "pair")), make("ol", { class: "pairs" }, pairs), writings, out));
  });
}

const SUPPORT = {
  span: ["stands in the passage", "good"], words: ["its words stand in the passage", "good"],
  missing: ["not found in the passage", "bad"], own: ["in its own words", ""], option: ["", ""],
};

function pairView(pair, place, left) {
  const [words, kind] = SUPPORT[pair.support];
  const marks = () => left.querySelectorAll(`mark[data-pairs~="${place}"]`);
  const light = (on) => () => marks().forEach((mark) => mark.classList.toggle("on", on));
  const options = pair.options.map((option) => said("li", option === pair.answer ? "right" : "", option));
  const seek = () => marks()[0]?.scrollIntoView({ block: "center" });
  return make("li", { class: "pair", tabIndex: 0, onmouseenter: light(true), onmouseleave: light(false),
    onfocus: light(true), onblur: light(false), onclick: () => getSelection().isCollapsed && seek() },
    said("p", "question", pair.question), options.length ? make("ul", {}, options) : null,
    pair.rationale ? said("p", "rationale", pair.rationale) : null, said("p", "answer", pair.answer),
    make("div", { class: "tags" }, pair.category ? tag(pair.category) : null, words ? tag(words, kind) : null));
}

function textView(record) {
  const text = make("p", { class: "text", dir: "auto" });
  record.text_pieces.forEach(([part, learned], place) => {
    if (record.parts.includes(place)) text.append(make("span", { class: "break" }, "end of text · begin of text"));
    if (record.all_loss) put(text, part);
    else text.append(put(make("span", { class: learned ? "learned" : "silent" }), part));
  });
  const loss = record.all_loss ? "every token carries loss" : "underlined: carries loss";
  return [make("div", { class: "tags" }, tag(record.kind), record.layout ? tag(record.layout) : null, tag(loss)), ...where(record), text];
}

function fieldsView(record) {
  const value = (v) => (typeof v === "string" ? v : JSON.stringify(v, null, 1));
  const lines = Object.entries(record.fields).map(([name, v]) =>
    make("tr", {}, make("th", {}, name), put(make("td"), value(v))));
  return [make("table", { class: "fields" }, make("tbody", {}, lines))];
}

// ---- a packed row --------------------------------------------------------------------------------------------------

function rowView(row) {
  const strip = make("div", { class: "strip", ariaHidden: "true" }, row.pieces_of.map((piece, n) => {
    const part = make("i", { class: `d${n % 8}` });
    part.style.flexGrow = piece.tokens;
    return part;
  }));
  if (row.unused) {
    strip.append(make("i"));
    strip.lastChild.style.flexGrow = row.unused;
  }
  const pieces = row.pieces_of.map((piece, n) => {
    const name = piece.text ? link({ ...piece.text, ...cleared() }, {}, piece.id || "(no id)") : said("span", "", piece.id);
    return make("div", { class: "piece" }, make("i", { class: `d${n % 8}` }),
      make("span", {}, name, " ", said("span", "soft", `${plural(piece.tokens, "token")} · ${piece.source}`)));
  });
  const unused = row.unused ? [make("p", { class: "soft" }, `${plural(row.unused, "place")} unused`)] : [];
  const hint = row.texts ? "Colour: document. Faded: no loss on it. Point at a token, or go along with ← →."
    : "The vocabulary is not on this machine: ids instead of words.";
  return [strip, ...pieces, ...unused, make("p", { class: "soft" }, hint),
    make("p", { id: "token", role: "status", ariaLive: "polite" }, "no token chosen"), tokensView(row)];
}

function tokensView(row) {
  const spans = row.ids.map((id, place) => {
    const text = row.texts ? row.texts[place] : `${id} `;
    const isFirst = place > 0 && row.documents[place] !== row.documents[place - 1];
    const name = `d${row.documents[place] % 8}${row.learned[place] ? "" : " quiet"}${isFirst ? " first" : ""}`;
    return said("span", name, text);
  });
  let at = -1;
  const point = (place) => {
    if (place < 0 || place >= spans.length || place === at) return;
    spans[at]?.classList.remove("at");
    spans[(at = place)].classList.add("at");
    const target = row.targets[place];
    const loss = row.learned[place] ? "carries loss" : "no loss on it";
    const line = [`place ${number(place)}`, `id ${row.ids[place]}`, `position ${number(row.positions[place])}`,
      `document ${row.documents[place]}`, loss, target < 0 ? "no target" : `target ${target}`].join(" · ");
    $("token").replaceChildren(`${line} · `, said("b", "", JSON.stringify(row.texts ? row.texts[place] : "")));
  };
  const over = (event) => event.target !== event.currentTarget && point(spans.indexOf(event.target.closest(".tokens > span")));
  const move = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    point(Math.max(0, at + by));
    spans[at]?.scrollIntoView({ block: "nearest" });
  };
  return make("div", { class: "tokens", tabIndex: 0, role: "group", ariaLabel: "Tokens of the row", onmouseover: over,
    onclick: over, onkeydown: move }, spans);
}

// ---- about an artifact ---------------------------------------------------------------------------------------------

async function showAbout() {
  shownRecord = "";
  const one = about;
  const cards = [[one.taken, `${one.takes} in`], [one.made, `${one.makes} out`],
    [Object.values(one.dropped).reduce((a, b) => a + b, 0), `${one.takes} left out`], [one.counts.pairs, "pairs"],
    [one.counts.tokens, "tokens"], [one.num_shards, one.num_shards === 1 ? "shard" : "shards"]];
  const shown = cards.filter(([value], i) => value || i === 2).map(([value, what]) =>
    make("div", { class: "card" }, make("b", {}, number(value)), what));
  const rejects = Object.entries(one.counts).filter(([name]) => name.startsWith("rejects/"));
  const box = make("div", { class: "overview" },
    make("div", { class: "title" }, said("h2", "", one.name), said("span", "soft", one.path)),
    make("div", { class: "cards" }, shown),
    section("Distributions", make("p", { id: "sampled", class: "soft" }, "reading a sample …"), make("div", { class: "charts", id: "charts" })),
    section("Made from", tree(one.name)),
    section(`${one.takes[0]?.toUpperCase() ?? ""}${one.takes.slice(1)} left out`, ...reasons(Object.entries(one.dropped), one.samples)),
    rejects.length ? section("Pairs left out", ...reasons(rejects, one.samples)) : null,
    section("How", table([["stage", `${one.stage}, version ${one.version}`], ["fingerprint", one.fingerprint],
      ...Object.entries(one.made_by)]), make("details", {}, make("summary", {}, "Settings"),
      said("pre", "", JSON.stringify(one.settings, null, 2)))));
  $("reader").replaceChildren(box);
  const { sampled, of, charts } = await ask(`${encodeURIComponent(one.name)}/charts`);
  if (about !== one || !$("sampled")) return;
  $("sampled").textContent = !charts.length ? "nothing to count"
    : sampled === of ? `all ${number(of)} records` : `a sample of ${number(sampled)} of ${number(of)} records`;
  $("charts").replaceChildren(...charts.map(chart));
}

const section = (name, ...children) => make("section", {}, make("h2", {}, name), children);

const table = (lines) => make("table", { class: "fields" }, make("tbody", {},
  lines.map(([name, value]) => make("tr", {}, said("th", "", name), said("td", "", value)))));

function reasons(counted, samples) {
  if (!counted.length) return [make("p", { class: "soft" }, "none")];
  return counted.sort((a, b) => b[1] - a[1]).map(([name, count]) => make("details", {},
    make("summary", {}, `${name.replace("rejects/", "").replaceAll("_", " ")}: ${number(count)}`),
    (samples[name] || samples[name.replace("rejects/", "left_out/")] || []).map((text) => said("pre", "", text))));
}

/** The artifact above what it was made from; one that stands in several places is unfolded in the first. */
function tree(name) {
  const known = Object.fromEntries(about.made_from.map((one) => [one.name, one]));
  const seen = new Set();
  const branch = (name) => {
    const one = known[name];
    if (!one) return make("li", {}, make("div", { class: "soft" }, `${name} (no longer there)`));
    const inputs = seen.has(name) ? [] : one.inputs;
    const again = seen.has(name) && one.inputs.length ? " · see above" : "";
    seen.add(name);
    const dropped = Object.values(one.dropped).reduce((a, b) => a + b, 0);
    const flow = [one.taken ? `${number(one.taken)} ${one.takes} in` : "", one.made ? `${number(one.made)} ${one.makes} out` : "",
      dropped ? `${number(dropped)} left out` : ""].filter(Boolean).join(", ");
    return make("li", {}, make("div", {}, link({ artifact: name, row: null, ...cleared(), view: "about" }, {}, name),
      make("span", { class: "soft" }, `  ${one.stage}${flow ? ` · ${flow}` : ""} · ${one.seconds} s${again}`)),
      inputs.length ? make("ul", {}, inputs.map(branch)) : null);
  };
  return make("ul", { class: "tree" }, branch(name));
}

function chart({ title, bars }) {
  const most = Math.max(...bars.map(([, count]) => count));
  const lines = bars.map(([name, count]) => {
    const bar = make("i", { ariaHidden: "true" });
    bar.style.width = `${(100 * count) / most}%`;
    return make("tr", {}, said("td", "", name), make("td", {}, count ? bar : ""), make("td", {}, number(count)));
  });
  lines.forEach((line, i) => (line.firstChild.title = bars[i][0]));
  return make("figure", { class: "chart" }, make("figcaption", {}, title),
    make("table", {}, make("tbody", {}, lines)));
}

// ---- keys and fields -----------------------------------------------------------------------------------------------

function step(by) {
  const now = state();
  if (isSearch(now)) {
    const place = now.row === undefined ? (by > 0 ? -1 : rows.length) : rows.indexOf(Number(now.row));
    if (rows[place + by] !== undefined) go({ row: rows[place + by] });
    return;
  }
  const row = now.row === undefined ? rows[0] : Number(now.row) + by;
  if (row >= 0 && row < about.num_records) go({ row, start: null });
}

const KEYS = {
  j: () => step(1), k: () => step(-1), o: () => $("trace")?.click(), "?": () => $("help").showModal(),
  "/": () => ($("search").hidden ? null : (go({ view: null }), $("text").focus(), $("text").select())),
  r: () => go({ view: null }), a: () => go({ view: "about" }), ArrowLeft: () => turn("earlier"), ArrowRight: () => turn("later"),
  Escape: () => go({ row: null }),
};

function turn(id) {
  if ($(id) && !$(id).hidden) $(id).click();
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (isTyping) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!KEYS[event.key] || !about) return;
  event.preventDefault();
  KEYS[event.key]();
});

let typed = 0;
$("text").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => go({ text: $("text").value, row: null, start: null }, { replace: true }), 250);
});
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typed);
  go({ text: $("text").value, row: null, start: null });
});
$("clear").addEventListener("click", () => {
  $("text").value = "";
  go({ ...cleared(), row: null });
});
$("artifact").addEventListener("change", (event) => go({ artifact: event.target.value, row: null, ...cleared() }));
$("help-button").addEventListener("click", () => $("help").showModal());

async function begin() {
  const { first, names: found } = await ask("artifacts");
  names = found;
  if (!state().artifact) history.replaceState(null, "", address({ artifact: first }));
  await show();
}
begin().catch(trouble);
