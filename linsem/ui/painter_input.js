// The painter's input: zoom and pan, pointers, buttons and keys; and the start, which comes last.

// ---- zoom and pan ---------------------------------------------------------------------------------------------------

const scale = () => view.clientWidth * ui.zoom / now.width; // CSS pixels per image pixel
const maxZoom = () => Math.max(4, 40 * now.width / Math.max(1, view.clientWidth));

function place() {
  if (!now) return;
  const wide = view.clientWidth, tall = view.clientHeight;
  if (!wide) return; // hidden
  if (ui.wide && ui.wide !== wide) { ui.left *= wide / ui.wide; ui.top *= wide / ui.wide; }
  ui.wide = wide;
  ui.left = Math.min(0, Math.max(wide - wide * ui.zoom, ui.left));
  ui.top = Math.min(0, Math.max(tall - tall * ui.zoom, ui.top));
  stage.style.width = `${wide * ui.zoom}px`;
  stage.style.height = `${tall * ui.zoom}px`;
  stage.style.left = `${ui.left}px`;
  stage.style.top = `${ui.top}px`;
  root.style.setProperty("--lp-tall", `${Math.max(240, tall)}px`);
  part("zoom-text").textContent = `${Math.round(100 * ui.zoom)} %`;
  root.querySelector('[data-do="zoom-out"]').disabled = part("zoom-text").disabled = ui.zoom <= 1;
  root.querySelector('[data-do="zoom-in"]').disabled = ui.zoom >= maxZoom();
  moveCursor();
}

function zoomAt(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  if (!now) return;
  const zoom = Math.min(maxZoom(), Math.max(1, ui.zoom * factor)), ratio = zoom / ui.zoom;
  ui.left = x - (x - ui.left) * ratio;
  ui.top = y - (y - ui.top) * ratio;
  ui.zoom = zoom;
  place();
}

function fit() { ui.zoom = 1; ui.left = ui.top = 0; place(); }

function toImage(event) {
  const box = stage.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * now.width, (event.clientY - box.top) / box.height * now.height];
}

function moveCursor() {
  const show = now && ui.spot && ui.tool !== "fill" && !ui.space && gesture !== "pan" && gesture !== "pinch";
  cursor.style.display = show ? "block" : "none";
  view.dataset.grab = gesture === "pan" ? "held" : String(ui.space);
  if (!show) return;
  const size = ui.sizes[ui.tool], s = scale(), snap = size % 2 ? (v) => Math.floor(v) + 0.5 : Math.round;
  const [x, y] = ui.spot.map(snap);
  cursor.style.width = cursor.style.height = `${size * s}px`;
  cursor.style.transform = `translate(${ui.left + (x - size / 2) * s}px, ${ui.top + (y - size / 2) * s}px)`;
}

// ---- pointers -------------------------------------------------------------------------------------------------------

view.addEventListener("pointerdown", (event) => {
  if (!now || event.button === 2) return;
  if (event.pointerType === "pen") penSeen = performance.now();
  if (event.pointerType === "touch" && performance.now() - penSeen < 1500) return; // the palm of the hand with the pen
  event.preventDefault();
  view.focus({ preventScroll: true });
  try { view.setPointerCapture(event.pointerId); } catch { /* a synthetic pointer */ }
  pointers.set(event.pointerId, event);
  if (event.pointerType === "touch" && pointers.size === 2) startPinch();
  else if (pointers.size > 1) return;
  else if (event.button === 1 || ui.space) gesture = "pan";
  else startPaint(event);
  moveCursor();
});

function startPaint(event) {
  gesture = "paint";
  ui.spot = event.pointerType === "touch" ? null : toImage(event);
  const erase = ui.tool === "eraser" || event.button === 5;
  if (ui.tool === "fill" && !erase) { if (event.pointerType !== "touch") fillAt(toImage(event)); } // touch: on lift
  else beginStroke(toImage(event), erase);
}

function startPinch() {
  if (stroke) { // the first finger of a pinch draws no stroke, unless it has drawn for a while
    if (performance.now() - stroke.time < 300 || stroke.way * scale() < 12) dropStroke();
    else endStroke();
  }
  gesture = "pinch";
}

