// Keeps a page up to date: asks whether it changed, and changes what did, around what somebody reads or types.
//
// Elements are matched by `id`, else by `data-key`, a form by its action, else by their place. What is typed,
// chosen, opened or focused stays, and so does an element with `data-keep`; what is gone goes, but is never
// made into something else. The document hears `homelab:updated` after a change.
"use strict";

const EVERY_MS = 1000 * Number(document.querySelector("main").dataset.live || 5);
const LONGEST_MS = 60000;
const PATIENCE_MS = 20000;
const FIELDS = "input:not([type=hidden]), textarea";

let tag = null; // the ETag of what is shown
let updated = new Date();
let failures = 0;
let timer = null;
let leaving = false; // a form was sent: the next page is on its way

function key(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return "";
  return node.id || node.dataset.key || (node.tagName === "FORM" && node.getAttribute("action")) || "";
}

function alike(old, fresh) {
  if (old.nodeName !== fresh.nodeName || key(old) !== key(fresh)) return false;
  if (old.matches?.("input, textarea, select, button") && old.name !== fresh.name) return false;
  return old !== document.activeElement || leads(old) === leads(fresh);
}

// What a press would do: under somebody's finger a link or button does not become another one.
function leads(node) {
  return node.tagName === "BUTTON" ? node.value : node.getAttribute("href");
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
  const keyed = [...old.childNodes].filter(key);
  const coming = [...fresh.childNodes];
  let place = old.firstChild;
  while (coming.length) {
    const wanted = coming.shift();
    const known = key(wanted) ? take(keyed, wanted) : ahead(place, wanted, coming);
    if (!known || !alike(known, wanted)) {
      old.insertBefore(document.importNode(wanted, true), place);
      continue;
    }
    if (!key(wanted)) place = clear(place, known);
    else if (known.contains(document.activeElement)) place = putBehind(known, place);
    if (known === place) place = place.nextSibling;
    else old.insertBefore(known, place);
    morph(known, wanted);
  }
  clear(place, null);
}

// The old node with the key of a new one, each once: two forms may have one action.
function take(keyed, wanted) {
  const found = keyed.findIndex((node) => alike(node, wanted));
  return found < 0 ? null : keyed.splice(found, 1)[0];
}

// Moves what stands before a node behind it, for a node that is moved itself loses the focus.
function putBehind(known, place) {
  const behind = known.nextSibling;
  while (place && place !== known) {
    const next = place.nextSibling;
    known.parentNode.insertBefore(place, behind);
    place = next;
  }
  return known;
}

// The next old node that a new one without a key is about, past those of which nothing is left.
function ahead(place, wanted, coming) {
  for (let node = place; node; node = node.nextSibling) {
    if (alike(node, wanted)) return node;
    if (node.nodeType === Node.ELEMENT_NODE && coming.some((each) => alike(node, each))) return null;
  }
  return null;
}

// Takes away what is no longer there, up to a node; but never what somebody types or has typed into.
function clear(place, end) {
  while (place && place !== end) {
    const next = place.nextSibling;
    if (!isTyping(place)) place.remove();
    place = next;
  }
  return place;
}

function isTyping(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return false;
  const fields = [...(node.matches(FIELDS) ? [node] : []), ...node.querySelectorAll(FIELDS)];
  return fields.some((field) => field === document.activeElement || field.value !== field.defaultValue);
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
    // X-Live: what a form said waits for the page that follows it, not for whoever asks first.
    headers: { "X-Live": "1", ...(tag && { "If-None-Match": tag }) },
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
