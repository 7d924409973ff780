/** Loads the model and the workers, and keeps the page for use without a network. */

import { Colleague } from "./colleague.ts";
import { checkModel, type Model } from "./model.ts";

export interface Loaded {
  model: Model;
  reader: Colleague;
  engine: Colleague;
}

const LOAD = { seconds: 300 };

/** Loads everything; `progress` gets the share that is there, 0..1. */
export async function load(progress: (share: number) => void): Promise<Loaded> {
  const base = document.baseURI;
  const script = URL.createObjectURL(
    new Blob([await fetchBytes("worker.js")], { type: "text/javascript" }),
  );
  const description: unknown = JSON.parse(
    new TextDecoder().decode(await fetchBytes("model/model.json")),
  );
  const model = checkModel(description);
  const names = ["model/classifier.onnx", ...(model.lungs ? ["model/lungs.onnx"] : [])];
  const shares = names.map(() => 0);
  const [classifier, lungs] = await Promise.all(
    names.map((name, index) =>
      fetchBytes(name, (share) => {
        shares[index] = share;
        progress(shares.reduce((sum, one) => sum + one, 0) / names.length);
      }),
    ),
  );
  if (!classifier) throw new Error("The model is missing.");
  const engine = new Colleague(script);
  const transfer = [classifier.buffer, ...(lungs ? [lungs.buffer] : [])];
  const runtime = new URL("ort/", base).href;
  await engine.ask("load", { runtime, classifier, lungs }, { ...LOAD, transfer });
  return { model, engine, reader: new Colleague(script) };
}

async function fetchBytes(
  name: string,
  progress?: (share: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(new URL(name, document.baseURI));
  if (!response.ok) throw new Error(`${name} could not be loaded (${response.status}).`);
  const total = Number(response.headers.get("Content-Length"));
  if (!progress || !response.body || !total) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    progress?.(1);
    return bytes;
  }
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let n = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    n += value.length;
    progress(Math.min(1, n / total));
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

/**
 * Keeps the page's files for use without a network.
 *
 * @param newer Called if another version than the one that is running has been kept.
 * @returns Whether the page works without a network now.
 */
export async function keepOffline(newer: () => void): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false;
  try {
    const response = await fetch(new URL("files.json", document.baseURI), { cache: "no-cache" });
    const { version } = (await response.json()) as { version: string };
    const before = navigator.serviceWorker.controller?.scriptURL;
    const url = new URL("sw.js", document.baseURI);
    url.searchParams.set("v", version);
    const registration = await navigator.serviceWorker.register(url);
    const worker = registration.installing ?? registration.waiting ?? registration.active;
    await activated(worker);
    if (before && before !== url.href) newer();
    return true;
  } catch {
    return false; // no network and no version kept, a private window, a server without files.json
  }
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
