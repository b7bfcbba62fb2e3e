// The painter's state: what the server sent, what the user painted, and how the layers and the controls show it.
// Runs as one script between painter_core.js and painter_input.js; gr.HTML provides element, props, trigger and watch.
const root = element.querySelector(".lp");
const part = (name) => root.querySelector(`[data-part="${name}"]`);
const view = part("view"), stage = part("stage"), cursor = part("cursor");
const sheet = (name) => ({ canvas: part(name), pen: part(name).getContext("2d") });
const sheets = { image: sheet("image"), prediction: sheet("prediction"), heat: sheet("heat"), strokes: sheet("strokes") };
const STEPS = 100, IMAGES = 48; // undo steps per image, and images remembered
const DUE = 10_000; // milliseconds for which what was received of an image goes along with a later value of it
const ONE_COLOR = 24; // largest difference per channel, of 255, within an area of one colour

// State that must survive a remount (Gradio removes hidden components from the page) is stored by block id.
const home = element.closest(".block")?.id || "painter";
const store = ((window.linsemPainters ??= {})[home] ??= { records: new Map(), form: null, stamp: 0 });

const ui = {
  tool: "brush", category: 0, sizes: { brush: props.first_brush || 0, eraser: 0 }, opacity: props.first_opacity ?? 0.75,
  prediction: true, uncertainty: false, locked: new Set(), zoom: 1, left: 0, top: 0, space: false, spot: null,
};
let categories = [], colors = [], rims = [];
let now = null; // the image on screen: {key, width, height, record, labels, prediction, heat, url}
let goal = null; // the key of the image last received, whether shown already or still loading
let due = null; // what was received of an image that is not shown yet: other values, also of it, may come meanwhile
let sent = null; // the value last sent to the server, restored whenever the server's value replaces it
let stroke = null, turn = 0, penSeen = 0;
const pointers = new Map();
let gesture = null; // "paint", "pan", "pinch" or "rest" (after a lift, while other pointers are still down)

const views = props.views || ["prediction", "uncertainty"];
for (const what of ["prediction", "uncertainty"]) {
  for (const each of root.querySelectorAll(`[data-do="${what}"], [data-key="${what}"]`)) each.hidden = !views.includes(what);
}
root.setAttribute("aria-label", props.label || "Label painter");
view.setAttribute("aria-label", `${props.label || "Picture to label"}: arrow keys move the brush, Enter paints`);
part("empty").textContent = props.empty || "";
root.style.setProperty("--lp-max", `${props.max_width || 560}px`);
ui.opacity = Math.min(1, Math.max(0, ui.opacity));

// ---- what the server sends ------------------------------------------------------------------------------------------

async function receive() {
  const value = props.value;
  if (!value || !value.key) { if (!value) blank(); return; }
  const form = value.image ? value : store.form;
  if (!form || form.key !== value.key) return;
  if (value.opens === false && goal !== null && goal !== form.key) { restoreValue(); return; } // the user has moved on
  goal = form.key;
  const same = now && now.key === form.key && now.width === form.width && now.height === form.height;
  store.form = form;
  if (same) restoreValue();
  const before = due?.key === form.key && performance.now() - due.at < DUE ? due : null;
  const along = { since: form.since ?? before?.since, back: form.back ?? before?.back };
  if (!same) due = { key: form.key, at: performance.now(), ...along };
  const mine = ++turn;
  const read = (url) => (url ? decodePng(url, form.width, form.height) : null);
  try {
    const picture = same && now.url === form.image.url ? null : await loadPicture(form.image.url);
    const [labels, prediction, heat, since, back] = await Promise.all(
      [value.labels, form.prediction, form.uncertainty, along.since?.labels, along.back].map(read));
    while (!same && stroke && mine === turn) await lifted(); // another image would take the stroke from under the pointer
    if (mine !== turn) return; // a newer value has arrived
    setCategories(form.categories);
    if (!same) {
      open({ ...form, since: along.since }, labels, since, back);
      due = null;
    }
    Object.assign(now, { prediction, heat, url: form.image.url });
    if (picture) drawPicture(picture);
    drawUnder();
    if (!same) { drawStrokes(); fit(); }
    refresh();
  } catch (error) {
    console.error("LabelPainter:", error);
    if (mine !== turn) return;
    goal = now?.key ?? null; // values for the image that is still shown count again
    warn("The image could not be shown: choose it again.");
  }
}

