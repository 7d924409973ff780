/** The stored values of a DICOM image: uncompressed, RLE and JPEG Baseline. Source: DICOM PS3.5. */

import * as dicomParser from "dicom-parser";

import type { Samples } from "./dicom_display.ts";
import { readByBrowser, readSegments } from "./jpeg.ts";
import { ImageFileError } from "./limits.ts";

export interface Layout {
  width: number;
  height: number;
  /** Samples a pixel: 1 or 3. */
  samples: number;
  /** Bits allocated and stored for a sample. */
  allocated: number;
  stored: number;
  signed: boolean;
  /** Whether all red samples come first. */
  planar: boolean;
  kind: string;
  syntax: string;
}

const RLE = "1.2.840.10008.1.2.5";
const JPEG = ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"];
const BIG_ENDIAN = "1.2.840.10008.1.2.2";
const UNCOMPRESSED = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN];
const OTHERS: [RegExp, string][] = [
  [/^1\.2\.840\.10008\.1\.2\.4\.(57|70)$/, "JPEG Lossless"],
  [/^1\.2\.840\.10008\.1\.2\.4\.8[01]$/, "JPEG-LS"],
  [/^1\.2\.840\.10008\.1\.2\.4\.9[0-3]$/, "JPEG 2000"],
  [/^1\.2\.840\.10008\.1\.2\.4\.20[1-3]$/, "HTJ2K"],
  [/^1\.2\.840\.10008\.1\.2\.4\.1/, "video"],
];
const TRUNCATED = "is a DICOM file whose pixels are truncated";

/** Returns an image's values, the samples of a pixel side by side. */
export async function readSamples(
  dataset: dicomParser.DataSet,
  bytes: Uint8Array<ArrayBuffer>,
  layout: Layout,
): Promise<Samples> {
  const element = dataset.elements.x7fe00010!;
  if (UNCOMPRESSED.includes(layout.syntax)) {
    return uncompressed(bytes, element.dataOffset, element.length, element.vr, layout);
  }
  if (layout.syntax === RLE) {
    const { length, unpacked } = unpackRle(frameOf(dataset, element), layout);
    return toSamples(unpacked, length, { ...layout, planar: true }, true);
  }
  if (JPEG.includes(layout.syntax)) return jpegSamples(frameOf(dataset, element), layout);
  const name = OTHERS.find(([pattern]) => pattern.test(layout.syntax))?.[1] ?? "an unknown way";
  throw new ImageFileError(
    `is a DICOM file compressed by ${name}, which this page does not read (kerascxr predict may)`,
  );
}

function frameOf(
  dataset: dicomParser.DataSet,
  element: dicomParser.Element,
): Uint8Array<ArrayBuffer> {
  const n = element.fragments?.length ?? 0;
  if (!n) throw new ImageFileError(TRUNCATED);
  const frame = dicomParser.readEncapsulatedPixelDataFromFragments(dataset, element, 0, n);
  return Uint8Array.from(frame as Uint8Array);
}

function uncompressed(
  bytes: Uint8Array<ArrayBuffer>,
  offset: number,
  length: number,
  vr: string | undefined,
  layout: Layout,
): Samples {
  const big = layout.syntax === BIG_ENDIAN;
  let data = bytes.slice(offset, offset + length);
  if (big && layout.allocated === 8 && vr === "OW") data = swapPairs(data);
  if (layout.kind === "YBR_FULL_422" && layout.samples === 3) data = upsample422(data, layout);
  const needed = layout.width * layout.height * layout.samples * (layout.allocated / 8);
  if (data.length < needed) throw new ImageFileError(TRUNCATED);
  return toSamples(data, needed, layout, !big);
}

function swapPairs(data: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const swapped = new Uint8Array(data.length);
  for (let index = 0; index + 1 < data.length; index += 2) {
    swapped[index] = data[index + 1]!;
    swapped[index + 1] = data[index]!;
  }
  return swapped;
}

/** Turns Y Y Cb Cr of two pixels into Y Cb Cr of each. Source: PS3.3, C.7.6.3.1.2. */
function upsample422(data: Uint8Array, layout: Layout): Uint8Array<ArrayBuffer> {
  const pixels = layout.width * layout.height;
  if (layout.allocated !== 8 || data.length < pixels * 2) throw new ImageFileError(TRUNCATED);
  const full = new Uint8Array(pixels * 3);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const pair = 4 * (pixel >> 1);
    full[3 * pixel] = data[pair + (pixel & 1)]!;
    full[3 * pixel + 1] = data[pair + 2]!;
    full[3 * pixel + 2] = data[pair + 3]!;
  }
  return full;
}

function toSamples(
  data: Uint8Array<ArrayBuffer>,
  length: number,
  layout: Layout,
  littleEndian: boolean,
): Samples {
  const size = layout.allocated / 8;
  const n = length / size;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const values = emptySamples(n, layout);
  const unused = layout.allocated - layout.stored;
  const pixels = layout.width * layout.height;
  for (let index = 0; index < n; index++) {
    let value =
      size === 1
        ? data[index]!
        : size === 2
          ? view.getUint16(2 * index, littleEndian)
          : view.getUint32(4 * index, littleEndian);
    if (unused) value = (value << (32 - layout.stored)) >>> (32 - layout.stored);
    if (layout.signed) value = (value << (32 - layout.stored)) >> (32 - layout.stored);
    const planar = layout.planar && layout.samples > 1;
    const place = planar ? (index % pixels) * layout.samples + Math.floor(index / pixels) : index;
    values[place] = value;
  }
  return toRgb(values, layout);
}

