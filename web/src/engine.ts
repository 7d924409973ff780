/** The model's graphs in onnxruntime-web. */

import * as ort from "onnxruntime-web/wasm";

import type { Outputs } from "./answer.ts";
import type { Box } from "./geometry.ts";
import type { Grey } from "./limits.ts";
import { type Grid, keepLungs } from "./lungs.ts";
import type { Calls } from "./messages.ts";

const MOST_THREADS = 8;

export class Engine {
  private constructor(
    private readonly classifier: ort.InferenceSession,
    private readonly lungs: ort.InferenceSession | undefined,
    private readonly threshold: number | undefined,
  ) {}

  /**
   * Starts the runtime and loads the graphs.
   *
   * @param ask The graphs; `runtime`, where its WebAssembly is, an absolute URL that ends with a slash;
   *   `threshold`, from which probability on a pixel is lung, where the classifier takes the lung mask.
   */
  static async load({ runtime, classifier, lungs, threshold }: Calls["load"]["ask"]): Promise<Engine> {
    const threads = self.crossOriginIsolated ? navigator.hardwareConcurrency || 1 : 1;
    ort.env.wasm.numThreads = Math.min(MOST_THREADS, threads);
    ort.env.wasm.wasmPaths = {
      mjs: `${runtime}ort-wasm-simd-threaded.mjs`,
      wasm: `${runtime}ort-wasm-simd-threaded.wasm`,
    };
    ort.env.logLevel = "error";
    const options: ort.InferenceSession.SessionOptions = {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
    };
    const session = async (graph: Blob): Promise<ort.InferenceSession> =>
      ort.InferenceSession.create(new Uint8Array(await graph.arrayBuffer()), options);
    const first = await session(classifier);
    return new Engine(first, lungs && (await session(lungs)), threshold);
  }

  async run(image: Grey): Promise<Outputs> {
    const grey = new ort.Tensor("uint8", image.data, [image.height, image.width]);
    const found = this.lungs ? await this.lungs.run({ grey }) : undefined;
    const lungs = found && grids(found, "probabilities")[0];
    const mask = lungs && this.threshold !== undefined && { lung_mask: maskTensor(lungs, this.threshold) };
    const answer = await this.classifier.run({ grey, ...mask });
    return {
      probabilities: numbers(answer, "probabilities"),
      inSet: flags(answer, "in_set"),
      warnings: flags(answer, "warnings"),
      oodScore: numbers(answer, "ood_score")[0] ?? NaN,
      cams: grids(answer, "cams"),
      box: boxOf(answer),
      lungs,
    };
  }
}

/** Returns the two largest components of the lungs as the classifier's graph takes them. */
function maskTensor(lungs: Grid, threshold: number): ort.Tensor {
  const { data, width, height } = keepLungs(lungs, threshold);
  return new ort.Tensor("uint8", Uint8Array.from(data, (value) => (value >= threshold ? 255 : 0)), [height, width]);
}

function boxOf(found: ort.InferenceSession.ReturnType): Box | undefined {
  if (!("box" in found)) return undefined;
  const [top, left, bottom, right] = numbers(found, "box") as unknown as [number, number, number, number];
  return { top, left, bottom, right };
}

function output(found: ort.InferenceSession.ReturnType, name: string): ort.Tensor {
  const value = found[name];
  if (!value) throw new Error(`The model has no output ${name}.`);
  return value;
}

function numbers(found: ort.InferenceSession.ReturnType, name: string): Float32Array<ArrayBuffer> {
  return Float32Array.from(output(found, name).data as Float32Array);
}

function flags(found: ort.InferenceSession.ReturnType, name: string): boolean[] {
  return Array.from(output(found, name).data as Uint8Array, Boolean);
}

/** Returns the last two axes of an output as grids. */
function grids(found: ort.InferenceSession.ReturnType, name: string): Grid[] {
  const { dims } = output(found, name);
  const data = numbers(found, name);
  const [height, width] = dims.slice(-2) as [number, number];
  const n = data.length / (width * height) || 0;
  return Array.from({ length: n }, (_, index) => ({
    width,
    height,
    data: data.slice(index * width * height, (index + 1) * width * height),
  }));
}
