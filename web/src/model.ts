/** What model/model.json holds: everything that the page knows of the model. */

import type { LungChecks } from "./lung_faults.ts";

export interface Warning {
  kind: string;
  text: string;
}

export interface Model {
  format: 2;
  name: string;
  created: string;
  kerascxr: string;
  classes: string[];
  image_size: [number, number];
  /** What of an image the classifier gets; null for the whole of it. */
  region: null | { text: string; needs_lungs: boolean };
  /** The names of an ensemble's members; none for one classifier. */
  members: string[];
  decision: {
    not_decided: string;
    /** The probability from which on a class is likely enough; null where the members vote. */
    least: number | null;
    /** Places of the classes that every prediction set has. */
    in_every_set: number[];
    coverage: number;
  };
  warnings: Warning[];
  ood: { limit: number };
  lungs: null | {
    name: string;
    size: [number, number];
    threshold: number;
    checks: LungChecks;
    card?: Record<string, unknown>;
  };
  metrics?: { n_test: number; rows: MetricRow[]; note: string };
  operating_points?: OperatingPoint[];
  data?: { description: string; n_train: number | null; classes: Record<string, number> };
  audit?: null | AuditRow[];
  audit_note?: string;
  limits: string[];
  /** Digests of the graphs' files. */
  sha256: Record<string, string>;
}

export interface MetricRow {
  name: string;
  value: number;
  low?: number | null;
  high?: number | null;
}

export interface OperatingPoint {
  class: string;
  threshold: number;
  sensitivity?: number | null;
  specificity?: number | null;
}

export interface AuditRow {
  input: string;
  accuracy?: number | null;
  auc?: number | null;
  verdict?: string;
}

export function checkModel(value: unknown): Model {
  const model = value as Model;
  if (model?.format !== 2) {
    throw new Error("This model is of another version than the page: export it again.");
  }
  return model;
}
