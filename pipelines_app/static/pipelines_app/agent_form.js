// The order of an agent's providers, and what its pipeline makes needed. The server reads the order of the fields.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const news = document.querySelector("[data-news]");

  function say(text) {
    if (news) news.textContent = text;
  }

  function shownName(card) {
    return card.dataset.badge ? `${card.dataset.label} (${card.dataset.badge})` : card.dataset.label;
  }

  function showOrder(section) {
    const cards = [...section.querySelectorAll("[data-chosen] > [data-provider]")];
    cards.forEach((card, number) => {
      card.querySelector("[data-place]").textContent = `${number + 1}. ${number === 0 ? "asked first" : "fallback"}`;
      card.querySelector('[data-move="up"]').disabled = number === 0;
      card.querySelector('[data-move="down"]').disabled = number === cards.length - 1;
    });
    const others = [...section.querySelectorAll("[data-others] > [data-provider]")];
    const select = section.querySelector("[data-candidates]");
    select.replaceChildren(...others.map((card) => new Option(shownName(card), card.dataset.provider)));
    select.parentElement.hidden = others.length === 0;
  }

  function place(section, card, list, before) {
    const isChosen = list.hasAttribute("data-chosen");
    list.insertBefore(card, before);
    card.querySelector("fieldset").disabled = !isChosen;
    showOrder(section);
    card.querySelector("input[type=hidden]").dispatchEvent(new Event("input", { bubbles: true }));
  }

  function move(section, card, way) {
    const chosen = section.querySelector("[data-chosen]");
    if (way === "up") place(section, card, chosen, card.previousElementSibling);
    if (way === "down") place(section, card, chosen, card.nextElementSibling.nextElementSibling);
    if (way === "out") place(section, card, section.querySelector("[data-others]"), null);
    const number = [...chosen.children].indexOf(card);
    say(number < 0 ? `${card.dataset.label} is removed.` : `${card.dataset.label} is number ${number + 1} now.`);
    const again = card.querySelector(`[data-move="${way}"]`);
    const focus = way === "out" ? section.querySelector("[data-candidates]") : again;
    (focus.disabled ? card.querySelector("[data-move]:not(:disabled)") : focus).focus();
  }

  function add(section) {
    const slug = section.querySelector("[data-candidates]").value;
    const card = section.querySelector(`[data-others] > [data-provider="${CSS.escape(slug)}"]`);
    if (!card) return;
    place(section, card, section.querySelector("[data-chosen]"), null);
    const details = card.querySelector("details");
    if (details) details.open = true;
    say(`${card.dataset.label} is added at the end.`);
    card.querySelector("[data-move]:not(:disabled)").focus();
  }

  function showPipeline(choice) {
    let roles = [];
    document.querySelectorAll("[data-pipeline]").forEach((picture) => {
      picture.hidden = picture.dataset.pipeline !== choice;
      if (!picture.hidden) roles = picture.dataset.roles.split(" ");
    });
    document.querySelectorAll("[data-role]").forEach((section) => {
      section.hidden = !roles.includes(section.dataset.role);
      section.querySelector("fieldset").disabled = section.hidden;
    });
  }

  document.querySelectorAll("[data-role]").forEach((section) => {
    showOrder(section);
    section.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.move) move(section, button.closest("[data-provider]"), button.dataset.move);
      if (button.hasAttribute("data-add")) add(section);
    });
  });

  const pipeline = document.getElementById("id_pipeline");
  if (pipeline) {
    pipeline.addEventListener("change", () => showPipeline(pipeline.value));
    showPipeline(pipeline.value);
  }
});