function emptySamples(n: number, { allocated, signed }: Layout): Samples {
  if (allocated === 8) return signed ? new Int8Array(n) : new Uint8Array(n);
  if (allocated === 16) return signed ? new Int16Array(n) : new Uint16Array(n);
  return signed ? new Int32Array(n) : new Uint32Array(n);
}

/** Converts YBR_FULL to RGB in place, in the 32-bit floats of pydicom. */
function toRgb(values: Samples, layout: Layout): Samples {
  if (layout.samples !== 3 || !layout.kind.startsWith("YBR_FULL")) return values;
  if (layout.allocated !== 8 || layout.signed) throw new ImageFileError("is a DICOM file that cannot be decoded");
  const [f, clip] = [Math.fround, (v: number) => Math.min(255, Math.max(0, Math.floor(v)))];
  const [toRed, toBlue] = [f(1.402), f(1.772)];
  const [greenOfBlue, greenOfRed] = [f((-0.114 * 1.772) / 0.587), f((-0.299 * 1.402) / 0.587)];
  for (let at = 0; at + 2 < values.length; at += 3) {
    const [y, cb, cr] = [values[at]!, values[at + 1]! - 128, values[at + 2]! - 128];
    values[at] = clip(f(f(y + f(toRed * cr)) + 0.5));
    values[at + 1] = clip(f(f(f(y + f(greenOfBlue * cb)) + f(greenOfRed * cr)) + 0.5));
    values[at + 2] = clip(f(f(y + f(toBlue * cb)) + 0.5));
  }
  return values;
}

/** Unpacks RLE Lossless: a segment for each byte of each sample. Source: PS3.5, annex G. */
function unpackRle(
  frame: Uint8Array,
  layout: Layout,
): { length: number; unpacked: Uint8Array<ArrayBuffer> } {
  const size = layout.allocated / 8;
  const pixels = layout.width * layout.height;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const segments = layout.samples * size;
  if (frame.length < 64 || view.getUint32(0, true) !== segments) {
    throw new ImageFileError("is a DICOM file that cannot be decoded");
  }
  const unpacked = new Uint8Array(pixels * segments);
  for (let segment = 0; segment < segments; segment++) {
    const start = view.getUint32(4 + 4 * segment, true);
    const next = segment + 1 < segments ? view.getUint32(8 + 4 * segment, true) : frame.length;
    const sample = Math.floor(segment / size);
    const byte = size - 1 - (segment % size); // the highest byte comes first
    unpackSegment(frame.subarray(start, next), pixels, (index, value) => {
      unpacked[(sample * pixels + index) * size + byte] = value;
    });
  }
  return { length: unpacked.length, unpacked };
}

function unpackSegment(
  packed: Uint8Array,
  pixels: number,
  put: (index: number, value: number) => void,
): void {
  let place = 0;
  let index = 0;
  while (index < pixels) {
    const code = packed[place++];
    if (code === undefined) throw new ImageFileError(TRUNCATED);
    if (code === 128) continue;
    const n = Math.min(code < 128 ? code + 1 : 257 - code, pixels - index);
    for (let step = 0; step < n; step++) {
      const value = packed[code < 128 ? place + step : place];
      if (value === undefined) throw new ImageFileError(TRUNCATED);
      put(index++, value);
    }
    place += code < 128 ? code + 1 : 1;
  }
}

/** An Adobe segment that says: no transform of colours. */
const UNTRANSFORMED = Uint8Array.from([
  0xff, 0xee, 0, 14, 0x41, 0x64, 0x6f, 0x62, 0x65, 0, 100, 0, 0, 0, 0, 0,
]);

/** Decodes JPEG Baseline. The file's own colour space counts, so colours are read untransformed. */
async function jpegSamples(frame: Uint8Array<ArrayBuffer>, layout: Layout): Promise<Samples> {
  const { width, height, samples } = layout;
  let parts = readSegments(frame);
  if (parts.precision !== 8 || layout.stored !== 8 || layout.allocated !== 8) {
    throw new ImageFileError("is a DICOM file of JPEG with 12 bits, which browsers do not read");
  }
  if (parts.width !== width || parts.height !== height || parts.components !== samples) {
    throw new ImageFileError("is a DICOM file whose JPEG is not of the size that it states");
  }
  if (samples === 3 && !parts.adobe) {
    parts = readSegments(frame, false); // JFIF's segment would come before Adobe's
    parts.file.splice(1, 0, UNTRANSFORMED);
  }
  const values = new Uint8Array(width * height * samples);
  await readByBrowser(parts, (pixels, start) => {
    for (let index = 0; index < pixels.length / 4; index++) {
      for (let sample = 0; sample < samples; sample++) {
        values[(start + index) * samples + sample] = pixels[4 * index + sample]!;
      }
    }
  });
  return toRgb(values, layout);
}
