/**
 * The service worker: keeps the page's own files, and nothing else, for use without a network.
 *
 * Its URL carries the version of files.json, so that another version is another service worker.
 */

export {};

const worker = self as unknown as ServiceWorkerGlobalScope;
const scope = worker.registration.scope;
const version = new URL(worker.location.href).searchParams.get("v") ?? "";
const prefix = `kerascxr ${scope} `;
const LIST = "files.json";

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

async function store(): Promise<void> {
  const response = await fetch(new URL(LIST, scope), { cache: "no-store" });
  const { files } = (await response.json()) as { files: string[] };
  const cache = await caches.open(prefix + version);
  const wanted = files.filter((file) => file !== "sw.js" && file !== LIST);
  await cache.addAll(
    [...wanted, LIST].map((file) => new Request(new URL(file, scope), { cache: "reload" })),
  );
  await worker.skipWaiting();
}

async function removeOthers(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith(prefix) && name !== prefix + version) await caches.delete(name);
  }
  await worker.clients.claim();
}

async function answer(request: Request, url: URL): Promise<Response> {
  const path = url.href.slice(scope.length).replace(/[?#].*$/, "") || "index.html";
  if (path === LIST) {
    // The network first: it says whether there is another version.
    try {
      const response = await fetch(request);
      // Otherwise a gateway answers for a server that is away; a server that has no such file is another.
      if (response.status < 500) return response;
    } catch {
      // No network.
    }
  }
  const cache = await caches.open(prefix + version);
  const kept = await cache.match(new URL(path, scope));
  return kept ? isolated(kept) : fetch(request);
}

/** Adds the headers that let the page use threads, for servers that do not send them. */
function isolated(response: Response): Response {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, headers });
}
