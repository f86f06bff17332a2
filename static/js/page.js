// Small comforts of every page: times in the reader's own zone, buttons that copy, and a word when live news stop.

const looks = {
  clock: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  time: { timeStyle: "medium" },
  moment: { dateStyle: "medium", timeStyle: "medium" },
};

function showTimes(root) {
  for (const element of root.querySelectorAll("time[data-show]")) {
    element.title = element.dateTime;
    element.textContent = new Intl.DateTimeFormat(undefined, looks[element.dataset.show]).format(new Date(element.dateTime));
    delete element.dataset.show;
  }
}

async function copy(button) {
  const field = document.getElementById(button.dataset.copy);
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C";
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});
const named = document.querySelector("[data-titles]"); // the document's title has its words
const before = named?.textContent;
showTimes(document);
if (named) document.title = document.title.replace(before, named.textContent);
for (const name of ["htmx:wsAfterMessage", "htmx:afterSettle"]) {
  document.body.addEventListener(name, () => showTimes(document));
}

// What a page asks for again and again comes without taking the reader's place, and says when nothing comes.

const asksAgain = (element) => element?.getAttribute("hx-trigger")?.startsWith("every");
let hadFocus = false;

document.body.addEventListener("htmx:beforeSwap", ({ target }) => {
  hadFocus = asksAgain(target) && target.contains(document.activeElement);
});
document.body.addEventListener("htmx:afterSettle", ({ target }) => {
  // htmx finds the same element by its id; here it is gone
  if (hadFocus && document.activeElement === document.body) document.getElementById(target.id)?.focus({ preventScroll: true });
  hadFocus = false;
});
for (const name of ["htmx:sendError", "htmx:responseError"]) {
  document.body.addEventListener(name, ({ target }) => document.body.classList.toggle("cut-off", Boolean(asksAgain(target))));
}
document.body.addEventListener("htmx:afterOnLoad", ({ detail }) => {
  if (asksAgain(detail.elt) && detail.xhr.status < 400) document.body.classList.remove("cut-off");
});

const SIGNED_OUT = 4401;
const GOING_AWAY = 1001; // htmx itself comes back after every other end that is not meant for good

document.body.addEventListener("htmx:wsOpen", () => document.body.classList.remove("cut-off"));
document.body.addEventListener("htmx:wsClose", ({ detail }) => {
  if (detail.event.code === SIGNED_OUT) location.reload();
  if (detail.event.code !== 1000) document.body.classList.add("cut-off");
  if (detail.event.code === GOING_AWAY) setTimeout(() => detail.socketWrapper.reconnect(), 1000 + 2000 * Math.random());
});
