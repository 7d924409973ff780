/** From the graphs' outputs to the answer: the texts of kerascxr.models.decision_rule. */

import type { Spacing } from "./dicom.ts";
import type { Box } from "./geometry.ts";
import { lungFaults } from "./lung_faults.ts";
import { type Grid, keepLungs, lungFraction, lungPixels } from "./lungs.ts";
import type { Model } from "./model.ts";

const SEPARATOR = "; ";

/** What the engine's graphs give for one image. */
export interface Outputs {
  probabilities: Float32Array<ArrayBuffer>;
  inSet: boolean[];
  warnings: boolean[];
  oodScore: number;
  cams: Grid[];
  /** The part of the image that the classifier got, where it is not the whole. */
  box: Box | undefined;
  /** Probabilities, of all components. */
  lungs: Grid | undefined;
}

export interface Answer {
  probabilities: number[];
  /** The most probable class. */
  predicted: string;
  /** That class, or "not decided". */
  decision: string;
  /** The classes that are possible, in their order. */
  predictionSet: string[];
  /** Kinds of the warnings that apply. */
  warnings: string[];
  /** The same as sentences. */
  sentences: string[];
  oodScore: number;
  cams: Grid[];
  /** Where the maps lie in the image; undefined for the whole of it. */
  box: Box | undefined;
  lungs: LungAnswer | undefined;
}

export interface LungAnswer {
  /** Probabilities of the two largest components. */
  grid: Grid;
  fraction: number;
  /** Area at the image's own size; undefined where its pixels' size is not known. */
  mm2: number | undefined;
  /** Why this cannot be the lungs of a frontal, upright X-ray, to follow "it". */
  faults: string[];
}

export function toAnswer(model: Model, outputs: Outputs): Answer {
  const { classes } = model;
  const probabilities = [...outputs.probabilities];
  if (probabilities.length !== classes.length || !probabilities.every(Number.isFinite)) {
    throw new Error("the model gave no probabilities");
  }
  const predicted = classes[probabilities.indexOf(Math.max(...probabilities))] ?? classes[0]!;
  const warned = model.warnings.filter((_, index) => outputs.warnings[index]);
  return {
    probabilities,
    predicted,
    decision: warned.length ? model.decision.not_decided : predicted,
    predictionSet: classes.filter((_, index) => outputs.inSet[index]),
    warnings: warned.map((warning) => warning.kind),
    sentences: warned.map((warning) => warning.text),
    oodScore: outputs.oodScore,
    cams: outputs.cams,
    box: outputs.box,
    lungs: undefined,
  };
}

export function measureLungs(
  grid: Grid,
  { threshold, checks }: NonNullable<Model["lungs"]>,
  size: { width: number; height: number },
  spacing: Spacing | undefined,
): LungAnswer {
  const lungs = keepLungs(grid, threshold);
  const fraction = lungFraction(lungs, threshold);
  const faults = lungFaults(lungs, threshold, checks);
  if (!spacing) return { grid: lungs, fraction, mm2: undefined, faults };
  const pixels = lungPixels(lungs, threshold, size.width, size.height);
  return { grid: lungs, fraction, mm2: pixels * spacing.rowMm * spacing.columnMm, faults };
}

/** The answer as `window.kerascxr.answer` gives it, in the words of `kerascxr predict`. */
export function plain(model: Model, answer: Answer, seconds: number): Record<string, unknown> {
  return {
    classes: model.classes,
    probabilities: answer.probabilities,
    predicted: answer.predicted,
    decision: answer.decision,
    prediction_set: answer.predictionSet.join(SEPARATOR),
    warnings: answer.warnings.join(SEPARATOR),
    ood_score: answer.oodScore,
    lung_fraction: answer.lungs?.fraction ?? null,
    lung_mm2: answer.lungs?.mm2 ?? null,
    seconds,
  };
}

/** One image's row of the table. */
export interface Row {
  path: string;
  answer: Answer;
}

/** The table of `kerascxr predict`, and the area of lungs where one is known. */
export function toCsv(model: Model, rows: Row[]): string {
  const hasArea = rows.some(({ answer }) => answer.lungs?.mm2 !== undefined);
  const header = ["path", "predicted", ...model.classes.map((name) => `probability ${name}`)];
  header.push("decision", "prediction_set", "warnings", "ood_score");
  if (model.lungs) header.push("lung_fraction");
  if (hasArea) header.push("lung_mm2");
  const lines = rows.map(({ path, answer }) => {
    const cells = [safePath(path), answer.predicted, ...answer.probabilities.map(String)];
    cells.push(answer.decision, answer.predictionSet.join(SEPARATOR));
    cells.push(answer.warnings.join(SEPARATOR), String(answer.oodScore));
    if (model.lungs) cells.push(String(answer.lungs?.fraction ?? ""));
    if (hasArea) cells.push(String(answer.lungs?.mm2 ?? ""));
    return cells;
  });
  return [header, ...lines].map((cells) => cells.map(quoted).join(",") + "\n").join("");
}

/** A spreadsheet would compute a name that begins with these; "./" leaves it the same path. */
function safePath(path: string): string {
  return /^[=+\-@\t\r]/.test(path) ? `./${path}` : path;
}

function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
