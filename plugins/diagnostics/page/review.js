"use strict";
// The review loop: see plugins/diagnostics/review.py, which contains the same regression in numpy.
const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const K = data.classes.length;
const judged = new Map(); // row on the page -> right class
let history = [], skipped = new Set(), order = [...Array(data.count).keys()], chance = null;

const suggestion = Array.from({length: data.count}, (_, i) => {
  let best = -1;
  for (let k = 0; k < K; k++) if (k !== data.label[i] && (best < 0 || data.p[i][k] > data.p[i][best])) best = k;
  return best;
});
const features = (i) => {
  const x = new Float64Array(4 + K + K * K);
  x.set(data.x[i]);
  x[4 + data.label[i]] = 1;
  x[4 + K + data.label[i] * K + suggestion[i]] = 1;
  return x;
};

// Logistic regression under a Gaussian prior, damped Newton steps

function solve(a, b) { // a: rows, symmetric and positive definite; Cholesky
  const n = b.length, l = a.map((row) => Float64Array.from(row)), y = Float64Array.from(b);
  for (let j = 0; j < n; j++) {
    for (let k = 0; k < j; k++) for (let i = j; i < n; i++) l[i][j] -= l[i][k] * l[j][k];
    const root = Math.sqrt(Math.max(l[j][j], 1e-12));
    for (let i = j; i < n; i++) l[i][j] /= root;
  }
  for (let i = 0; i < n; i++) { for (let k = 0; k < i; k++) y[i] -= l[i][k] * y[k]; y[i] /= l[i][i]; }
  for (let i = n - 1; i >= 0; i--) { for (let k = i + 1; k < n; k++) y[i] -= l[k][i] * y[k]; y[i] /= l[i][i]; }
  return y;
}
const dot = (a, b) => { let s = 0; for (let i = 0; i < a.length; i++) s += a[i] * b[i]; return s; };
const sigmoid = (f) => 1 / (1 + Math.exp(-f));
const softplus = (f) => Math.max(f, 0) + Math.log1p(Math.exp(-Math.abs(f)));

function fit(rows, wrong) { // rows: features with a 1 at the end; columns that are 0 throughout keep the prior's mean
  const all = rows[0].length;
  const used = [...Array(all).keys()].filter((j) => rows.some((x) => x[j] !== 0));
  const x = rows.map((row) => used.map((j) => row[j])), d = used.length;
  const penalty = used.map((j) => data.precision[j]), mean = Float64Array.from(used, (j) => data.mean[j]);
  const loss = (w) => x.reduce((s, row, i) => { const f = dot(row, w); return s + softplus(f) - wrong[i] * f; }, 0)
    + penalty.reduce((s, p, j) => s + p * (w[j] - mean[j]) ** 2 / 2, 0);
  let w = Float64Array.from(mean), current = loss(w);
  for (let round = 0; round < 50; round++) {
    const gradient = Float64Array.from(penalty, (p, j) => p * (w[j] - mean[j]));
    const hessian = Array.from({length: d}, (_, j) => { const r = new Float64Array(d); r[j] = penalty[j]; return r; });
    x.forEach((row, i) => {
      const p = sigmoid(dot(row, w)), q = p * (1 - p);
      for (let a = 0; a < d; a++) {
        if (row[a] === 0) continue;
        gradient[a] += row[a] * (p - wrong[i]);
        for (let b = 0; b < d; b++) hessian[a][b] += q * row[a] * row[b];
      }
    });
    const step = solve(hessian, gradient);
    let size = 1, next, value;
    do { next = w.map((v, j) => v - size * step[j]); value = loss(next); size /= 2; } while (value > current && size > 1e-6);
    w = next;
    if (current - value < 1e-10) break;
    current = value;
  }
  const weights = Float64Array.from(data.mean);
  used.forEach((j, i) => { weights[j] = w[i]; });
  return weights;
}
const withOne = (i) => Float64Array.from([...features(i), 1]);

