/**
 * PNG to 8-bit grey. A canvas reads 16 bits as 8, multiplies by transparency and follows colour
 * profiles; this decoder does none of that, and its pixels are those of the package. It unpacks a
 * row at a time and no more rows than the header claims.
 */

import { tiffOrientation, applyOrientation } from "./exif.ts";
import { BIT_DEPTHS, checkSize, type Grey, ImageFileError } from "./limits.ts";
import { lumaOnBlack, roundHalfToEven } from "./luma.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const PALETTE = 3; // a colour type
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS: Record<number, number[]> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};
/** Adam7: first column, first row, step of columns, step of rows. */
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

interface Header {
  width: number;
  height: number;
  depth: number;
  colour: number;
  interlaced: boolean;
}

interface Chunks {
  header: Header;
  palette: Uint8Array;
  transparency: Uint8Array | undefined;
  orientation: number;
  pixels: Uint8Array<ArrayBuffer>[];
}

const CRC_TABLE = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (let index = 0; index < bytes.length; index++) {
    value = CRC_TABLE[(value ^ bytes[index]!) & 255]! ^ (value >>> 8);
  }
  return (value ^ 0xffffffff) >>> 0;
}

export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((value, index) => bytes[index] === value);
}

/** Decodes a PNG file's bytes. */
export async function decodePng(bytes: Uint8Array<ArrayBuffer>): Promise<Grey> {
  const chunks = readChunks(bytes);
  const grey = await readPixels(chunks);
  return applyOrientation(grey, chunks.orientation);
}

function readChunks(bytes: Uint8Array<ArrayBuffer>): Chunks {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let header: Header | undefined;
  let palette: Uint8Array = new Uint8Array(0);
  let transparency: Uint8Array | undefined;
  let orientation = 1;
  const pixels: Uint8Array<ArrayBuffer>[] = [];
  let place = 8;
  for (;;) {
    if (place + 12 > bytes.length) throw new ImageFileError("is truncated");
    const length = view.getUint32(place);
    const end = place + 8 + length;
    if (end + 4 > bytes.length) throw new ImageFileError("is truncated");
    const name = String.fromCharCode(...bytes.subarray(place + 4, place + 8));
    const data = bytes.subarray(place + 8, end);
    if (!header && name !== "IHDR") throw new ImageFileError("is damaged (it has no header)");
    if (name === "IHDR") {
      header = readHeader(data);
    } else if (name === "PLTE") {
      palette = data;
    } else if (name === "tRNS") {
      transparency = data;
    } else if (name === "eXIf" && !pixels.length && orientation === 1) {
      orientation = tiffOrientation(data);
    } else if (name === "IDAT") {
      pixels.push(data);
    } else if (name === "acTL") {
      throw new ImageFileError("is an animation, not one image");
    }
    if (crc32(bytes.subarray(place + 4, end)) !== view.getUint32(end)) {
      throw new ImageFileError(`is damaged (a wrong check sum in ${printable(name)})`);
    }
    if (name === "IEND") break;
    place = end + 4;
  }
  if (!pixels.length) throw new ImageFileError("is damaged (it has no pixels)");
  if (header?.colour === PALETTE && palette.length < 3) {
    throw new ImageFileError("is damaged (it has no palette)");
  }
  return { header: header!, palette, transparency, orientation, pixels };
}

function printable(name: string): string {
  return name.replace(/[^A-Za-z]/g, "?");
}

function readHeader(data: Uint8Array): Header {
  if (data.length !== 13) throw new ImageFileError("is damaged (its header is not whole)");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const width = view.getUint32(0);
  const height = view.getUint32(4);
  const [depth, colour, compression, filter, interlace] = [...data.subarray(8)] as [
    number,
    number,
    number,
    number,
    number,
  ];
  if (!DEPTHS[colour]?.includes(depth) || compression || filter || interlace > 1) {
    throw new ImageFileError("is damaged (its header is not one of PNG)");
  }
  checkSize(width, height);
  return { width, height, depth, colour, interlaced: interlace === 1 };
}

async function readPixels(chunks: Chunks): Promise<Grey> {
  const { width, height, depth, colour, interlaced } = chunks.header;
  const deep = colour === 0 && depth === 16;
  const grey = new Uint8Array(deep ? 0 : width * height);
  const values = new Uint16Array(deep ? width * height : 0);
  const toGrey = deep ? undefined : greyOf(chunks);
  const bits = depth * CHANNELS[colour]!;
  const source = new RowSource(chunks.pixels);
  try {
    for (const [left, top, across, down] of interlaced ? PASSES : [[0, 0, 1, 1] as const]) {
      const columns = Math.ceil((width - left) / across);
      const rows = Math.ceil((height - top) / down);
      if (columns <= 0 || rows <= 0) continue;
      const length = Math.ceil((columns * bits) / 8);
      let above = new Uint8Array(length);
      for (let row = 0; row < rows; row++) {
        const line = await source.take(length + 1);
        const raw = line.subarray(1);
        unfilter(line[0]!, raw, above, Math.max(1, bits >> 3));
        const start = (top + row * down) * width + left;
        if (toGrey) {
          toGrey(raw, grey, start, across, columns);
        } else {
          for (let column = 0; column < columns; column++) {
            values[start + column * across] = (raw[2 * column]! << 8) | raw[2 * column + 1]!;
          }
        }
        above = raw;
      }
    }
  } finally {
    await source.close();
  }
  return { width, height, data: deep ? scaleDeep(values) : grey };
}