function blank() {
  turn++;
  now = sent = stroke = goal = due = null;
  setCategories(props.first_categories || []);
  root.dataset.empty = "true";
  refresh();
}

function loadPicture(url) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => reject(new Error("picture not loaded"));
    picture.src = url;
  });
}

function open(form, labels, since, back) {
  if (stroke) endStroke(false);
  const late = since && now?.key === form.since.key && now.labels.length === since.length ? now.labels : null;
  const { key, width, height } = form, size = `${width}x${height}`;
  let record = store.records.get(key);
  if (!record || record.size !== size) record = { size, labels: (back ?? labels).slice(), undo: [], redo: [], stamp: 0 };
  const patch = makePatch(record.labels, labels, width, height);
  if (patch) { // the server's labels take precedence, and undo restores the local ones
    pushStep(record, patch);
    record.labels.set(labels);
    record.stamp = 0;
  }
  store.records.delete(key);
  store.records.set(key, record);
  if (store.records.size > IMAGES) store.records.delete(store.records.keys().next().value);
  now = { key, width, height, record, labels: record.labels, prediction: null, heat: null, url: null };
  for (const { canvas } of Object.values(sheets)) { canvas.width = width; canvas.height = height; }
  if (!ui.sizes.brush) ui.sizes.brush = Math.max(2, Math.round(Math.min(width, height) / 32));
  if (!ui.sizes.eraser) ui.sizes.eraser = Math.round(ui.sizes.brush * 1.6);
  part("size").max = String(Math.min(96, Math.max(16, Math.round(Math.min(width, height) / 4))));
  view.style.aspectRatio = `${width} / ${height}`;
  root.dataset.empty = "false";
  sent = { key, labels: encodePng(now.labels, width, height), stamp: record.stamp };
  restoreValue();
  if (late) changeLabels(() => late.forEach((k, i) => { if (k !== since[i]) now.labels[i] = k; })); // one undo step
}

// Puts back the value that the server's has replaced, so that the next event carries what the user painted.
function restoreValue() { if (sent && props.value !== sent) props.value = sent; }

// ---- categories -----------------------------------------------------------------------------------------------------

function setCategories(list) {
  if (JSON.stringify(list) === JSON.stringify(categories)) return;
  const fresh = categories.length && list.length === categories.length + 1
    && categories.every((c, k) => c.name === list[k].name && c.color === list[k].color); // one was added: select it
  const chosen = fresh ? list.at(-1).name : categories[ui.category]?.name, held = [...ui.locked].map((k) => categories[k]?.name);
  categories = list.map((c) => ({ name: String(c.name), color: c.color }));
  colors = categories.map((c) => parseColor(c.color));
  rims = colors.map((color) => {
    const to = 0.3 * color[0] + 0.6 * color[1] + 0.1 * color[2] > 120 ? 0 : 255; // darker for light colours
    return color.map((v) => Math.round(0.62 * v + 0.38 * to));
  });
  ui.locked = new Set(held.map((name) => categories.findIndex((c) => c.name === name)).filter((k) => k >= 0));
  const same = categories.findIndex((c) => c.name === chosen);
  ui.category = same >= 0 ? same : Math.min(ui.category, categories.length - 1);
  part("cats").replaceChildren(...categories.map(categoryRow));
  if (fresh) choose(categories.length - 1);
  if (now) { drawUnder(); drawStrokes(); }
}

