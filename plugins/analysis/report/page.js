"use strict";
(() => {
// The content of the page, see contents.py. All of it becomes text or numbers, never markup.
const report = JSON.parse(document.getElementById("report").textContent);
const INVISIBLE = { __proto__: null, "\n": "↵", "\r": "␍", "\t": "⇥", "": "∅" };
const NAMED = { __proto__: null, " ": "space", "\n": "line break", "\t": "tab", "": "nothing" };
const RTL = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]/u;
const $ = (id) => document.getElementById(id);
const range = (n) => Array.from({ length: n }, (_, i) => i);
const clamp = (value, high) => Math.max(0, Math.min(high, value));
const name = (token) => NAMED[token] ?? token.trim();
const shown = (token) => INVISIBLE[token] ?? token, weightOf = (q) => (q / 255) ** 2;
const redraw = [readColors]; // called again when colors or widths change
let showHead = () => {}; // (index of the head): show it in the viewer

/** Return an element with attributes (functions are listeners, null leaves one out) and children. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes))
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== null) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Color

const palette = new Uint32Array(256); // 0xAABBGGRR, as in the memory of a picture

function readColors() {
  const stops = getComputedStyle(document.documentElement).getPropertyValue("--ramp").trim().split(/\s+/)
    .map((hex) => [5, 3, 1].map((i) => parseInt(hex.slice(i, i + 2), 16))); // [blue, green, red]
  for (const q of range(256)) {
    const at = (q / 255) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
    palette[q] = stops[low].map((value, i) => Math.round(value + (stops[low + 1][i] - value) * (at - low)))
      .reduce((color, value) => 256 * color + value, 255);
  }
}

function paint(node, q) {
  const [r, g, b] = [0, 8, 16].map((bits) => (palette[q] >> bits) & 255);
  node.style.backgroundColor = q ? `rgb(${r} ${g} ${b})` : "";
  node.style.color = q ? (0.299 * r + 0.587 * g + 0.114 * b > 117 ? "#000000" : "#ffffff") : "";
}

/** Draw at(row, column) in 0 ... 255, a pixel an entry. */
function drawPixels(canvas, rows, columns, at) {
  Object.assign(canvas, { width: columns, height: rows });
  const picture = new ImageData(columns, rows), pixels = new Uint32Array(picture.data.buffer);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) pixels[i * columns + j] = palette[at(i, j)];
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

// Controls

function choice(box, labels, use, chosen = 0) {
  labels.forEach((label, i) => {
    const input = el("input", { type: "radio", name: box.id, value: i, change: () => use(i) });
    input.checked = i === chosen;
    box.append(el("label", {}, input, el("span", {}, el("bdi", {}, label))));
  });
}

/** Return whether a text runs from right to left: by its first letter, special tokens excluded. */
function isRightToLeft(tokens) {
  const letter = tokens.filter((token) => !/^<.*>$/.test(token)).join("").match(/\p{L}/u);
  return letter !== null && RTL.test(letter[0]);
}

/** Return the node in the next line (by = 1) or the previous one (-1) that is horizontally nearest. */
function inNextLine(nodes, from, by) {
  const boxes = nodes.map((node) => node.getBoundingClientRect());
  const beyond = range(nodes.length).filter((i) => (boxes[i].top - boxes[from].top) * by > 4);
  const top = boxes[beyond.at(by > 0 ? 0 : -1) ?? from].top;
  const distance = (i) => Math.abs(boxes[i].left - boxes[from].left) + 1e4 * (Math.abs(boxes[i].top - top) > 4);
  return beyond.reduce((a, b) => (distance(b) < distance(a) ? b : a), beyond[0] ?? from);
}

/**
 * Fill a box with tokens, one of which is selected by a tap or click, or by the arrow keys, Home and End.
 * visit(i, settled) is called with the token under the pointer, and with the selected one, then with settled = true.
 * The first one selected is the letter nearest to 70 % of the text.
 */
function strip(box, tokens, label, visit) {
  const rtl = isRightToLeft(tokens), last = tokens.length - 1;
  const middle = Math.floor(0.7 * last), letters = range(tokens.length).filter((i) => /^\s*\p{L}/u.test(tokens[i]));
  let chosen = letters.reduce((a, b) => (Math.abs(b - middle) < Math.abs(a - middle) ? b : a), letters[0] ?? middle);
  const spans = tokens.map((token, i) => el("span", {
    role: "option", id: `${box.id}-${i}`, "aria-label": name(token), class: token in INVISIBLE ? "ghost" : null,
  }, shown(token)));
  tokens.forEach((token, i) => box.append(spans[i], token === "\n" ? el("br") : ""));
  Object.assign(box, { role: "listbox", tabIndex: 0, ariaLabel: label, dir: rtl ? "rtl" : "ltr" });
  const choose = (i) => {
    spans[chosen].removeAttribute("aria-selected");
    chosen = clamp(i, last);
    spans[chosen].setAttribute("aria-selected", "true");
    box.setAttribute("aria-activedescendant", spans[chosen].id);
    visit(chosen, true);
  };
  spans.forEach((span, i) => {
    span.addEventListener("pointerenter", () => visit(i, false));
    span.addEventListener("click", () => choose(i));
  });
  box.addEventListener("pointerleave", () => visit(chosen, false));
  const go = (to) => () => choose(to()), along = (by) => go(() => chosen + (rtl ? -by : by));
  const across = (by) => go(() => inNextLine(spans, chosen, by));
  const actions = { ArrowRight: along(1), ArrowLeft: along(-1), ArrowDown: across(1), ArrowUp: across(-1) };
  onKeys(box, { ...actions, Home: go(() => 0), End: go(() => last) });
  queueMicrotask(() => choose(chosen));
  return { spans, choose };
}

function onKeys(box, actions) {
  box.addEventListener("keydown", (event) => {
    if (!(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  });
}

/** Fill a list with bars, rows of [text, share, small print, right?]; a bar of the full width is `most`. */
function fillBars(list, rows, most = 1) {
  list.replaceChildren(...rows.map(([text, share, small, right]) => {
    const bar = el("i");
    bar.style.width = `${(100 * share) / most}%`;
    const what = el("span", {}, el("bdi", {}, name(text)), el("small", {}, small));
    const number = el("data", {}, share.toFixed(most < 0.1 ? 3 : 2));
    return el("li", { class: right ? "right" : null }, what, el("div", {}, bar), number);
  }));
}

/** Return the round number at which bars end: the smallest one that is no less than all shares. */
const roundAbove = (shares) => [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((most) => Math.max(...shares) <= most) ?? 1;

function attention({ tokens, layers, heads, weights, head: strongest = 0 }) {
  const size = tokens.length, bytes = Uint8Array.from(atob(weights), (c) => c.charCodeAt(0));
  const at = (head, query, key) => bytes[(head * size + query) * size + key]; // heads of all layers, one after another
  const title = (i) => `Layer ${Math.floor(i / heads)}, head ${i % heads}`;
  const mirrored = isRightToLeft(tokens); // keys from right to left, as the text is read
  const column = (key) => (mirrored ? size - 1 - key : key); // and back
  const grid = $("heads"), matrix = $("matrix");
  const axes = ($("cell").textContent += mirrored ? ", right to left." : ".");
  const margin = tokens.some((text) => [...text].length > 1) ? 44 : 8; // room for labels
  let head = strongest, token = 0, incoming = false;

  const buttons = range(layers * heads).map((i) => el("button", {
    type: "button", "aria-label": title(i), title: title(i), tabindex: -1, click: () => show(i),
  }, el("canvas")));
  const header = (role) => (text) => el("span", { role }, text), cell = (b) => el("div", { role: "gridcell" }, b);
  const rows = range(layers).map((layer) => [
    header("rowheader")(layer), ...buttons.slice(layer * heads, (layer + 1) * heads).map(cell),
  ]);
  grid.style.gridTemplateColumns = `1.4em repeat(${heads}, minmax(0, 88px))`;
  rows.unshift(["", ...range(heads)].map(header("columnheader")));
  grid.append(...rows.map((row) => el("div", { role: "row" }, ...row)));
  const step = (by) => () => {
    if (head + by in buttons) show(head + by);
    buttons[head].focus();
  };
  onKeys(grid, { ArrowRight: step(1), ArrowLeft: step(-1), ArrowDown: step(heads), ArrowUp: step(-heads) });
  choice($("direction"), ["looks at", "is seen by"], (i) => { incoming = i === 1; look(token, true); });
  const text = strip($("tokens"), tokens, "Tokens of the text", look);

  function show(i) {
    for (const which of [head, i]) {
      buttons[which].setAttribute("aria-pressed", which === i);
      buttons[which].tabIndex = which === i ? 0 : -1;
    }
    head = i;
    $("head-title").textContent = title(head);
    matrix.setAttribute("aria-label", `Attention weights of ${title(head)}: a row a query, a column a key`);
    look(token, true);
  }

  function look(here, settled) {
    const weight = (other) => (incoming ? at(head, other, here) : at(head, here, other));
    const most = range(size).filter(weight).sort((a, b) => weight(b) - weight(a) || a - b).slice(0, 6);
    text.spans.forEach((span, i) => paint(span, weight(i)));
    fillBars($("weights"), most.map((i) => [tokens[i], weightOf(weight(i)), ` ${i + 1}`]));
    const asked = `${name(tokens[here])}, token ${here + 1} of ${size}, ${incoming ? "is seen by" : "looks at"}`;
    $("asked").textContent = asked;
    if (settled) {
      token = here;
      const said = most.map((i) => `${name(tokens[i])}, token ${i + 1}, ${weightOf(weight(i)).toFixed(2)}`).join("; ");
      $("spoken").textContent = `${title(head)}: ${asked} ${said || "nothing"}.`;
    }
    drawMatrix(here);
  }

  function geometry() { // in pixels of the page; cells are large enough for labels, a narrow window scrolls
    const cell = Math.max(11, Math.min(14, (matrix.parentElement.clientWidth - margin) / (size + 1.2)));
    const labels = margin + 1.2 * cell;
    return { width: labels + cell * size, labels, cell };
  }

  function drawMatrix(here) {
    const { width, labels, cell } = geometry(), pen = matrix.getContext("2d"), sharp = devicePixelRatio;
    const small = el("canvas"), style = getComputedStyle(document.body);
    drawPixels(small, size, size, (q, k) => at(head, q, column(k)));
    Object.assign(matrix, { width: width * sharp, height: width * sharp });
    Object.assign(matrix.style, { width: `${width}px`, height: `${width}px` });
    pen.scale(sharp, sharp);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, labels, labels, cell * size, cell * size);
    const [accent, soft, mono] = ["--accent", "--soft", "--mono"].map((name) => style.getPropertyValue(name));
    Object.assign(pen, { strokeStyle: accent, fillStyle: soft, lineWidth: 2, textBaseline: "middle" });
    pen.font = `${Math.min(13, cell)}px ${mono}`;
    if (incoming) pen.strokeRect(labels + column(here) * cell, labels, cell, cell * size);
    else pen.strokeRect(labels, labels + here * cell, cell * size, cell);
    for (const i of range(size)) {
      const label = shown(tokens[i].trim() || tokens[i]), middle = (place) => labels + (place + 0.5) * cell;
      pen.textAlign = "right";
      pen.fillText(label, labels - 4, middle(i), labels - 4);
      pen.save();
      pen.translate(middle(column(i)), labels - 4);
      pen.rotate(-Math.PI / 2 * (label.length > 1));
      pen.textAlign = label.length > 1 ? "left" : "center";
      pen.fillText(label, 0, label.length > 1 ? 0 : -cell / 2, labels - 4);
      pen.restore();
    }
  }

  const point = (event, use) => {
    const { labels, cell } = geometry(), index = (offset) => Math.floor((offset - labels) / cell);
    const x = index(event.offsetX), query = index(event.offsetY);
    if (!(x in tokens && query in tokens)) return;
    use(incoming ? column(x) : query, false);
    const [from, to] = [query, column(x)].map((i) => `${name(tokens[i])} (${i + 1})`);
    $("cell").textContent = `${from} looks at ${to}: ${weightOf(at(head, query, column(x))).toFixed(3)}`;
  };
  matrix.addEventListener("pointermove", (event) => point(event, look));
  matrix.addEventListener("click", (event) => point(event, text.choose));
  matrix.addEventListener("pointerleave", () => { $("cell").textContent = axes; look(token, false); });
  redraw.push(() => {
    drawPixels($("legend"), 1, 256, (_, q) => q);
    buttons.forEach((b, i) => drawPixels(b.firstChild, size, size, (q, k) => at(i, q, column(k))));
    look(token, false);
  });
  show(head);
  showHead = (i) => { show(i); $("attention").scrollIntoView(); buttons[i].focus({ preventScroll: true }); };
}

@SECTIONS@
const parts = { attention, patterns, predictions, styles, masks, samples };
if (matchMedia("(max-width: 520px)").matches)
  for (const group of document.querySelectorAll(".card details")) group.open = false;
const drawAll = () => redraw.forEach((draw) => draw());
for (const section of document.querySelectorAll("main > section")) parts[section.id]?.(report[section.id]);
drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
addEventListener("resize", drawAll);
})();
