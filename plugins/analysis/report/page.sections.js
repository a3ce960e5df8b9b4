function patterns({ note, layers, heads, items }) {
  $("patterns-note").textContent = note;
  const part = (offset, size, count) => clamp(Math.floor((offset / size) * count), count - 1);
  $("maps").append(...items.map(({ title, what, score, best, most }) => {
    const canvas = el("canvas", { "aria-hidden": true, click: ({ offsetX, offsetY }) => showHead(
      part(offsetY, canvas.clientHeight, layers) * heads + part(offsetX, canvas.clientWidth, heads)) });
    canvas.style.aspectRatio = `${heads} / ${layers}`;
    const at = (layer, head) => Math.round(255 * Math.sqrt(clamp(score[layer * heads + head], 1)));
    redraw.push(() => drawPixels(canvas, layers, heads, at));
    return el("article", {}, el("h3", {}, title), el("p", {}, what), canvas,
      el("button", { type: "button", click: () => showHead(best) }, most));
  }));
}

function predictions({ note, tokens, bits, truth, choices }) {
  const most = Math.max(...bits.filter((value) => value !== null)), list = $("choices"), scale = $("choices-scale");
  $("predictions-note").textContent = note;
  const text = strip($("surprise"), tokens, "Tokens with their surprise", (i, settled) => {
    const known = bits[i] !== null, after = `${name(tokens[i])}, token ${i + 1}: `;
    const surprise = known
      ? `${bits[i].toFixed(1)} bits of surprise, probability ${truth[i].toPrecision(2)}` : "not predicted";
    $("surprise-asked").textContent = after + surprise;
    const top = known ? roundAbove(choices[i].map(([, p]) => p)) : 1;
    fillBars(list, known ? choices[i].map(([word, p]) => [word, p, "", word === tokens[i]]) : [], top);
    scale.textContent = known ? `First choices of the model. Bars: probability, from 0 to ${top}.` : "";
    const said = known ? choices[i].map(([word, p]) => `${name(word)} ${p.toFixed(2)}`).join(", ") : "";
    if (settled) $("surprise-spoken").textContent = `${after}${surprise}. First choices: ${said}`;
  });
  $("surprise-most").textContent = `${most.toFixed(1)} bits`;
  redraw.push(() => {
    drawPixels($("surprise-legend"), 1, 256, (_, q) => q);
    text.spans.forEach((span, i) => paint(span, Math.round(255 * (bits[i] ?? 0) / (most || 1))));
  });
}

function styles({ names, tokens, probabilities, colors }) {
  const shares = names.map(() => el("span")), squares = names.map(() => el("i"));
  const color = (k) => colors[k];
  const ribbon = strip($("ribbon"), tokens, "Text, with the style after each character", (i, settled) => {
    shares.forEach((share, k) => share.replaceChildren(probabilities[i][k].toFixed(2)));
    const said = names.map((style, k) => `${style} ${probabilities[i][k].toFixed(2)}`).join(", ");
    if (settled) $("style-spoken").textContent = `After ${name(tokens[i])}, character ${i + 1}: ${said}`;
  });
  squares.forEach((square, k) => { square.style.background = color(k); });
  $("style-keys").append(...names.map((style, k) => el("li", {}, squares[k], el("bdi", {}, style), " ", shares[k])));
  ribbon.spans.forEach((span, i) => {
    let sum = 0;
    const stops = probabilities[i].map((p, k) => `${color(k)} ${100 * sum}% ${100 * (sum += p)}%`);
    span.style.backgroundImage = `linear-gradient(to top, ${stops.join(", ")})`;
  });
}

function masks(passages) {
  $("passages").append(...passages.flatMap(({ pieces, slots }) => {
    const list = el("ol", { class: "bars", "aria-live": "polite" }), scale = el("p", { class: "axes" });
    const buttons = slots.map((_, i) => el("button", { type: "button", click: () => show(i) }));
    const show = (chosen) => {
      buttons.forEach((button, i) => {
        button.setAttribute("aria-pressed", i === chosen);
        button.textContent = i === chosen ? "<mask>" : slots[i].truth ?? "<mask>";
      });
      const { truth, answers } = slots[chosen];
      const most = roundAbove(answers.map(([, p]) => p));
      fillBars(list, answers.map(([word, p]) => [word, p, "", word.trim() === truth]), most);
      scale.textContent = `Bars: probability, from 0 to ${most}.`;
    };
    show(0);
    return [el("p", { class: "passage", dir: "auto" }, ...pieces.map((p) => buttons[p.slot] ?? p)), list, scale];
  }));
}

function samples({ note, prompt, temperatures, styles: names, texts, chosen }) {
  let style = 0, temperature = chosen;
  const show = () => $("sample").replaceChildren(el("span", {}, prompt), texts[style][temperature]);
  $("samples-note").textContent = note;
  choice($("temperatures"), temperatures, (i) => show((temperature = i)), chosen);
  choice($("sample-styles"), names, (i) => show((style = i)));
  $("sample-styles").hidden = names.length < 2;
  show();
}