function categoryRow(category, k) {
  const row = document.createElement("div"), pick = document.createElement("button"), lock = document.createElement("button");
  const name = document.createElement("span"), key = document.createElement("kbd");
  row.className = "lp-cat";
  row.style.setProperty("--lp-c", `rgb(${colors[k].join(" ")})`);
  pick.type = lock.type = "button";
  pick.className = "lp-pick";
  lock.tabIndex = -1; // the key L does the same
  lock.className = "lp-lock";
  name.textContent = pick.title = category.name;
  pick.append(document.createElement("i"), name);
  pick.setAttribute("aria-label", category.name);
  if (k < 10) {
    key.textContent = String((k + 1) % 10);
    pick.append(key);
    pick.setAttribute("aria-keyshortcuts", key.textContent);
  }
  lock.setAttribute("aria-label", `Lock ${category.name}`);
  lock.title = "Lock: nothing paints over this category";
  lock.append(lockIcon("lp-open", "M8 11V7.5a4 4 0 0 1 7.600-1.700"), lockIcon("lp-shut", "M8 11V7.500a4 4 0 0 1 8 0V11"));
  pick.addEventListener("click", () => choose(k));
  lock.addEventListener("click", () => toggleLock(k));
  row.append(pick, lock);
  return row;
}

function lockIcon(name, shackle) {
  const make = (tag, values) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
    return node;
  };
  const icon = make("svg", { viewBox: "0 0 24 24", class: name, "aria-hidden": "true" });
  icon.append(make("rect", { x: 5.5, y: 11, width: 13, height: 9, rx: 2 }), make("path", { d: shackle }));
  return icon;
}

function choose(k) {
  if (k >= categories.length) return;
  ui.category = k;
  if (ui.tool === "eraser") ui.tool = "brush";
  refresh();
  reveal(part("cats"), part("cats").children[k]);
  say(`${categories[k].name}, ${ui.tool}`);
}

function reveal(box, row) { // as scrollIntoView, but without scrolling the page
  const a = box.getBoundingClientRect(), b = row.getBoundingClientRect();
  box.scrollLeft += Math.min(0, b.left - a.left - 4) + Math.max(0, b.right - a.right + 4);
  box.scrollTop += Math.min(0, b.top - a.top - 4) + Math.max(0, b.bottom - a.bottom + 4);
}

function toggleLock(k) {
  if (!ui.locked.delete(k)) ui.locked.add(k);
  refresh();
  say(`${categories[k].name} ${ui.locked.has(k) ? "locked" : "unlocked"}`);
}

// ---- drawing on the layers ------------------------------------------------------------------------------------------

function drawPicture(picture) { sheets.image.pen.drawImage(picture, 0, 0, now.width, now.height); }

function drawUnder() {
  tint(sheets.prediction.pen, now.prediction, (k) => (colors[k] ? [...colors[k], 255] : [0, 0, 0, 0]));
  tint(sheets.heat.pen, now.heat, (v) => [...heatColor(v / 255), Math.round(90 + 165 * Math.sqrt(v / 255))]);
}

function tint(pen, map, color) { // colours each pixel by its value; clears the layer if there is no map
  const sheet = pen.createImageData(now.width, now.height);
  if (map) {
    const table = new Uint8ClampedArray(1024), pixels = new Uint32Array(sheet.data.buffer);
    for (let v = 0; v < 256; v++) table.set(color(v), 4 * v);
    const words = new Uint32Array(table.buffer);
    for (let i = 0; i < map.length; i++) pixels[i] = words[map[i]];
  }
  pen.putImageData(sheet, 0, 0);
}

// Strokes are translucent with a lighter or darker rim, to stand out from a prediction of the same colour.
function drawStrokes(x0 = 0, y0 = 0, x1 = now.width - 1, y1 = now.height - 1) {
  const { width, height, labels } = now;
  x0 = Math.max(0, x0 - 1); y0 = Math.max(0, y0 - 1); x1 = Math.min(width - 1, x1 + 1); y1 = Math.min(height - 1, y1 + 1);
  if (x1 < x0 || y1 < y0) return;
  const wide = x1 - x0 + 1, area = sheets.strokes.pen.createImageData(wide, y1 - y0 + 1), out = area.data;
  for (let y = y0; y <= y1; y++) {
    for (let x = x0, i = y * width + x0, o = 4 * (y - y0) * wide; x <= x1; x++, i++, o += 4) {
      const k = labels[i], color = colors[k];
      if (k === UNPAINTED || !color) continue;
      const rim = (x > 0 && labels[i - 1] !== k) || (x < width - 1 && labels[i + 1] !== k)
        || (y > 0 && labels[i - width] !== k) || (y < height - 1 && labels[i + width] !== k);
      const [r, g, b] = rim ? rims[k] : color;
      out[o] = r; out[o + 1] = g; out[o + 2] = b; out[o + 3] = rim ? 255 : 190;
    }
  }
  sheets.strokes.pen.putImageData(area, x0, y0);
}

