/** Lung masks: the definitions of kerascxr.models.segmenter in TypeScript. */

const CELL = 4; // pixels: components nearer than that are one
const LUNGS = 2;

/** A grid of numbers, row by row. */
export interface Grid {
  width: number;
  height: number;
  data: Float32Array<ArrayBuffer>;
}

/** Returns the probabilities, set to 0 in all but the two largest components. */
export function keepLungs(grid: Grid, threshold: number): Grid {
  const columns = grid.width / CELL;
  const rows = grid.height / CELL;
  const share = new Float64Array(columns * rows); // pixels of each cell that are inside
  for (let row = 0; row < grid.height; row++) {
    for (let column = 0; column < grid.width; column++) {
      if (grid.data[row * grid.width + column]! < threshold) continue;
      const cell = Math.floor(row / CELL) * columns + Math.floor(column / CELL);
      share[cell] = share[cell]! + 1;
    }
  }
  const component = components(share, columns, rows);
  const areas = new Map<number, number>();
  component.forEach((number, cell) => {
    if (number) areas.set(number, (areas.get(number) ?? 0) + share[cell]!);
  });
  const largest = [...areas].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, LUNGS);
  const kept = new Set(largest.map(([number]) => number));
  const data = grid.data.map((probability, index) => {
    const row = Math.floor(index / grid.width);
    const cell = Math.floor(row / CELL) * columns + Math.floor((index % grid.width) / CELL);
    return component[cell] && !kept.has(component[cell]) ? 0 : probability;
  });
  return { ...grid, data };
}

/** Numbers connected cells (diagonals connect) by the largest place in each, from 1; 0 is outside. */
function components(share: Float64Array, columns: number, rows: number): Int32Array {
  const numbers = new Int32Array(share.length);
  for (let start = share.length - 1; start >= 0; start--) {
    if (!share[start] || numbers[start]) continue;
    const stack = [start];
    numbers[start] = start + 1;
    while (stack.length) {
      const cell = stack.pop()!;
      const [x, y] = [cell % columns, Math.floor(cell / columns)];
      for (let row = Math.max(0, y - 1); row <= Math.min(rows - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); column <= Math.min(columns - 1, x + 1); column++) {
          const near = row * columns + column;
          if (!share[near] || numbers[near]) continue;
          numbers[near] = start + 1;
          stack.push(near);
        }
      }
    }
  }
  return numbers;
}

/** Returns the share of a mask's pixels that are lung, 0..1. */
export function lungFraction(lungs: Grid, threshold: number): number {
  let inside = 0;
  for (const probability of lungs.data) if (probability >= threshold) inside++;
  return inside / lungs.data.length;
}

/** Returns how many pixels are lung at another size, e.g. the image's own: segmenter.mask_at. */
export function lungPixels(lungs: Grid, threshold: number, width: number, height: number): number {
  const across = steps(lungs.width, width);
  const down = steps(lungs.height, height);
  let inside = 0;
  for (let row = 0; row < height; row++) {
    const upper = down.lower[row]! * lungs.width;
    const under = down.upper[row]! * lungs.width;
    const weight = down.weight[row]!;
    for (let column = 0; column < width; column++) {
      const [left, right] = [across.lower[column]!, across.upper[column]!];
      const share = across.weight[column]!;
      const [a, b] = [lungs.data[upper + left]!, lungs.data[upper + right]!];
      const [c, d] = [lungs.data[under + left]!, lungs.data[under + right]!];
      const top = a + (b - a) * share;
      const bottom = c + (d - c) * share;
      if (Math.fround(top + (bottom - top) * weight) >= threshold) inside++;
    }
  }
  return inside;
}

/** Resizes bilinearly, pixel centres at halves, as tf.image.resize does. */
export function resizeGrid(grid: Grid, width: number, height: number): Grid {
  const across = steps(grid.width, width);
  const down = steps(grid.height, height);
  const data = new Float32Array(width * height);
  for (let row = 0; row < height; row++) {
    const upper = down.lower[row]! * grid.width;
    const under = down.upper[row]! * grid.width;
    for (let column = 0; column < width; column++) {
      const [left, right] = [across.lower[column]!, across.upper[column]!];
      const share = across.weight[column]!;
      const top = grid.data[upper + left]! * (1 - share) + grid.data[upper + right]! * share;
      const bottom = grid.data[under + left]! * (1 - share) + grid.data[under + right]! * share;
      data[row * width + column] = top + (bottom - top) * down.weight[row]!;
    }
  }
  return { width, height, data };
}

function steps(
  from: number,
  to: number,
): { lower: Int32Array; upper: Int32Array; weight: Float64Array } {
  const [lower, upper] = [new Int32Array(to), new Int32Array(to)];
  const weight = new Float64Array(to);
  for (let index = 0; index < to; index++) {
    const place = ((index + 0.5) * from) / to - 0.5;
    lower[index] = Math.max(0, Math.floor(place));
    upper[index] = Math.min(from - 1, Math.floor(place) + 1);
    weight[index] = place - Math.floor(place);
  }
  return { lower, upper, weight };
}

/**
 * Returns the outline of what reaches the threshold, as line segments x1, y1, x2, y2 in shares of
 * the image's width and height.
 */
export function outline(lungs: Grid, threshold: number): Float32Array {
  const { width, height, data } = lungs;
  const at = (x: number, y: number): number =>
    x < 0 || y < 0 || x >= width || y >= height ? -threshold : data[y * width + x]! - threshold;
  const segments: number[] = [];
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const corners = [at(x, y), at(x + 1, y), at(x + 1, y + 1), at(x, y + 1)] as const;
      const inside = corners.map((value) => value >= 0);
      const count = inside.filter(Boolean).length;
      if (count === 0 || count === 4) continue;
      const crossings: [number, number][] = [];
      for (let side = 0; side < 4; side++) {
        const next = (side + 1) % 4;
        if (inside[side] === inside[next]) continue;
        const share = corners[side]! / (corners[side]! - corners[next]!);
        const [fromX, fromY] = CORNERS[side]!;
        const [toX, toY] = CORNERS[next]!;
        crossings.push([
          (x + 0.5 + fromX + (toX - fromX) * share) / width,
          (y + 0.5 + fromY + (toY - fromY) * share) / height,
        ]);
      }
      for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
        segments.push(...crossings[pair]!, ...crossings[pair + 1]!);
      }
    }
  }
  return Float32Array.from(segments, (value) => Math.min(1, Math.max(0, value)));
}

const CORNERS = [
  [0, 0],
  [1, 0],
  [1, 1],
  [0, 1],
] as const;
