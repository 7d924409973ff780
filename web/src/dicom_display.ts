/** A DICOM image's lookup tables, rescaling and window. Source: DICOM PS3.3, C.11.1 and C.11.2. */

import { ImageFileError } from "./limits.ts";
import { roundHalfToEven } from "./luma.ts";

export interface Lut {
  /** The value of the first entry. */
  first: number;
  bits: number;
  table: Uint16Array;
}

export interface DisplayRules {
  bitsStored: number;
  signed: boolean;
  modality: Lut | undefined;
  voi: Lut | undefined;
  slope: number | undefined;
  intercept: number | undefined;
  center: number | undefined;
  width: number | undefined;
  voiFunction: string;
  /** The lowest and the highest stored value that is padding around the picture. */
  padding: [number, number] | undefined;
}

export type Samples = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array;

/** Returns the image as on a screen, 0..255, before MONOCHROME1 is inverted. */
export function display(values: Samples, rules: DisplayRules): Uint8Array<ArrayBuffer> {
  if (values.BYTES_PER_ELEMENT > 2) return displayEach(Float64Array.from(values), rules);
  // Each value that occurs is computed once.
  const offset = 2 ** (8 * values.BYTES_PER_ELEMENT - 1);
  const places = new Int32Array(2 * offset + offset).fill(-1);
  for (let index = 0; index < values.length; index++) places[values[index]! + offset] = 0;
  const present: number[] = [];
  for (let place = 0; place < places.length; place++) {
    if (places[place] === 0) places[place] = present.push(place - offset) - 1;
  }
  const shown = displayEach(Float64Array.from(present), rules);
  const grey = new Uint8Array(values.length);
  for (let index = 0; index < values.length; index++) {
    grey[index] = shown[places[values[index]! + offset]!]!;
  }
  return grey;
}

function displayEach(stored: Float64Array, rules: DisplayRules): Uint8Array<ArrayBuffer> {
  const { modality, voi, slope, intercept } = rules;
  let values = stored;
  if (modality) values = lookUp(stored, modality);
  else if (slope !== undefined && intercept !== undefined) {
    values = stored.map((value) => value * slope + intercept);
  }
  if (voi) return toBytes(lookUp(values, voi), 0, 2 ** voi.bits - 1);
  if (rules.center === undefined || rules.width === undefined) {
    const [low, high] = ends(values.filter((_, place) => !isPadding(stored[place]!, rules)));
    return low < high ? toBytes(values, low, high) : toBytes(values, ...ends(values));
  }
  const [low, high] = fullRange(rules);
  const windowed = applyWindow(values, rules, rules.center, rules.width, low, high);
  if (low <= high) return toBytes(windowed, low, high);
  // By a negative slope; what is below the window is at the first end still.
  return toBytes(windowed.map((value) => -value), -low, -high);
}

function isPadding(stored: number, rules: DisplayRules): boolean {
  return !!rules.padding && stored >= rules.padding[0] && stored <= rules.padding[1];
}

function ends(values: Float64Array): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Returns the first and the last of the values that there can be. */
function fullRange(rules: DisplayRules): [number, number] {
  if (rules.modality) return [0, 2 ** rules.modality.bits - 1];
  const half = rules.signed ? 2 ** (rules.bitsStored - 1) : 0;
  const slope = rules.slope ?? 1;
  const intercept = rules.intercept ?? 0;
  return [
    -half * slope + intercept,
    (2 ** rules.bitsStored - 1 - half) * slope + intercept,
  ];
}

function applyWindow(
  values: Float64Array,
  rules: DisplayRules,
  center: number,
  width: number,
  low: number,
  high: number,
): Float64Array {
  const range = high - low;
  if (rules.voiFunction === "SIGMOID" && width > 0) {
    return values.map((value) => range / (1 + Math.exp((-4 * (value - center)) / width)) + low);
  }
  if (rules.voiFunction === "LINEAR" && width >= 1) {
    center -= 0.5;
    width -= 1;
  } else if (rules.voiFunction !== "LINEAR_EXACT" || width <= 0) {
    throw new ImageFileError("is a DICOM file whose window cannot be applied");
  }
  return values.map((value) => {
    if (value <= center - width / 2) return low;
    if (value > center + width / 2) return high;
    return ((value - center) / width + 0.5) * range + low;
  });
}

/** Returns the entries of a table; the first and the last for values outside of it. */
function lookUp(values: Float64Array, lut: Lut): Float64Array {
  const last = lut.table.length - 1;
  return values.map((value) => {
    const place = roundHalfToEven(value) - lut.first;
    return lut.table[Math.min(last, Math.max(0, place))]!;
  });
}

function toBytes(values: Float64Array, low: number, high: number): Uint8Array<ArrayBuffer> {
  const scale = 255 / Math.max(high - low, 1e-12);
  const bytes = new Uint8Array(values.length);
  for (let index = 0; index < values.length; index++) {
    bytes[index] = Math.min(255, Math.max(0, roundHalfToEven((values[index]! - low) * scale)));
  }
  return bytes;
}