/** Divides by the smallest full scale that holds the maximum: see files.read_grey. */
export function scaleDeep(values: Uint16Array): Uint8Array<ArrayBuffer> {
  let largest = 0;
  for (let index = 0; index < values.length; index++) {
    if (values[index]! > largest) largest = values[index]!;
  }
  const full = BIT_DEPTHS.map((bits) => 2 ** bits - 1).find((scale) => scale >= largest)!;
  const table = new Uint8Array(full + 1);
  for (let value = 0; value <= full; value++) {
    table[value] = roundHalfToEven(value * (255 / full));
  }
  const grey = new Uint8Array(values.length);
  for (let index = 0; index < values.length; index++) grey[index] = table[values[index]!]!;
  return grey;
}

type ToGrey = (
  raw: Uint8Array,
  grey: Uint8Array,
  start: number,
  step: number,
  columns: number,
) => void;

/** Returns what turns a row of the file into grey pixels. */
function greyOf({ header, palette, transparency }: Chunks): ToGrey {
  const { depth, colour } = header;
  const channels = CHANNELS[colour]!;
  if (colour === PALETTE) {
    const table = paletteGreys(palette, transparency);
    return (raw, grey, start, step, columns) => {
      for (let column = 0; column < columns; column++) {
        grey[start + column * step] = table[sample(raw, column, depth)]!;
      }
    };
  }
  if (channels === 1) {
    const scale = depth < 8 ? 255 / (2 ** depth - 1) : 1;
    // The package ignores a transparent grey of less than 8 bits.
    const clear = depth === 8 && transparency && transparency.length >= 2 ? transparency[1]! : -1;
    return (raw, grey, start, step, columns) => {
      for (let column = 0; column < columns; column++) {
        const value = sample(raw, column, depth);
        grey[start + column * step] = value === clear ? 0 : value * scale;
      }
    };
  }
  const size = depth / 8; // bytes a sample; of 16 bits the upper 8 count
  const clear = transparency && channels === 3 && transparency.length >= 6 ? transparency : null;
  return (raw, grey, start, step, columns) => {
    for (let column = 0; column < columns; column++) {
      const at = column * channels * size;
      const red = raw[at]!;
      const green = channels > 2 ? raw[at + size]! : red;
      const blue = channels > 2 ? raw[at + 2 * size]! : red;
      let alpha = 255;
      if (channels % 2 === 0) alpha = raw[at + (channels - 1) * size]!;
      else if (clear && isClear(raw, at, size, clear)) alpha = 0;
      grey[start + column * step] = lumaOnBlack(red, green, blue, alpha);
    }
  };
}

function isClear(raw: Uint8Array, at: number, size: number, clear: Uint8Array): boolean {
  for (let channel = 0; channel < 3; channel++) {
    if (size === 2 && raw[at + 2 * channel] !== clear[2 * channel]) return false;
    if (raw[at + size * channel + size - 1] !== clear[2 * channel + 1]) return false;
  }
  return true;
}

function paletteGreys(palette: Uint8Array, transparency: Uint8Array | undefined): Uint8Array {
  const greys = new Uint8Array(256); // an index beyond the palette is black
  for (let index = 0; index < Math.min(256, Math.floor(palette.length / 3)); index++) {
    const [red, green, blue] = palette.subarray(3 * index, 3 * index + 3);
    greys[index] = lumaOnBlack(red!, green!, blue!, transparency?.[index] ?? 255);
  }
  return greys;
}

function sample(raw: Uint8Array, column: number, depth: number): number {
  if (depth === 8) return raw[column]!;
  const bit = column * depth;
  return (raw[bit >> 3]! >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
}

/** Undoes a row's filter in place. Source: PNG 3rd edition, section 9. */
function unfilter(kind: number, raw: Uint8Array, above: Uint8Array, step: number): void {
  const n = raw.length;
  if (kind === 1) {
    for (let i = step; i < n; i++) raw[i] = raw[i]! + raw[i - step]!;
  } else if (kind === 2) {
    for (let i = 0; i < n; i++) raw[i] = raw[i]! + above[i]!;
  } else if (kind === 3) {
    for (let i = 0; i < n; i++) {
      raw[i] = raw[i]! + (((i < step ? 0 : raw[i - step]!) + above[i]!) >> 1);
    }
  } else if (kind === 4) {
    for (let i = 0; i < n; i++) {
      const left = i < step ? 0 : raw[i - step]!;
      const corner = i < step ? 0 : above[i - step]!;
      const up = above[i]!;
      const estimate = left + up - corner;
      const toLeft = Math.abs(estimate - left);
      const toUp = Math.abs(estimate - up);
      const toCorner = Math.abs(estimate - corner);
      raw[i] =
        raw[i]! +
        (toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner);
    }
  } else if (kind !== 0) {
    throw new ImageFileError("is damaged (an unknown filter)");
  }
}

/** Unpacks deflated data piece by piece, as far as rows are asked for. */
class RowSource {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private piece: Uint8Array = new Uint8Array(0);
  private place = 0;

  constructor(parts: Uint8Array<ArrayBuffer>[]) {
    const unpacked = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
    this.reader = unpacked.getReader();
  }

  /** Returns the next bytes, in memory of their own. */
  async take(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const taken = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      if (this.place === this.piece.length) await this.next();
      const n = Math.min(length - filled, this.piece.length - this.place);
      taken.set(this.piece.subarray(this.place, this.place + n), filled);
      this.place += n;
      filled += n;
    }
    return taken;
  }

  private async next(): Promise<void> {
    let result;
    try {
      result = await this.reader.read();
    } catch {
      throw new ImageFileError("is damaged (its pixels cannot be unpacked)");
    }
    if (result.done) throw new ImageFileError("is truncated");
    this.piece = result.value;
    this.place = 0;
  }

  /** Stops unpacking. */
  async close(): Promise<void> {
    await this.reader.cancel().catch(() => undefined);
  }
}