view.addEventListener("pointermove", (event) => {
  if (!now) return;
  if (event.pointerType === "pen") penSeen = performance.now();
  if (event.pointerType !== "touch") ui.spot = toImage(event);
  const last = pointers.get(event.pointerId);
  if (last) {
    if (gesture === "paint" && stroke) {
      const steps = event.getCoalescedEvents?.() ?? [];
      for (const step of steps.length ? steps : [event]) extendStroke(toImage(step));
    } else if (gesture === "pan") {
      ui.left += event.clientX - last.clientX;
      ui.top += event.clientY - last.clientY;
      place();
    } else if (gesture === "pinch") pinch(event, last);
    pointers.set(event.pointerId, event);
  }
  moveCursor();
});

function pinch(event, last) {
  const other = [...pointers.values()].find((p) => p.pointerId !== event.pointerId);
  if (!other) return;
  const box = view.getBoundingClientRect(), middle = (p) => [(p.clientX + other.clientX) / 2, (p.clientY + other.clientY) / 2];
  const spread = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
  const [x0, y0] = middle(last), [x1, y1] = middle(event);
  ui.left += x1 - x0;
  ui.top += y1 - y0;
  zoomAt(spread(event) / Math.max(1, spread(last)), x1 - box.left, y1 - box.top);
}

