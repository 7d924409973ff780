/** The model's graphs in onnxruntime-web. */

import * as ort from "onnxruntime-web/wasm";

import type { Outputs } from "./answer.ts";
import type { Grey } from "./limits.ts";
import type { Grid } from "./lungs.ts";

const MOST_THREADS = 8;

export class Engine {
  private constructor(
    private readonly classifier: ort.InferenceSession,
    private readonly lungs: ort.InferenceSession | undefined,
  ) {}

  /**
   * Starts the runtime and loads the graphs.
   *
   * @param runtime Where its WebAssembly is, an absolute URL that ends with a slash.
   */
  static async load(
    runtime: string,
    classifier: Blob,
    lungs: Blob | undefined,
  ): Promise<Engine> {
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
    return new Engine(first, lungs && (await session(lungs)));
  }

  async run(image: Grey): Promise<Outputs> {
    const grey = new ort.Tensor("uint8", image.data, [image.height, image.width]);
    const found = await this.classifier.run({ grey });
    const lungs = this.lungs ? await this.lungs.run({ grey }) : undefined;
    return {
      probabilities: numbers(found, "probabilities"),
      inSet: flags(found, "in_set"),
      warnings: flags(found, "warnings"),
      oodScore: numbers(found, "ood_score")[0] ?? NaN,
      cams: grids(found, "cams"),
      lungs: lungs ? grids(lungs, "probabilities")[0] : undefined,
    };
  }
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
