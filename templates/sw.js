{% load static %}// Shows a page of its own when there is no connection. It keeps files that are the same for everybody, and
// nothing else: no page with records, and no answer of the API.
"use strict";

const CACHE = "homelab-{{ version|escapejs }}";
const OFFLINE = "{% url 'offline' %}";
const STATIC = "{% static '' %}";
const FILES = [
  OFFLINE,
  "{% static 'homelab/style.css' %}",
  "{% static 'homelab/app.js' %}",
  "{% static 'homelab/icon.svg' %}",
];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (names) => names.filter((name) => name.startsWith("homelab-") && name !== CACHE);
  event.waitUntil(
    caches.keys().then((names) => Promise.all(old(names).map((name) => caches.delete(name)))),
  );
});

self.addEventListener("fetch", (event) => {
  const request = event.request;
  const place = new URL(request.url);
  if (request.method !== "GET" || place.origin !== location.origin) return;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)));
  } else if (place.pathname.startsWith(STATIC)) {
    event.respondWith(fetch(request).catch(() => caches.match(request).then((kept) => kept || Response.error())));
  }
});
