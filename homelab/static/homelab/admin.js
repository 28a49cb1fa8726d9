// unfold's menus open by spans and by links without an address, which a keyboard can neither reach nor press.
"use strict";

const CLICKED = "[x-on\\:click]:not(button):not(a[href]):not(input)";
const NAMES = { dock_to_right: "Side bar", close: "Close the side bar" };

document.addEventListener("DOMContentLoaded", () => {
  for (const each of document.querySelectorAll(CLICKED)) {
    const text = each.textContent.trim();
    if (!text || each.querySelector("a, button, input")) continue; // what only closes others, or holds some
    each.tabIndex = 0;
    each.setAttribute("role", "button");
    if (text in NAMES) each.setAttribute("aria-label", NAMES[text]);
  }
});

document.addEventListener("keydown", (event) => {
  if (!["Enter", " "].includes(event.key) || !event.target.matches(`[role=button]${CLICKED}`)) return;
  event.preventDefault();
  event.target.click();
});
