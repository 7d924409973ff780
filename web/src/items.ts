/** The images given to the page: decoded and answered in order, one after the other. */

import { type Answer, measureLungs, toAnswer } from "./answer.ts";
import type { Colleague } from "./colleague.ts";
import type { Decoded } from "./decode.ts";
import type { Given } from "./intake.ts";
import { ImageFileError } from "./limits.ts";
import type { Model } from "./model.ts";

const DECODE = { seconds: 60 };
const RUN = { seconds: 300 };
const MOST_KEPT = 3; // images whose pixels stay in memory

export interface Item {
  id: number;
  /** No other image's: of several files of one name, all but the first get a number. */
  name: string;
  file: Blob | undefined;
  state: "waiting" | "reading" | "done" | "failed";
  answer?: Answer;
  /** What follows the name: "is truncated". */
  problem?: string;
  /** The decoded image; its pixels only while they are kept. */
  image?: Omit<Decoded, "data">;
  seconds?: number;
}

export class Items {
  readonly all: Item[] = [];
  private readonly names = new Set<string>();
  private readonly kept = new Map<number, Decoded>();
  private next = 1;
  private running = false;

  constructor(
    private readonly model: Model,
    private readonly reader: Colleague,
    private readonly engine: Colleague,
    private readonly changed: (item: Item) => void,
  ) {}

  /** Adds files, and answers them in the background. */
  add(files: readonly Given[]): Item[] {
    const items = files.map(({ name, file, problem }): Item => {
      const item: Item = { id: this.next++, name: this.unused(name), file, state: file ? "waiting" : "failed" };
      return problem === undefined ? item : { ...item, problem };
    });
    this.all.push(...items);
    void this.work();
    return items;
  }

  private unused(name: string): string {
    let free = name;
    for (let n = 2; this.names.has(free); n++) free = `${name} (${n})`;
    this.names.add(free);
    return free;
  }

  /** Forgets all images. */
  clear(): void {
    this.all.length = 0;
    this.names.clear();
    this.kept.clear();
  }

  /** Returns an image's pixels, decoding it again if need be. */
  async pixels(item: Item): Promise<Decoded> {
    const kept = this.kept.get(item.id);
    this.kept.delete(item.id);
    if (!item.file) throw new ImageFileError(item.problem ?? "cannot be read");
    const image = kept ?? (await this.decode(item.file));
    this.kept.set(item.id, image); // the last of those kept is the newest
    for (const id of this.kept.keys()) {
      if (this.kept.size <= MOST_KEPT) break;
      this.kept.delete(id);
    }
    return image;
  }

  decode(file: Blob): Promise<Decoded> {
    return this.reader.ask("decode", { file }, DECODE);
  }

  /** Decodes and answers one image. */
  async answer(image: Decoded): Promise<Answer> {
    const { width, height, data } = image;
    const outputs = await this.engine.ask("run", { image: { width, height, data } }, RUN);
    const answer = toAnswer(this.model, outputs);
    if (this.model.lungs && outputs.lungs) {
      answer.lungs = measureLungs(outputs.lungs, this.model.lungs, image, image.spacing);
    }
    return answer;
  }

  private async work(): Promise<void> {
    if (this.running) return;
    this.running = true;
    try {
      let item;
      while ((item = this.all.find(({ state }) => state === "waiting"))) await this.read(item);
    } finally {
      this.running = false;
    }
  }

  private async read(item: Item): Promise<void> {
    const start = performance.now();
    item.state = "reading";
    this.changed(item);
    try {
      const image = await this.pixels(item);
      const { width, height, format, facts, spacing, modality } = image;
      item.image = { width, height, format, facts, spacing, modality };
      item.answer = await this.answer(image);
      item.seconds = (performance.now() - start) / 1000;
      item.state = "done";
    } catch (error) {
      item.problem = problemOf(error);
      item.state = "failed";
    }
    if (this.all.includes(item)) this.changed(item);
  }
}

/** Says in words that follow a file's name what went wrong. */
export function problemOf(error: unknown): string {
  if (error instanceof ImageFileError) return error.message;
  const text = error instanceof Error ? error.message : String(error);
  return `could not be answered (${text.split("\n")[0]!.slice(0, 160)})`;
}