function rank() { // what is left, by the judgments so far; without any, by the score
  const rows = history.filter((i) => judged.has(i)), wrong = rows.map((i) => +(judged.get(i) !== data.label[i]));
  const base = (a, b) => data.score[a] - data.score[b] || a - b;
  order = [...Array(data.count).keys()].filter((i) => !judged.has(i));
  chance = null;
  if (rows.length) {
    const weights = fit(rows.map(withOne), wrong);
    chance = new Float64Array(data.count);
    for (const i of order) chance[i] = sigmoid(dot(withOne(i), weights));
    order.sort((a, b) => chance[b] - chance[a] || base(a, b));
  } else order.sort(base);
}

// The page

function passes(i) {
  const given = get("given").value, suggested = get("suggested").value;
  if (judged.has(i) || skipped.has(i)) return false;
  if (given !== "" && +given !== data.label[i]) return false;
  if (suggested !== "" && +suggested !== suggestion[i]) return false;
  if (get("flagged").checked && !data.flag[i]) return false;
  if (data.p[i][suggestion[i]] < +get("least").value) return false;
  return [...document.querySelectorAll("#slices select")].every((s) => s.value === ""
    || data.slices[s.name][i] === s.value);
}
function upcoming(number) {
  const found = [];
  for (const i of order) if (passes(i)) { found.push(i); if (found.length === number) break; }
  return found;
}
function item(i, tag) {
  const line = document.createElement(tag);
  line.textContent = `${data.classes[data.label[i]]}: ${data.texts[i].join(" | ")}`;
  line.dir = "auto";
  return line;
}
function show(focus) {
  const next = upcoming(11), i = next[0];
  get("card").hidden = false;
  if (i === undefined) {
    get("place").textContent = "No rows are left under these filters.";
    for (const id of ["texts", "facts", "labels", "near", "queue"]) get(id).replaceChildren();
  } else {
    get("place").textContent = `Row ${data.index[i]}, labeled ${data.classes[data.label[i]]}`;
    get("texts").replaceChildren(...data.texts[i].map((text) => {
      const p = document.createElement("p");
      p.textContent = text;
      p.dir = "auto";
      return p;
    }));
    const likely = chance ? `, by your judgments wrong with probability ${chance[i].toFixed(2)}` : "";
    get("facts").textContent = `information ${data.pvi[i].toFixed(2)} bits${likely}`
      + (data.flag[i] ? ", flagged by confident learning" : "");
    get("labels").replaceChildren(...data.classes.map((name, k) => {
      const button = document.createElement("button"), meter = document.createElement("meter");
      button.type = "button";
      button.dataset.k = k;
      button.className = (k === data.label[i] ? "given" : "") + (k === suggestion[i] ? " suggested" : "");
      const key = k < 9 ? `${k + 1}: ` : "";
      button.append(`${key}${name}, ${data.p[i][k].toFixed(2)}${k === data.label[i] ? " (given)" : ""}`, meter);
      meter.value = data.p[i][k];
      meter.setAttribute("aria-hidden", "true");
      button.addEventListener("click", () => judge(i, k));
      return button;
    }));
    const twins = new Set(data.twins[i]);
    get("near").replaceChildren(...[...new Set([...data.twins[i], ...data.near[i]])].map((j) => {
      const line = item(j, "li");
      if (twins.has(j)) line.prepend("(near duplicate) ");
      return line;
    }));
    get("queue").replaceChildren(...next.slice(1).map((j) => item(j, "li")));
  }
  progress();
  if (focus) get("place").focus();
}
function progress() {
  const rows = history.filter((i) => judged.has(i)), wrong = rows.map((i) => judged.get(i) !== data.label[i]);
  const errors = wrong.filter(Boolean).length;
  const left = chance ? order.filter((i) => !judged.has(i)).reduce((s, i) => s + chance[i], 0) : null;
  get("found").textContent = `${rows.length} judged, ${errors} wrong labels found`
    + (left === null ? "." : `; about ${Math.round(left)} more expected among the ${order.filter((i) => !judged.has(i)).length} rows left here.`);
  const recent = wrong.slice(-data.recent), some = recent.filter(Boolean).length;
  if (recent.length < data.recent) get("advice").textContent = "";
  else {
    const [low, high] = data.table[some].map((x) => Math.round(100 * x));
    get("advice").textContent = `Of the last ${data.recent} rows ${some} were wrong: ${low} to ${high} % of such rows are.`
      + (high < 100 * data.few ? " You can stop here." : "");
  }
  get("undo").disabled = history.length === 0;
}
function judge(i, k) {
  judged.set(i, k);
  history.push(i);
  if (history.filter((j) => judged.has(j)).length % data.every === 0) rank();
  get("message").textContent = "";
  show(true);
}
function skip() {
  const i = upcoming(1)[0];
  if (i === undefined) return;
  skipped.add(i);
  history.push(i);
  show(true);
}
function undo() {
  const i = history.pop();
  if (i === undefined) return;
  judged.delete(i);
  skipped.delete(i);
  if (!order.includes(i)) order.unshift(i);
  else order = [i, ...order.filter((j) => j !== i)];
  show(true);
}

