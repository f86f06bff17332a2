// Small comforts of every page: times in the reader's own zone, and buttons that copy.

const looks = {
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
showTimes(document);
for (const name of ["htmx:wsAfterMessage", "htmx:afterSettle"]) {
  document.body.addEventListener(name, () => showTimes(document));
}
