/** A worker that is asked and answers; one that hangs, dies or fails is replaced. */

import { ImageFileError } from "./limits.ts";
import type { Calls, Kind, Reply } from "./messages.ts";

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

interface Limits {
  seconds: number;
}

/** What a new worker is asked before all else. */
interface Beginning<K extends Kind> {
  kind: K;
  ask: Calls[K]["ask"];
  limits: Limits;
}

export class Colleague {
  private worker: Worker | undefined;
  private begun: Promise<unknown> = Promise.resolve();
  private next = 1;
  private readonly waiting = new Map<number, Waiting>();

  /**
   * @param script The worker's script, a blob: URL, so that the page's security policy applies.
   * @param beginning What each new worker does first, such as to load the model.
   */
  constructor(
    private readonly script: string,
    private readonly beginning?: Beginning<Kind>,
  ) {
    this.start();
  }

  /** Waits until the worker has begun; a worker that could not is replaced at the next call. */
  async ready(): Promise<void> {
    if (!this.worker) this.start();
    const { begun, worker } = this;
    try {
      await begun;
    } catch (error) {
      if (this.worker === worker) this.stop(toError(error));
      throw error;
    }
  }

  /** Asks, and stops the worker if it takes longer than this many seconds. */
  async ask<K extends Kind>(kind: K, ask: Calls[K]["ask"], limits: Limits): Promise<Calls[K]["value"]> {
    await this.ready();
    return this.send(kind, ask, limits);
  }

  private async send<K extends Kind>(
    kind: K,
    ask: Calls[K]["ask"],
    limits: Limits,
  ): Promise<Calls[K]["value"]> {
    const { worker } = this;
    if (!worker) throw new Error("The worker stopped.");
    const id = this.next++;
    const timer = setTimeout(() => {
      this.stop(new ImageFileError(`takes longer than ${limits.seconds} s`));
    }, limits.seconds * 1000);
    try {
      return await new Promise<Calls[K]["value"]>((resolve, reject) => {
        this.waiting.set(id, { resolve: resolve as (value: never) => void, reject });
        worker.postMessage({ id, kind, ...ask });
      });
    } finally {
      clearTimeout(timer);
      this.waiting.delete(id);
    }
  }

  private start(): void {
    const worker = new Worker(this.script, { type: "module" });
    worker.addEventListener("message", (event: MessageEvent<Reply>) => {
      const reply = event.data;
      const waiting = this.waiting.get(reply.id);
      if (!waiting) return;
      if (!("error" in reply)) waiting.resolve(reply.value as never);
      else if (reply.known) waiting.reject(new ImageFileError(reply.error));
      else this.stop(new Error(reply.error)); // a runtime that failed once may fail, or err, again
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      if (this.worker === worker) this.stop(new Error(event.message || "The worker stopped."));
    });
    this.worker = worker;
    const { beginning } = this;
    this.begun = beginning
      ? this.send(beginning.kind, beginning.ask, beginning.limits)
      : Promise.resolve();
    this.begun.catch(() => undefined); // ready() gives the error to those who ask
  }

  private stop(error: Error): void {
    this.worker?.terminate();
    this.worker = undefined;
    for (const waiting of this.waiting.values()) waiting.reject(error);
    this.waiting.clear();
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
