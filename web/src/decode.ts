/** Any file to 8-bit grey, or an error in one line. */

import { decodeDicom, isDicom, type Spacing } from "./dicom.ts";
import { decodeJpeg, isJpeg } from "./jpeg.ts";
import { type Grey, ImageFileError, MAX_BYTES } from "./limits.ts";
import { decodePng, isPng } from "./png.ts";

export interface Decoded extends Grey {
  format: "PNG" | "JPEG" | "DICOM";
  spacing?: Spacing | undefined;
  /** DICOM's, such as DX. */
  modality?: string | undefined;
  facts: [string, string][];
}

/** Decodes a file by its first bytes, whatever its name. */
export async function decodeFile(file: Blob): Promise<Decoded> {
  if (file.size === 0) throw new ImageFileError("is empty (0 bytes)");
  if (file.size > MAX_BYTES) {
    throw new ImageFileError(`has ${(file.size / 1e6).toFixed(0)} MB, which is too much`);
  }
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new ImageFileError("cannot be opened");
  }
  if (isPng(bytes)) return { ...(await decodePng(bytes)), format: "PNG", facts: [] };
  if (isJpeg(bytes)) return { ...(await decodeJpeg(bytes)), format: "JPEG", facts: [] };
  if (isDicom(bytes)) return { ...(await decodeDicom(bytes)), format: "DICOM" };
  throw new ImageFileError(whatItIs(bytes));
}

function whatItIs(bytes: Uint8Array): string {
  const start = new TextDecoder().decode(bytes.subarray(0, 512)).trimStart().toLowerCase();
  if (start.startsWith("<!doctype") || start.startsWith("<html")) return "is an HTML page, not an image";
  if (start.startsWith("<svg") || (start.startsWith("<?xml") && start.includes("<svg"))) {
    return "is an SVG drawing, not an X-ray";
  }
  if (/^(gif8|ii\*\0|mm\0\*|bm|riff....webp)/s.test(start)) {
    return "is of a format that this page does not read (kerascxr predict does): save it as PNG";
  }
  return "is not a PNG, JPEG or DICOM image";
}
