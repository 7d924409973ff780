/** The work beside the page: one such worker decodes files, another runs the model. */

import { decodeFile } from "./decode.ts";
import { Engine } from "./engine.ts";
import { ImageFileError } from "./limits.ts";
import type { Reply, Request } from "./messages.ts";

let engine: Engine | undefined;

self.addEventListener("message", (event: MessageEvent<Request>) => {
  void handle(event.data);
});

async function handle(request: Request): Promise<void> {
  const { id } = request;
  try {
    const value = await answer(request);
    send({ id, value });
  } catch (error) {
    const known = error instanceof ImageFileError;
    send({ id, known, error: error instanceof Error ? error.message : String(error) });
  }
}

async function answer(request: Request): Promise<unknown> {
  switch (request.kind) {
    case "decode":
      return decodeFile(request.file);
    case "load":
      engine = await Engine.load(request);
      return undefined;
    case "run":
      if (!engine) throw new Error("The model is not loaded.");
      return engine.run(request.image);
  }
}

function send(reply: Reply): void {
  const data = (reply as { value?: { data?: unknown } }).value?.data;
  const transfer = data instanceof Uint8Array ? [data.buffer as ArrayBuffer] : [];
  (self as unknown as DedicatedWorkerGlobalScope).postMessage(reply, transfer);
}
