/** What model/model.json holds: everything that the page knows of the model. */

import type { LungChecks } from "./lung_faults.ts";

export interface Warning {
  kind: string;
  text: string;
}

export interface Model {
  format: 1;
  name: string;
  created: string;
  kerascxr: string;
  classes: string[];
  image_size: [number, number];
  temperature: number;
  decision: { not_decided: string; least: number; thresholds: number[]; coverage: number };
  warnings: Warning[];
  ood: { limit: number };
  lungs: null | {
    name: string;
    size: [number, number];
    threshold: number;
    checks: LungChecks;
    card?: Record<string, unknown>;
  };
  metrics?: { n_test: number; rows: MetricRow[] };
  operating_points?: OperatingPoint[];
  data?: { description: string; n_train: number; classes: Record<string, number> };
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
  if (model?.format !== 1) {
    throw new Error("This model is of another version than the page: export it again.");
  }
  return model;
}
