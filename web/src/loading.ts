/** Loads the model and the workers. */

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
      fetchBytes(`${name}?${model.sha256[name]}`, (share) => {
        shares[index] = share;
        progress(shares.reduce((sum, one) => sum + one, 0) / names.length);
      }),
    ),
  );
  if (!classifier) throw new Error("The model is missing.");
  const runtime = new URL("ort/", base).href;
  const graphs = {
    classifier: await checked("model/classifier.onnx", classifier, model),
    lungs: lungs && (await checked("model/lungs.onnx", lungs, model)),
  };
  const threshold = model.region?.needs_lungs ? model.lungs?.threshold : undefined;
  const ask = { runtime, ...graphs, threshold };
  const engine = new Colleague(script, { kind: "load", ask, limits: LOAD });
  await engine.ready();
  return { model, engine, reader: new Colleague(script) };
}

/** Returns a file's bytes, which must be those that model.json names: not another export's, not a part. */
async function checked(name: string, bytes: Uint8Array<ArrayBuffer>, model: Model): Promise<Blob> {
  const wanted = model.sha256[name];
  // Browsers have no digests on pages that came over plain HTTP from another machine.
  if (window.isSecureContext) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== wanted) {
      throw new Error(`${name} does not belong to this model. Load the page again, or export it again.`);
    }
  }
  return new Blob([bytes]);
}

async function fetchBytes(
  name: string,
  progress?: (share: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  // Not what the browser kept of another export; large files are asked for with their digest.
  const cache = name.includes("?") ? "default" : "no-store";
  const response = await fetch(new URL(name, document.baseURI), { cache });
  if (!response.ok) throw new Error(`${name.replace(/\?.*/, "")} could not be loaded (${response.status}).`);
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
