/** EXIF orientation: kerascxr.data.exif in TypeScript. Source: CIPA DC-008, sections 4.5 and 4.6. */

import type { Grey } from "./limits.ts";

const ORIENTATION = 0x0112;
const MOST_ENTRIES = 200;
const LONG = 4; // the type of a tag's value; a SHORT fills the first half of its place

/** Returns the orientation, 1 to 8, in a TIFF block's first directory; 1 if there is none. */
export function tiffOrientation(block: Uint8Array): number {
  const value = tiffTag(block, ORIENTATION);
  return value >= 1 && value <= 8 ? value : 1;
}

/** Returns the number that a tag has in a TIFF block's first directory; 1 if there is none. */
export function tiffTag(block: Uint8Array, tag: number): number {
  if (block.length < 14) return 1;
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const order = view.getUint16(0);
  const little = order === 0x4949;
  if (!little && order !== 0x4d4d) return 1;
  const directory = view.getUint32(4, little);
  if (directory + 2 > block.length) return 1;
  const entries = Math.min(view.getUint16(directory, little), MOST_ENTRIES);
  for (let index = 0; index < entries; index++) {
    const place = directory + 2 + 12 * index;
    if (place + 12 > block.length) return 1;
    if (view.getUint16(place, little) !== tag) continue;
    const isLong = view.getUint16(place + 2, little) === LONG;
    return isLong ? view.getUint32(place + 8, little) : view.getUint16(place + 8, little);
  }
  return 1;
}

/** Turns an image upright. */
export function applyOrientation(image: Grey, orientation: number): Grey {
  if (orientation === 1) return image;
  const { width, height, data } = image;
  const transposed = orientation >= 5;
  const flipRows = [3, 4, 7, 8].includes(orientation);
  const flipColumns = [2, 3, 6, 7].includes(orientation);
  const newWidth = transposed ? height : width;
  const newHeight = transposed ? width : height;
  const turned = new Uint8Array(data.length);
  for (let row = 0; row < newHeight; row++) {
    const from = flipRows ? newHeight - 1 - row : row;
    for (let column = 0; column < newWidth; column++) {
      const across = flipColumns ? newWidth - 1 - column : column;
      const source = transposed ? across * width + from : from * width + across;
      turned[row * newWidth + column] = data[source]!;
    }
  }
  return { width: newWidth, height: newHeight, data: turned };
}
