// A setting that only one provider has is asked for, and sent, when that provider is chosen.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const provider = document.getElementById("id_provider");
  const settings = document.querySelectorAll("[data-of]");

  function show() {
    for (const setting of settings) {
      setting.disabled = setting.dataset.of !== provider.value;
      setting.closest(".field-line").hidden = setting.disabled;
    }
  }

  if (provider && settings.length) {
    provider.addEventListener("change", show);
    show();
  }
});
