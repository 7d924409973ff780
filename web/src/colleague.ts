/** A worker that is asked and answers; one that hangs or dies is replaced. */

import { ImageFileError } from "./limits.ts";
import type { Calls, Kind, Reply } from "./messages.ts";

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

export class Colleague {
  private worker: Worker | undefined;
  private next = 1;
  private readonly waiting = new Map<number, Waiting>();

  /** @param script The worker's script, a blob: URL, so that the page's security policy applies. */
  constructor(private readonly script: string) {
    this.start();
  }

  /** Asks, and stops the worker if it takes longer than this many seconds. */
  async ask<K extends Kind>(
    kind: K,
    ask: Calls[K]["ask"],
    limits: { seconds: number; transfer?: Transferable[] },
  ): Promise<Calls[K]["value"]> {
    const id = this.next++;
    const worker = this.worker ?? this.start();
    const timer = setTimeout(() => {
      this.stop(new ImageFileError(`takes longer than ${limits.seconds} s`));
    }, limits.seconds * 1000);
    try {
      return await new Promise<Calls[K]["value"]>((resolve, reject) => {
        this.waiting.set(id, { resolve: resolve as (value: never) => void, reject });
        worker.postMessage({ id, kind, ...ask }, limits.transfer ?? []);
      });
    } finally {
      clearTimeout(timer);
      this.waiting.delete(id);
    }
  }

  private start(): Worker {
    const worker = new Worker(this.script, { type: "module" });
    worker.addEventListener("message", (event: MessageEvent<Reply>) => {
      const reply = event.data;
      const waiting = this.waiting.get(reply.id);
      if (!waiting) return;
      if ("error" in reply) {
        waiting.reject(reply.known ? new ImageFileError(reply.error) : new Error(reply.error));
      } else waiting.resolve(reply.value as never);
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.stop(new Error(event.message || "The worker stopped."));
    });
    this.worker = worker;
    return worker;
  }

  private stop(error: Error): void {
    this.worker?.terminate();
    this.worker = undefined;
    for (const waiting of this.waiting.values()) waiting.reject(error);
    this.waiting.clear();
  }
}
