/** What the page and its workers say to each other. */

import type { Outputs } from "./answer.ts";
import type { Decoded } from "./decode.ts";
import type { Grey } from "./limits.ts";

export interface Calls {
  decode: { ask: { file: Blob }; value: Decoded };
  load: {
    ask: { runtime: string; classifier: Blob; lungs: Blob | undefined; threshold: number | undefined };
    value: undefined;
  };
  run: { ask: { image: Grey }; value: Outputs };
}

export type Kind = keyof Calls;

export type Request = { [K in Kind]: { id: number; kind: K } & Calls[K]["ask"] }[Kind];

export type Reply =
  | { id: number; value: unknown }
  | { id: number; error: string; known: boolean };
