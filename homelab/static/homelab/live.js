// Keeps a page up to date: asks whether it changed, and changes what did, around what somebody reads or types.
//
// Elements are matched by `id`, else by `data-key`, else by their place. What is typed, chosen, opened or
// focused stays, and so does an element with `data-keep`. The document hears `homelab:updated` after a change.
"use strict";

const EVERY_MS = 1000 * Number(document.querySelector("main").dataset.live || 5);
const LONGEST_MS = 60000;
const PATIENCE_MS = 20000;

let tag = null; // the ETag of what is shown
let updated = new Date();
let failures = 0;
let timer = null;
let leaving = false; // a form was sent: the next page is on its way

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "";
}

function alike(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && key(old) === key(fresh);
}

function morph(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute("data-keep") || old.isEqualNode(fresh)) return;
  morphAttributes(old, fresh);
  morphChildren(old, fresh);
}

function morphAttributes(old, fresh) {
  // What a person opened, or a script of ours showed, is no word of the server.
  const own = (name) =>
    (name === "open" && old.tagName === "DETAILS") || (name === "hidden" && "copy" in old.dataset);
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !own(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !own(name)) old.setAttribute(name, value);
  }
}

function morphChildren(old, fresh) {
  const keyed = new Map([...old.childNodes].filter(key).map((node) => [key(node), node]));
  const coming = [...fresh.childNodes];
  let place = old.firstChild;
  while (coming.length) {
    const wanted = coming.shift();
    const known = key(wanted) ? keyed.get(key(wanted)) : ahead(place, wanted, coming);
    if (!known || !alike(known, wanted)) {
      old.insertBefore(document.importNode(wanted, true), place);
      continue;
    }
    if (!key(wanted)) place = clear(place, known);
    if (known === place) place = place.nextSibling;
    else old.insertBefore(known, place);
    morph(known, wanted);
  }
  clear(place, null);
}

// The next old node that a new one without a key is about, past those of which nothing is left.
function ahead(place, wanted, coming) {
  for (let node = place; node; node = node.nextSibling) {
    if (alike(node, wanted)) return node;
    if (node.nodeType === Node.ELEMENT_NODE && coming.some((each) => alike(node, each))) return null;
  }
  return null;
}

// Takes away what is no longer there, up to a node; but never what somebody types into.
function clear(place, end) {
  while (place && place !== end) {
    const next = place.nextSibling;
    if (!(place.contains(document.activeElement) && isTyping(place))) place.remove();
    place = next;
  }
  return place;
}

function isTyping(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return false;
  const fields = [...node.querySelectorAll("input:not([type=hidden]), textarea")];
  return fields.some((field) => field.value !== field.defaultValue);
}

function say(text) {
  const line = document.getElementById("live");
  if (line.textContent !== text) line.textContent = text;
}

function show(page) {
  morph(document.querySelector("main"), page.querySelector("main"));
  if (document.title !== page.title) {
    document.title = page.title;
    document.getElementById("news").textContent = page.title;
  }
  document.dispatchEvent(new CustomEvent("homelab:updated"));
}

async function ask() {
  const answer = await fetch(location.href, {
    cache: "no-store",
    headers: tag ? { "If-None-Match": tag } : {},
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (answer.redirected || answer.status === 401 || answer.status === 403) {
    say("Your login is over, so this page stands still. Reload it to log in.");
    return false;
  }
  if (answer.status !== 304 && !answer.ok) throw new Error(`the server answered ${answer.status}`);
  const text = answer.status === 304 ? null : await answer.text();
  if (leaving) return false;
  if (text !== null) show(new DOMParser().parseFromString(text, "text/html"));
  tag = answer.headers.get("ETag") || tag;
  updated = new Date();
  say("");
  return true;
}

async function turn() {
  timer = null;
  if (document.hidden || leaving) return;
  try {
    if (!(await ask())) return;
    failures = 0;
  } catch {
    failures += 1;
    say(`Not updated since ${updated.toLocaleTimeString()}: no connection to homelab.`);
  }
  plan(Math.min(EVERY_MS * 2 ** failures, LONGEST_MS));
}

function plan(pause) {
  clearTimeout(timer);
  timer = document.hidden || leaving ? null : setTimeout(turn, pause);
}

document.addEventListener("visibilitychange", () => plan(0));
window.addEventListener("online", () => plan(0));
window.addEventListener("offline", () => plan(0));
document.addEventListener("submit", () => {
  leaving = true;
});
window.addEventListener("pageshow", () => {
  leaving = false;
  plan(EVERY_MS);
});
plan(EVERY_MS);
