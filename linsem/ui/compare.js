// Compares two images: the second one is clipped at the divider.
const box = element.querySelector(".cp"), range = box.querySelector("input");
const [before, after] = box.querySelectorAll("img");

function move() {
  box.style.setProperty("--cp", `${range.value / 10}%`);
}

function draw() {
  const value = props.value;
  box.hidden = !value?.before;
  if (!value?.before) return;
  before.src = value.before;
  after.src = value.after;
  move();
}

range.addEventListener("input", move);
watch("value", draw);
draw();
