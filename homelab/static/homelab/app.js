// On every page: the menu of small screens, copy buttons, forms that are sent once, and the page for when there
// is no connection.
"use strict";

const menu = document.querySelector("button.menu");
if (menu) {
  const fold = (open) => {
    menu.setAttribute("aria-expanded", String(open));
    document.body.classList.toggle("menu-open", open);
  };
  menu.hidden = false;
  document.body.classList.add("has-menu");
  menu.addEventListener("click", () => fold(menu.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.getAttribute("aria-expanded") === "true") {
      fold(false);
      menu.focus();
    }
  });
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // Without https a page has no clipboard: what is marked can be copied by hand.
    getSelection().selectAllChildren(source);
    button.textContent = "Marked: press Ctrl+C";
  }
  setTimeout(() => (button.textContent = said), 3000);
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}

// A second press would make a second note, or a second token while the first is shown to nobody. What the
// browser's validation holds back is no submit.
const sent = new Set();
document.addEventListener("submit", (event) => {
  if (sent.has(event.target)) event.preventDefault();
  else if (!event.defaultPrevented) sent.add(event.target);
});
window.addEventListener("pageshow", () => sent.clear()); // back again

if ("serviceWorker" in navigator && window.isSecureContext) {
  navigator.serviceWorker.register("/sw.js").catch(() => {});
}
