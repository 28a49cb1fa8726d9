// Fetches the plot of an incident's page: at once, each half minute while it is open, and when it stands otherwise.
"use strict";

const AGAIN_MS = 30000;
const fetched = { at: 0, standing: "" };

const standing = () => document.querySelector("#standing")?.textContent ?? "";

async function plot() {
  const place = document.querySelector("#plot[data-from]");
  if (place === null || document.hidden) return;
  fetched.at = Date.now();
  fetched.standing = standing();
  const width = Math.round(place.clientWidth) || 800;
  const answer = await fetch(`${place.dataset.from}?width=${width}`, {
    headers: { "X-Live": "1" }, // as live.js: it takes no messages
  });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const drawn = page.getElementById("plot");
  if (drawn === null) return;
  place.replaceChildren(...drawn.childNodes);
  place.classList.toggle("none", place.querySelector("svg") === null);
}

function look() {
  const running = document.querySelector("#signal[data-running]") !== null;
  const late = Date.now() - fetched.at >= AGAIN_MS;
  if (standing() !== fetched.standing || (running && late)) plot().catch(() => {});
}

look();
setInterval(look, 5000);
document.addEventListener("homelab:updated", look);
