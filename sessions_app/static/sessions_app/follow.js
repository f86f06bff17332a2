// A transcript that goes on: who reads its end stays there; who reads further up stays too, and is told of new lines.

const SLACK = 24; // pixels above the end that still count as the end

const box = document.getElementById("follow");
const lines = document.getElementById("said");
const jump = document.getElementById("jump");
const label = jump.querySelector("span");
const count = () => lines.querySelectorAll(":scope > li").length;

let follows = true;
let seen = count();

function show() {
  const missed = Math.max(0, count() - seen);
  const words = missed ? ` (${missed} new ${missed === 1 ? "line" : "lines"})` : "";
  if (label.textContent !== words) label.textContent = words;
  if (follows && jump === document.activeElement) box.focus({ preventScroll: true });
  jump.hidden = follows;
}

function keepUp() {
  if (follows) {
    box.scrollTop = box.scrollHeight;
    seen = count();
  }
  show();
}

box.addEventListener("scroll", () => {
  follows = box.scrollHeight - box.scrollTop - box.clientHeight <= SLACK;
  if (follows) seen = count();
  show();
});
jump.addEventListener("click", () => {
  follows = true;
  keepUp();
});
new MutationObserver(keepUp).observe(box, { childList: true, characterData: true, subtree: true });
const sizes = new ResizeObserver(keepUp);
for (const element of [box, lines]) sizes.observe(element);
keepUp();
