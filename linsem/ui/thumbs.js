// A strip of thumbnails. Titles and badges are set as text, never as markup.
const list = element.querySelector(".th");
list.setAttribute("aria-label", props.label || "Images");
list.style.setProperty("--th-size", `${props.thumb_size || 96}px`);

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
    mark(button, index === value.current);
  });
}

function make() {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("role", "option");
  button.append(document.createElement("img"), document.createElement("span"), document.createElement("em"));
  return button;
}

function mark(button, on) {
  button.setAttribute("aria-selected", String(on));
  button.tabIndex = 0;
}

list.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const index = [...list.children].indexOf(button);
  [...list.children].forEach((each, i) => mark(each, i === index));
  trigger("select", { index, value: index });
});
list.addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const next = move && document.activeElement?.closest(".th button")?.[move > 0 ? "nextElementSibling" : "previousElementSibling"];
  if (!next) return;
  next.focus();
  event.preventDefault();
});

watch("value", draw);
draw();