// ---- changing labels ------------------------------------------------------------------------------------------------

function pushStep(record, patch) {
  record.undo.push(patch);
  if (record.undo.length > STEPS) record.undo.shift();
  record.redo.length = 0;
}

function setPixel(i, k) {
  if (!ui.locked.has(now.labels[i])) now.labels[i] = k;
}

function commit() {
  now.record.stamp = ++store.stamp;
  sent = { key: now.key, labels: encodePng(now.labels, now.width, now.height), stamp: store.stamp };
  props.value = sent;
  trigger("input");
  trigger("submit");
}

// Lets `change` write into the labels, and records the differences as one undo step.
function changeLabels(change) {
  const before = now.labels.slice();
  change();
  finish(before, true);
}

function finish(before, tell) {
  const patch = makePatch(before, now.labels, now.width, now.height);
  if (patch) {
    pushStep(now.record, patch);
    drawStrokes(patch.x0, patch.y0, patch.x1, patch.y1);
    if (tell) commit();
  }
  refresh();
}

function travel(from, to, side, word) {
  if (!now || stroke || !now.record[from].length) return;
  const patch = now.record[from].pop();
  now.record[to].push(patch);
  applyPatch(now.labels, now.width, patch, patch[side]);
  drawStrokes(patch.x0, patch.y0, patch.x1, patch.y1);
  commit();
  refresh();
  say(word);
}
const undo = () => travel("undo", "redo", "before", "Undone");
const redo = () => travel("redo", "undo", "after", "Redone");
function clear() {
  if (!now || stroke) return;
  changeLabels(() => { for (let i = 0; i < now.labels.length; i++) setPixel(i, UNPAINTED); });
  say("Cleared");
}

// Refills a painted area as a whole, but an unpainted one only as far as the colour of the image is constant. Where what
// is painted changes a prediction that is good already, it follows that instead, or nothing while that is hidden.
function fillAt([x, y]) {
  if (!inside(x, y)) return;
  const start = Math.floor(y) * now.width + Math.floor(x), { labels, prediction } = now, target = labels[start];
  const follows = prediction && props.fill !== "colour";
  const guide = target !== UNPAINTED ? null : follows ? ui.prediction && ((i) => prediction[i] === prediction[start]) : likeColor(start);
  const same = guide ? (i) => labels[i] === UNPAINTED && guide(i) : (i) => labels[i] === target;
  const area = connectedArea(start, now.width, now.height, same);
  changeLabels(() => { for (const i of area) setPixel(i, ui.category); });
}

function likeColor(start) {
  const { data } = sheets.image.pen.getImageData(0, 0, now.width, now.height), one = 4 * start;
  return (i) => [0, 1, 2].every((c) => Math.abs(data[4 * i + c] - data[one + c]) <= ONE_COLOR);
}

const inside = (x, y) => x >= 0 && y >= 0 && x < now.width && y < now.height;

function beginStroke(point, erase) {
  const k = erase ? UNPAINTED : ui.category, size = ui.sizes[erase ? "eraser" : "brush"];
  stroke = { before: now.labels.slice(), k, size, last: point, way: 0, time: performance.now() };
  stamp(point);
}

function stamp([x, y]) {
  const { width, height } = now, reach = stroke.size / 2 + 1;
  eachInDisc(x, y, stroke.size, width, height, (i) => setPixel(i, stroke.k));
  drawStrokes(Math.floor(x - reach), Math.floor(y - reach), Math.ceil(x + reach), Math.ceil(y + reach));
}

function extendStroke([x, y]) {
  const [x0, y0] = stroke.last, steps = Math.ceil(Math.hypot(x - x0, y - y0) / Math.max(0.5, stroke.size / 6));
  for (let k = 1; k <= steps; k++) stamp([x0 + (x - x0) * k / steps, y0 + (y - y0) * k / steps]);
  stroke.last = [x, y];
  stroke.way += Math.hypot(x - x0, y - y0);
}

