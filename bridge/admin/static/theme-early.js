// Classic and in the head, so that a page that is reloaded in the dark does not flash white.
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
