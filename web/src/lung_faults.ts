/** Whether a lung mask can be lungs: share, place and way up of kerascxr.evaluation.lung_masks. */

import type { Grid } from "./lungs.ts";

/** Bounds and texts, as model.json has them from there. */
export interface LungChecks {
  /** Pixels of the shorter side at which masks are checked. */
  grid: number;
  share: [number, number];
  across: [number, number];
  down: [number, number];
  widest_top: number;
  reasons: Record<"empty" | "share" | "place" | "way_up", string>;
}

/** Returns why a mask cannot be the lungs of a frontal, upright X-ray, to follow "it". */
export function lungFaults(lungs: Grid, threshold: number, checks: LungChecks): string[] {
  const { reasons } = checks;
  const step = Math.max(1, Math.floor(Math.min(lungs.width, lungs.height) / checks.grid));
  const rows: number[] = [];
  const columns: number[] = [];
  let pixels = 0;
  let [height, width] = [0, 0];
  for (let y = Math.floor(step / 2); y < lungs.height; y += step, height++) {
    width = 0;
    for (let x = Math.floor(step / 2); x < lungs.width; x += step, width++) {
      pixels++;
      if (lungs.data[y * lungs.width + x]! < threshold) continue;
      rows.push(height);
      columns.push(width);
    }
  }
  if (!rows.length) return [reasons.empty];
  const faults: string[] = [];
  if (!within(rows.length / pixels, checks.share)) faults.push(reasons.share);
  const across = (mean(columns) + 0.5) / width;
  const down = (mean(rows) + 0.5) / height;
  if (!(within(across, checks.across) && within(down, checks.down))) faults.push(reasons.place);
  const [first, last] = [rows[0]!, rows.at(-1)! + 1];
  const quarter = Math.max(1, Math.floor((last - first) / 4));
  const extent = (from: number, to: number): number => {
    const inside = columns.filter((_, index) => rows[index]! >= from && rows[index]! < to);
    return inside.length ? Math.max(...inside) - Math.min(...inside) + 1 : 0;
  };
  if (extent(first, first + quarter) > checks.widest_top * extent(last - quarter, last)) {
    faults.push(reasons.way_up);
  }
  return faults;
}

function within(value: number, [low, high]: readonly [number, number]): boolean {
  return low <= value && value <= high;
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