function endStroke(tell = true) {
  const { before } = stroke;
  stroke = null;
  finish(before, tell);
  release();
}

function dropStroke() {
  now.labels.set(stroke.before);
  stroke = null;
  drawStrokes();
  release();
}

const waiting = [];
const lifted = () => new Promise((resolve) => waiting.push(resolve));
function release() { // later, so that the server gets the stroke before the value changes again
  for (const resolve of waiting.splice(0)) setTimeout(resolve, 60);
}

// ---- the state of the controls --------------------------------------------------------------------------------------

let spoken = 0;
function say(text) { clearTimeout(spoken); spoken = setTimeout(() => { part("live").textContent = text; }, 60); }

function warn(text) {
  const note = document.createElement("span");
  note.textContent = text;
  part("status").prepend(note);
  say(text);
}

function refresh() {
  for (const button of root.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === ui.tool));
  for (const [what, sheet] of [["prediction", "prediction"], ["uncertainty", "heat"]]) {
    const button = root.querySelector(`[data-do="${what}"]`);
    button.setAttribute("aria-pressed", String(ui[what]));
    button.disabled = !now?.[sheet];
  }
  root.dataset.under = String(Boolean(ui.prediction && now?.prediction));
  root.dataset.heat = String(Boolean(ui.uncertainty && now?.heat));
  [...part("cats").children].forEach((row, k) => {
    row.dataset.on = String(k === ui.category);
    row.children[0].setAttribute("aria-pressed", String(k === ui.category));
    row.children[0].tabIndex = k === ui.category ? 0 : -1;
    row.children[1].setAttribute("aria-pressed", String(ui.locked.has(k)));
  });
  const size = ui.sizes[sized()] || 8;
  part("size").value = String(size);
  part("size-text").textContent = `${size} px`;
  part("size-name").textContent = sized() === "eraser" ? "Eraser" : "Brush";
  part("size").setAttribute("aria-label", `${part("size-name").textContent} size in image pixels`);
  part("opacity").value = String(Math.round(100 * ui.opacity));
  part("opacity-text").textContent = `${Math.round(100 * ui.opacity)} %`;
  for (const slider of [part("size"), part("opacity")]) {
    slider.style.setProperty("--lp-at", `${100 * (slider.value - slider.min) / (slider.max - slider.min)}%`);
  }
  root.querySelector('[data-do="undo"]').disabled = !now?.record.undo.length;
  root.querySelector('[data-do="redo"]').disabled = !now?.record.redo.length;
  const counts = new Array(256).fill(0);
  if (now) for (const k of now.labels) counts[k]++;
  root.querySelector('[data-do="clear"]').disabled = !now || counts[UNPAINTED] === now.labels.length;
  sheets.strokes.canvas.style.opacity = String(ui.opacity);
  sheets.prediction.canvas.style.opacity = String(ui.prediction ? ui.opacity * (ui.uncertainty && now?.heat ? 0.25 : 0.8) : 0);
  sheets.heat.canvas.style.opacity = String(ui.uncertainty ? Math.min(1, 0.25 + 0.75 * ui.opacity) : 0);
  showCounts(counts);
  moveCursor();
}

// Whether nothing is painted on any other image, nor predicted.
function alone() {
  const bare = (record) => record === now.record || record.labels.every((k) => k === UNPAINTED);
  return !now.prediction && [...store.records.values()].every(bare);
}

function showCounts(counts) {
  const items = categories.flatMap((category, k) => {
    if (!counts[k]) return [];
    const item = document.createElement("span"), chip = document.createElement("i"), count = document.createElement("b");
    chip.style.background = `rgb(${colors[k].join(" ")})`;
    count.textContent = counts[k].toLocaleString("en");
    item.append(chip, `${category.name} `, count);
    return [item];
  });
  if (now) {
    const note = document.createElement("span"), share = 100 * (1 - counts[UNPAINTED] / now.labels.length);
    const painted = `${share < 10 ? share.toFixed(1) : Math.round(share)} % painted`;
    note.textContent = !items.length ? props.nothing : items.length === 1 && props.one && alone() ? props.one : painted;
    items.push(note);
  }
  part("status").replaceChildren(...items);
}
