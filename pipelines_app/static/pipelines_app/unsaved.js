// Asks before an editor is left whose fields say something else than when it was opened, or were refused.
"use strict";

window.addEventListener("load", () => {
  const form = document.querySelector("#agent_form, #pipeline_form, .agent-document, form.config");
  if (!form) return;
  const written = () => JSON.stringify([...new FormData(form)]);
  const wasRefused = form.querySelector(".errors, [role=alert]") !== null;
  const opened = written();
  let isSent = false;

  form.addEventListener("submit", () => {
    isSent = true;
  });
  window.addEventListener("pageshow", () => {
    isSent = false;
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isSent && (wasRefused || written() !== opened)) event.preventDefault();
  });
});
