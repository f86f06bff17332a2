// Redoc in the colours of the other pages. It reckons shades with them, so they cannot be CSS variables.

const FONT = "system-ui, sans-serif";
const TYPOGRAPHY = { fontFamily: FONT, headings: { fontFamily: FONT, fontWeight: "600" } };
const CODE = { fontFamily: "ui-monospace, monospace" };

const LIGHT = {
  colors: { primary: { main: "#1f6f5c" }, text: { primary: "#1b1f22", secondary: "#5d666b" } },
  typography: { ...TYPOGRAPHY, code: CODE },
};

const DARK = {
  colors: {
    primary: { main: "#5cc3a6" },
    success: { main: "#66d18a" },
    warning: { main: "#f0b35e", dark: "#f0b35e" },
    error: { main: "#ff8a80" },
    gray: { 50: "#1e2225", 100: "#262b2e" },
    text: { primary: "#e6e8e6", secondary: "#9aa4a8" },
    border: { dark: "#343a3e", light: "#343a3e" },
    responses: {
      success: { backgroundColor: "#1d2e25", tabTextColor: "#66d18a" },
      error: { backgroundColor: "#372423", tabTextColor: "#ff8a80" },
      redirect: { backgroundColor: "#352d20", tabTextColor: "#f0b35e" },
      info: { color: "#7cc5e3", backgroundColor: "#1d2a31", tabTextColor: "#7cc5e3" },
    },
  },
  schema: { linesColor: "#4b5459", nestedBackground: "#1e2225" },
  typography: { ...TYPOGRAPHY, code: { ...CODE, color: "#f0b35e", backgroundColor: "#262b2e" } },
  sidebar: {
    backgroundColor: "#1e2225",
    textColor: "#e6e8e6",
    activeTextColor: "#5cc3a6",
    groupItems: { activeBackgroundColor: "#2a3034" },
    level1Items: { activeBackgroundColor: "#2a3034" },
  },
  fab: { backgroundColor: "#2a3034", color: "#5cc3a6" },
  rightPanel: {
    backgroundColor: "#101315",
    servers: { overlay: { backgroundColor: "#1e2225", textColor: "#e6e8e6" }, url: { backgroundColor: "#15181a" } },
  },
};

const dark = matchMedia("(prefers-color-scheme: dark)");
let place = document.getElementById("redoc");

// Redoc draws once; another look is another drawing.
function draw(description) {
  const next = place.cloneNode();
  place.replaceWith(next);
  place = next;
  Redoc.init(description, { theme: dark.matches ? DARK : LIGHT }, place);
}

const description = await (await fetch(place.dataset.description, { headers: { Accept: "application/json" } })).json();
dark.addEventListener("change", () => draw(description));
draw(description);
