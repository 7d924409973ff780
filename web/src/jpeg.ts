/**
 * JPEG to 8-bit grey by the browser's own decoder, which is libjpeg-turbo's as the package's is.
 * What would change pixels (orientation, colour profiles) is cut out of the file before.
 */

import { applyOrientation, tiffOrientation, tiffTag } from "./exif.ts";
import { checkSize, type Grey, ImageFileError } from "./limits.ts";
import { luma } from "./luma.ts";

const PICTURES = 0xb001; // a tag
const GAIN_MAP = ' hdrgm:Version="';
const STRIP = 2 ** 20; // pixels read from the canvas at a time

/** What a JPEG's segments before its pixels say, and the file without what changes pixels. */
export interface JpegParts {
  width: number;
  height: number;
  components: number;
  precision: number;
  orientation: number;
  /** How many pictures the file holds; a gain map (Ultra HDR) is none. */
  pictures: number;
  /** Whether an Adobe segment states the colours' transform. */
  adobe: boolean;
  file: BlobPart[];
}

export function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

/** Decodes a JPEG file's bytes. */
export async function decodeJpeg(bytes: Uint8Array<ArrayBuffer>): Promise<Grey> {
  const parts = readSegments(bytes);
  if (parts.precision !== 8) {
    throw new ImageFileError(`is a JPEG of ${parts.precision} bits, which browsers do not read`);
  }
  if (parts.components === 4) {
    throw new ImageFileError("is a JPEG of four colours (CMYK), which this page does not read");
  }
  if (parts.pictures > 1) throw new ImageFileError(`holds ${parts.pictures} frames`);
  const grey = new Uint8Array(parts.width * parts.height);
  await readByBrowser(parts, (pixels, start) => {
    for (let index = 0; index < pixels.length / 4; index++) {
      const at = 4 * index;
      grey[start + index] = luma(pixels[at]!, pixels[at + 1]!, pixels[at + 2]!);
    }
  });
  const image = { width: parts.width, height: parts.height, data: grey };
  return applyOrientation(image, parts.orientation);
}

/**
 * Reads a JPEG's segments up to its pixels.
 *
 * Application segments are left out of the file that is returned, but for JFIF's and Adobe's, which
 * say how colours are stored. JFIF's is left out too where `colours` is false.
 */
export function readSegments(bytes: Uint8Array<ArrayBuffer>, colours = true): JpegParts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const file: BlobPart[] = [bytes.subarray(0, 2)];
  let frame: Pick<JpegParts, "width" | "height" | "components" | "precision"> | undefined;
  let orientation = 1;
  let pictures = 1;
  let gainMap = false;
  let exif = false;
  let adobe = false;
  let place = 2;
  for (;;) {
    if (place + 4 > bytes.length) throw new ImageFileError("is truncated");
    if (bytes[place] !== 0xff) throw new ImageFileError("is damaged (no JPEG segment)");
    const marker = bytes[place + 1]!;
    if (marker === 0xff) {
      place += 1; // fill bytes
      continue;
    }
    const length = view.getUint16(place + 2);
    const end = place + 2 + length;
    if (length < 2) throw new ImageFileError("is damaged (a segment without length)");
    if (end > bytes.length) throw new ImageFileError("is truncated");
    const data = bytes.subarray(place + 4, end);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame && !frame) {
      if (data.length < 6) throw new ImageFileError("is damaged (its header is not whole)");
      const sizes = new DataView(data.buffer, data.byteOffset, data.byteLength);
      const [height, width] = [sizes.getUint16(1), sizes.getUint16(3)];
      frame = { width, height, precision: data[0]!, components: data[5]! };
      checkSize(width, height);
    }
    if (marker === 0xe1 && !exif && startsWith(data, "Exif\0\0")) {
      exif = true;
      orientation = tiffOrientation(data.subarray(6));
    }
    if (marker === 0xe1) gainMap ||= new TextDecoder("latin1").decode(data).includes(GAIN_MAP);
    if (marker === 0xe2 && startsWith(data, "MPF\0")) pictures = tiffTag(data.subarray(4), PICTURES);
    const isAdobe = marker === 0xee && startsWith(data, "Adobe");
    adobe ||= isAdobe;
    const first = colours ? 0xe1 : 0xe0;
    const application = (marker >= first && marker <= 0xef) || marker === 0xfe;
    if (!application || isAdobe) file.push(bytes.subarray(place, end));
    place = end;
    if (marker === 0xda) break;
  }
  if (!frame) throw new ImageFileError("is damaged (it has no header)");
  const last = endOfImage(bytes, place);
  if (last < 0) throw new ImageFileError("is truncated");
  file.push(bytes.subarray(place, last));
  return { ...frame, orientation, pictures: gainMap ? 1 : pictures, adobe, file };
}

/** Returns the place behind the end marker; -1 without one. Within pixels 0xff never precedes 0xd9. */
function endOfImage(bytes: Uint8Array, start: number): number {
  let place = start;
  while ((place = bytes.indexOf(0xff, place)) >= 0) {
    if (bytes[place + 1] === 0xd9) return place + 2;
    place += 1;
  }
  return -1;
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return [...text].every((letter, index) => bytes[index] === letter.charCodeAt(0));
}

/**
 * Decodes by the browser, and hands over RGBA strip by strip.
 *
 * Raises an error if the browser changes pixels that pages read, as some do against fingerprinting.
 */
export async function readByBrowser(
  parts: JpegParts,
  take: (pixels: Uint8ClampedArray, start: number) => void,
): Promise<void> {
  const { width, height } = parts;
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob(parts.file, { type: "image/jpeg" }), {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new ImageFileError("is damaged (the browser cannot decode it)");
  }
  try {
    if (bitmap.width !== width || bitmap.height !== height) {
      throw new ImageFileError("is damaged (its size is not the one that it claims)");
    }
    const rows = Math.max(1, Math.floor(STRIP / width));
    const context = readableContext(width, Math.min(rows, height));
    for (let top = 0; top < height; top += rows) {
      const n = Math.min(rows, height - top);
      context.drawImage(bitmap, 0, top, width, n, 0, 0, width, n);
      take(context.getImageData(0, 0, width, n).data, top * width);
    }
  } finally {
    bitmap.close();
  }
}

let honest: boolean | undefined;

function readableContext(width: number, height: number): OffscreenCanvasRenderingContext2D {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  if (!context) throw new ImageFileError("cannot be decoded (the browser gives no canvas)");
  honest ??= readsBackWhatItWrote();
  if (!honest) {
    throw new ImageFileError(
      "cannot be decoded exactly: this browser alters pixels that pages read (its protection " +
        "against fingerprinting). Allow this page to read canvases, or convert to PNG",
    );
  }
  return context;
}

function readsBackWhatItWrote(): boolean {
  const side = 64;
  const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
  if (!context) return false;
  const written = new ImageData(side, side);
  for (let index = 0; index < written.data.length; index++) {
    written.data[index] = index % 4 === 3 ? 255 : (index * 37) % 256;
  }
  context.putImageData(written, 0, 0);
  const read = context.getImageData(0, 0, side, side).data;
  return read.every((value, index) => value === written.data[index]);
}