function lift(event) {
  if (!pointers.delete(event.pointerId)) return;
  if (gesture === "paint") {
    if (stroke) endStroke();
    else if (event.pointerType === "touch" && ui.tool === "fill" && event.type === "pointerup") fillAt(toImage(event));
  }
  gesture = pointers.size ? "rest" : null;
  moveCursor();
}
view.addEventListener("pointerup", lift);
view.addEventListener("pointercancel", lift);
view.addEventListener("pointerenter", () => { window.linsemPainters.last = root; });
view.addEventListener("pointerleave", () => { if (!stroke) { ui.spot = null; moveCursor(); } });
view.addEventListener("blur", () => { if (!view.matches(":hover")) { ui.spot = null; moveCursor(); } });
view.addEventListener("contextmenu", (event) => event.preventDefault());
view.addEventListener("wheel", (event) => {
  if (!now || stroke || (ui.zoom <= 1 && !event.ctrlKey && !event.metaKey)) return; // let the page scroll, up as down
  event.preventDefault();
  const box = view.getBoundingClientRect(), delta = event.deltaY * (event.deltaMode ? 30 : 1);
  const pinch = event.ctrlKey && !event.deltaMode && Math.abs(delta) < 50; // of a trackpad, whose deltas are small
  const turn = Math.max(-600, Math.min(600, delta)) / (pinch ? 90 : 320);
  zoomAt(Math.exp(-turn), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });

// ---- buttons, sliders, keys -----------------------------------------------------------------------------------------

const actions = {
  undo, redo, clear, fit, "zoom-in": () => zoomAt(1.5), "zoom-out": () => zoomAt(1 / 1.5),
  prediction: () => toggleUnder("prediction"), uncertainty: () => toggleUnder("uncertainty"),
};
for (const button of root.querySelectorAll("[data-do]")) button.addEventListener("click", () => actions[button.dataset.do]());
for (const button of root.querySelectorAll("[data-tool]")) button.addEventListener("click", () => setTool(button.dataset.tool));
part("size").addEventListener("input", (event) => { ui.sizes[sized()] = Number(event.target.value); refresh(); });
part("opacity").addEventListener("input", (event) => { ui.opacity = Number(event.target.value) / 100; refresh(); });

const sized = () => (ui.tool === "eraser" ? "eraser" : "brush");
function setTool(tool) { ui.tool = tool; refresh(); say(tool); }
function toggleUnder(what) { if (!views.includes(what)) return; ui[what] = !ui[what]; refresh(); say(`${what} ${ui[what] ? "shown" : "hidden"}`); }
function resize(sign) {
  const size = ui.sizes[sized()], next = size + sign * Math.max(1, Math.round(size * 0.15));
  ui.sizes[sized()] = Math.min(Number(part("size").max), Math.max(1, next));
  refresh();
  say(`Size ${ui.sizes[sized()]}`);
}

const keys = {
  b: () => setTool("brush"), e: () => setTool("eraser"), f: () => setTool("fill"), p: actions.prediction, u: actions.uncertainty,
  l: () => { if (categories.length) toggleLock(ui.category); }, "[": () => resize(-1), "]": () => resize(1),
  "+": actions["zoom-in"], "=": actions["zoom-in"], "-": actions["zoom-out"],
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const EDITABLE = 'textarea, select, [contenteditable=""], [contenteditable="true"], [role="textbox"], [role="combobox"], '
  + 'input:not([type="range"], [type="checkbox"], [type="radio"], [type="button"])';

// Keys are handled if the focus is in this painter, or if it is in no field or painter and this was the last one used.
function listens() {
  const focus = document.activeElement;
  if (!root.offsetParent || !now) return false;
  if (root.contains(focus)) return true;
  if (focus && (focus.closest(EDITABLE) || focus.closest(".lp"))) return false;
  const shown = [...document.querySelectorAll(".lp")].filter((painter) => painter.offsetParent);
  const last = window.linsemPainters.last;
  return root === (shown.includes(last) ? last : shown[0]);
}

function onKeyDown(event) {
  if (event.defaultPrevented || !listens()) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const typed = event.altKey && (key === "[" || key === "]"); // on many keyboards with AltGr, which counts as Ctrl and Alt
  if (event.altKey && !typed) return;
  if ((event.ctrlKey || event.metaKey) && !typed) {
    if (key === "z") event.shiftKey ? redo() : undo();
    else if (key === "y") redo();
    else return;
  } else if (key === " " && (view.matches(":hover") || document.activeElement === view)) { ui.space = true; moveCursor(); }
  else if (document.activeElement === view && ARROWS[key]) walk(ARROWS[key], event.shiftKey);
  else if (document.activeElement === view && key === "Enter") stampHere();
  else if (/^[0-9]$/.test(key)) choose((Number(key) + 9) % 10);
  else if (keys[key]) keys[key]();
  else return;
  event.preventDefault();
}

function onKeyUp(event) {
  if (event.key !== " " || !ui.space) return;
  ui.space = false;
  event.preventDefault(); // releasing Space after panning must not press the focused button
  moveCursor();
}

function onBlur() { ui.space = false; moveCursor(); }

function walk([dx, dy], fine) {
  const step = fine ? 1 : Math.max(1, Math.round(ui.sizes[sized()] / 2)), [x, y] = ui.spot ?? [now.width / 2, now.height / 2];
  ui.spot = [Math.min(now.width - 0.5, Math.max(0.5, x + dx * step)), Math.min(now.height - 0.5, Math.max(0.5, y + dy * step))];
  moveCursor();
}

function stampHere() {
  ui.spot ??= [now.width / 2, now.height / 2];
  if (stroke) return;
  if (ui.tool === "fill") fillAt(ui.spot);
  else { beginStroke(ui.spot, ui.tool === "eraser"); endStroke(); }
}

// The categories are a single Tab stop, in which the arrow keys choose.
part("cats").addEventListener("keydown", (event) => {
  const move = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity }[event.key];
  if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  choose(Math.min(categories.length - 1, Math.max(0, ui.category + move)));
  part("cats").children[ui.category].children[0].focus({ preventScroll: true });
});

const listeners = [["keydown", onKeyDown], ["keyup", onKeyUp], ["blur", onBlur]];
for (const [name, call] of listeners) {
  const guarded = (event) => {
    if (root.isConnected) call(event);
    else window.removeEventListener(name, guarded);
  };
  window.addEventListener(name, guarded);
}
new ResizeObserver(place).observe(view);

// ---- start ----------------------------------------------------------------------------------------------------------

setCategories(props.first_categories || []);
refresh();
watch("value", receive);
receive();
