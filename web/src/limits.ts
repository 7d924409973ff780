/** Limits of kerascxr.data.files; what is claimed beyond them is never decoded. */
export const MAX_PIXELS = 80_000_000;
export const MAX_SIDE = 1_000_000;
/** 80 million pixels of 16-bit colour with transparency do not need more. */
export const MAX_BYTES = 700_000_000;
export const BIT_DEPTHS = [8, 10, 12, 14, 16];

/** A file that cannot be used; the text follows the file's name: "is truncated". */
export class ImageFileError extends Error {
  override name = "ImageFileError";
}

/** An 8-bit grey image, row by row. */
export interface Grey {
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer>;
}

/** Throws unless an image of this size may be decoded. */
export function checkSize(width: number, height: number): void {
  if (!(width > 0 && height > 0)) {
    throw new ImageFileError(`claims ${width} x ${height} pixels`);
  }
  if (width * height > MAX_PIXELS) {
    const most = `more than ${MAX_PIXELS / 1e6} million`;
    throw new ImageFileError(`claims ${width} x ${height} pixels, ${most}`);
  }
  if (Math.max(width, height) > MAX_SIDE) {
    throw new ImageFileError(`claims ${width} x ${height} pixels, a side over ${MAX_SIDE}`);
  }
}
