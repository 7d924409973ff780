/** The copy that a service worker keeps for use without a network, and whether it is the server's. */

const LIST = "files.json";

/**
 * Tells whether a service worker gave another page or model than the server has now: a run was exported
 * again, or another run or program answers at this address. The server's is kept by then, or the service
 * worker is gone, so that the page must be loaded again.
 */
export async function isStale(): Promise<boolean> {
  const running = kept();
  if (!running) return false;
  const version = await serverVersion().catch(() => running);
  if (version === running) return false;
  try {
    if (!version) throw new Error("Another program answers at this address.");
    await keep(version);
  } catch {
    const registration = await navigator.serviceWorker.getRegistration(document.baseURI);
    await registration?.unregister();
  }
  return true;
}

/**
 * Keeps the page's files for use without a network.
 *
 * @param newer Called when another version than the one that is running has been kept, by this tab or another.
 * @returns Whether the page works without a network now.
 */
export async function keepOffline(newer: () => void): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false;
  try {
    const version = await serverVersion();
    if (!version) return false; // a server without files.json
    const running = kept() ?? version;
    const check = (): void => {
      const now = kept();
      if (now && now !== running) newer();
    };
    navigator.serviceWorker.addEventListener("controllerchange", check);
    await keep(version);
    if (version !== running) newer();
    return true;
  } catch {
    return false; // no network and no version kept, or a private window
  }
}

/** Returns the version whose files the service worker of this page gives; undefined without one. */
function kept(): string | undefined {
  const controller = "serviceWorker" in navigator ? navigator.serviceWorker.controller : null;
  return controller ? (new URL(controller.scriptURL).searchParams.get("v") ?? "") : undefined;
}

/** Returns the server's version, or without a network the one that is kept; undefined if it has none. */
async function serverVersion(): Promise<string | undefined> {
  // Never by a date: a server calls an older export's files unchanged.
  const response = await fetch(new URL(LIST, document.baseURI), { cache: "no-store" });
  if (!response.ok) return undefined;
  try {
    const { version } = (await response.json()) as { version?: unknown };
    return typeof version === "string" ? version : undefined;
  } catch {
    return undefined; // not ours
  }
}

async function keep(version: string): Promise<void> {
  const url = new URL("sw.js", document.baseURI);
  url.searchParams.set("v", version);
  const registration = await navigator.serviceWorker.register(url);
  await activated(registration.installing ?? registration.waiting ?? registration.active);
}

async function activated(worker: ServiceWorker | null): Promise<void> {
  if (!worker) throw new Error("No service worker.");
  if (worker.state === "activated") return;
  await new Promise<void>((resolve, reject) => {
    worker.addEventListener("statechange", () => {
      if (worker.state === "activated") resolve();
      if (worker.state === "redundant") reject(new Error("The service worker was not installed."));
    });
  });
}
