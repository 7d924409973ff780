/** Whether a lung mask can be lungs: share, place and way up of kerascxr.evaluation.lung_masks. */

import type { Grid } from "./lungs.ts";

const GRID = 64; // pixels of the shorter side at which masks are checked
const SHARE = [0.05, 0.5] as const;
const ACROSS = [0.35, 0.65] as const;
const DOWN = [0.25, 0.6] as const;
const WIDEST_TOP = 1.03;

/** Returns why a mask cannot be the lungs of a frontal, upright X-ray, to follow "it". */
export function lungFaults(lungs: Grid, threshold: number): string[] {
  const step = Math.max(1, Math.floor(Math.min(lungs.width, lungs.height) / GRID));
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
  if (!rows.length) return ["is empty"];
  const faults: string[] = [];
  if (!within(rows.length / pixels, SHARE)) {
    faults.push(`does not cover ${100 * SHARE[0]}% to ${100 * SHARE[1]}% of the image`);
  }
  const across = (mean(columns) + 0.5) / width;
  const down = (mean(rows) + 0.5) / height;
  if (!(within(across, ACROSS) && within(down, DOWN))) {
    faults.push("does not lie in the middle of the image");
  }
  const [first, last] = [rows[0]!, rows.at(-1)! + 1];
  const quarter = Math.max(1, Math.floor((last - first) / 4));
  const extent = (from: number, to: number): number => {
    const inside = columns.filter((_, index) => rows[index]! >= from && rows[index]! < to);
    return inside.length ? Math.max(...inside) - Math.min(...inside) + 1 : 0;
  };
  if (extent(first, first + quarter) > WIDEST_TOP * extent(last - quarter, last)) {
    faults.push("is wider at the top than at the bottom");
  }
  return faults;
}

function within(value: number, [low, high]: readonly [number, number]): boolean {
  return low <= value && value <= high;
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
