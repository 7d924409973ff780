// src/sw.ts
var worker = self;
var scope = worker.registration.scope;
var version = new URL(worker.location.href).searchParams.get("v") ?? "";
var prefix = `kerascxr ${scope} `;
var LIST = "files.json";
worker.addEventListener("install", (event) => {
  event.waitUntil(store());
});
worker.addEventListener("activate", (event) => {
  event.waitUntil(removeOthers());
});
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method === "GET" && request.url.startsWith(scope) && url.protocol !== "blob:") {
    event.respondWith(answer(request, url));
  }
});
async function store() {
  const response = await fetch(new URL(LIST, scope), { cache: "no-store" });
  const { files } = await response.json();
  const cache = await caches.open(prefix + version);
  const wanted = files.filter((file) => file !== "sw.js" && file !== LIST);
  await cache.addAll(
    [...wanted, LIST].map((file) => new Request(new URL(file, scope), { cache: "reload" }))
  );
  await worker.skipWaiting();
}
async function removeOthers() {
  for (const name of await caches.keys()) {
    if (name.startsWith(prefix) && name !== prefix + version) await caches.delete(name);
  }
  await worker.clients.claim();
}
async function answer(request, url) {
  const path = url.href.slice(scope.length).replace(/[?#].*$/, "") || "index.html";
  if (path === LIST) {
    try {
      const response = await fetch(request);
      if (response.status < 500) return response;
    } catch {
    }
  }
  const cache = await caches.open(prefix + version);
  const kept = await cache.match(new URL(path, scope));
  return kept ? isolated(kept) : fetch(request);
}
function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, headers });
}
