// A strip of thumbnails. Titles and badges are set as text, never as markup.
const list = element.querySelector(".th");
list.setAttribute("aria-label", props.label || "Images");
list.style.setProperty("--th-size", `${props.thumb_size || 96}px`);
list.classList.toggle("th-still", !!props.still);
if (props.still) list.setAttribute("role", "group");

function draw() {
  const value = props.value, items = value?.items || [];
  list.classList.toggle("th-none", items.length === 0);
  if (items.length === 0) {
    list.textContent = props.empty_text || "";
    return;
  }
  if (list.firstChild && !list.firstElementChild) list.textContent = "";
  while (list.children.length > items.length) list.lastElementChild.remove();
  items.forEach((item, index) => {
    const button = list.children[index] || list.appendChild(make());
    const [image, title, badge] = button.children;
    if (image.getAttribute("src") !== item.image) image.src = item.image;
    image.alt = item.title;
    image.classList.toggle("crisp", item.crisp);
    title.textContent = item.title;
    badge.textContent = item.badge;
    badge.hidden = !item.badge;
    if (props.still) button.setAttribute("aria-label", item.title);
    else mark(button, index === value.current);
  });
  stop();
}

function make() {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("role", props.still ? "img" : "option");
  button.append(document.createElement("img"), document.createElement("span"), document.createElement("em"));
  return button;
}

function mark(button, on) {
  button.setAttribute("aria-selected", String(on));
}

/** Makes the strip a single Tab stop: the focused thumbnail, else the current one, else the first. */
function stop(at) {
  const all = [...list.children], current = all.findIndex((button) => button.getAttribute("aria-selected") === "true");
  const focused = all.indexOf(document.activeElement);
  const here = at ?? (focused >= 0 ? focused : Math.max(current, 0));
  all.forEach((button, index) => (button.tabIndex = index === here && !props.still ? 0 : -1));
}

/** The number of thumbnails per row in the current layout. */
function columns() {
  const all = [...list.children], next = all.findIndex((button) => button.offsetTop > all[0].offsetTop);
  return next > 0 ? next : all.length;
}

list.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || props.still) return;
  const index = [...list.children].indexOf(button);
  [...list.children].forEach((each, i) => mark(each, i === index));
  stop(index);
  trigger("select", { index, value: props.value?.items?.[index]?.key || index });
});
list.addEventListener("keydown", (event) => {
  const all = [...list.children], from = all.indexOf(document.activeElement), last = all.length - 1;
  const to = {
    ArrowRight: from + 1, ArrowLeft: from - 1, ArrowDown: from + columns(), ArrowUp: from - columns(), Home: 0, End: last,
  }[event.key];
  if (from < 0 || to === undefined) return;
  event.preventDefault();
  if (to < 0 || to > last) return;
  stop(to);
  all[to].focus();
});
list.addEventListener("focusout", (event) => {
  if (!list.contains(event.relatedTarget)) stop(); // Tab returns to the current one
});

watch("value", draw);
draw();