// Files

function lines() {
  return history.filter((i) => judged.has(i)).map((i) => JSON.stringify({
    row: data.row[i], index: data.index[i], texts: data.texts[i], given_label: data.classes[data.label[i]],
    label: data.classes[judged.get(i)], is_error: judged.get(i) !== data.label[i],
  }) + "\n").join("");
}
function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines()], {type: "application/jsonl"}));
  link.download = "review.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  get("message").textContent = `${judged.size} judgments exported to review.jsonl.`;
}
function load(text) {
  const place = new Map(data.row.slice(0, data.count).map((row, i) => [row, i])), found = [];
  text.split("\n").forEach((line, number) => {
    if (!line.trim()) return;
    let entry;
    try { entry = JSON.parse(line); } catch { throw new Error(`line ${number + 1} is not JSON`); }
    const i = place.get(entry?.row), k = data.classes.indexOf(entry?.label);
    if (i === undefined || k < 0) throw new Error(`line ${number + 1}: no such row or label on this page`);
    if (JSON.stringify(data.texts[i]) !== JSON.stringify(entry.texts)) throw new Error(`line ${number + 1}: another text`);
    found.push([i, k]);
  });
  for (const [i, k] of found) { if (!judged.has(i)) history.push(i); judged.set(i, k); skipped.delete(i); }
  rank();
  get("message").textContent = `${found.length} judgments imported.`;
  show(false);
}
function choices(select, names, first) {
  const all = document.createElement("option");
  all.value = "";
  all.textContent = first;
  select.replaceChildren(all, ...names.map(([value, name]) => {
    const option = document.createElement("option");
    option.value = value;
    option.textContent = name;
    return option;
  }));
}

get("every").textContent = data.every;
choices(get("given"), data.classes.map((name, k) => [k, name]), "any");
choices(get("suggested"), data.classes.map((name, k) => [k, name]), "any");
for (const [name, values] of Object.entries(data.slices)) {
  const label = document.createElement("label"), select = document.createElement("select");
  select.name = name;
  choices(select, [...new Set(values)].sort().map((value) => [value, value]), "any");
  label.append(`${name} `, select);
  get("slices").append(label);
}
get("filters").addEventListener("input", () => show(false));
get("filters").addEventListener("submit", (event) => event.preventDefault());
get("skip").addEventListener("click", skip);
get("undo").addEventListener("click", undo);
get("export").addEventListener("click", save);
get("import").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  try { load(await file.text()); } catch (error) { get("message").textContent = `${file.name}: ${error.message}`; }
  event.target.value = "";
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (/^[1-9]$/.test(event.key) && +event.key <= K) {
    const i = upcoming(1)[0];
    if (i !== undefined) judge(i, +event.key - 1);
  } else if (event.key === "s") skip();
  else if (event.key === "u") undo();
});
rank();
show(false);
