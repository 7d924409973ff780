/** DICOM to 8-bit grey: kerascxr.data.dicom in TypeScript. Source: DICOM PS3.3. */

import * as dicomParser from "dicom-parser";

import { display, type DisplayRules, type Lut } from "./dicom_display.ts";
import { readSamples } from "./dicom_samples.ts";
import { type Grey, ImageFileError, MAX_PIXELS } from "./limits.ts";
import { roundHalfToEven } from "./luma.ts";

type DataSet = dicomParser.DataSet;

const PREAMBLE = 128;
const DEFLATED = "1.2.840.10008.1.2.1.99";
const BIG_ENDIAN = "1.2.840.10008.1.2.2";
/** In order of preference: in the patient, at the detector, on the digitised film. */
const SPACINGS = [
  ["x00280030", "PixelSpacing"],
  ["x00181164", "ImagerPixelSpacing"],
  ["x00182010", "NominalScannedPixelSpacing"],
] as const;

export interface Spacing {
  rowMm: number;
  columnMm: number;
  attribute: string;
  /** PixelSpacingCalibrationType; "" if not given. */
  calibration: string;
}

export interface DicomImage extends Grey {
  spacing: Spacing | undefined;
  /** Label and value of what the page shows of the file; no name, date or number of a patient. */
  facts: [string, string][];
  modality: string;
}

export function isDicom(bytes: Uint8Array): boolean {
  return String.fromCharCode(...bytes.subarray(PREAMBLE, PREAMBLE + 4)) === "DICM";
}

/** Decodes a DICOM file's bytes. */
export async function decodeDicom(bytes: Uint8Array<ArrayBuffer>): Promise<DicomImage> {
  const dataset = parse(bytes);
  const frames = count(dataset, "x00280008", "NumberOfFrames", 1);
  if (frames > 1) throw new ImageFileError(`holds ${frames} frames`);
  if (!dataset.elements.x7fe00010) {
    throw new ImageFileError("is a DICOM file without an image");
  }
  const height = count(dataset, "x00280010", "Rows", 0);
  const width = count(dataset, "x00280011", "Columns", 0);
  if (!(height * width > 0 && height * width <= MAX_PIXELS)) {
    const most = `not 1 to ${MAX_PIXELS / 1e6} million`;
    throw new ImageFileError(`claims ${width} x ${height} pixels, ${most}`);
  }
  try {
    const data = await readGrey(dataset, bytes, width, height);
    return { width, height, data, spacing: readSpacing(dataset), facts: readFacts(dataset), modality: modalityOf(dataset) };
  } catch (error) {
    if (error instanceof ImageFileError) throw error;
    throw new ImageFileError("is a DICOM file that cannot be decoded");
  }
}

function parse(bytes: Uint8Array): DataSet {
  let header: DataSet;
  try {
    header = dicomParser.readPart10Header(bytes);
  } catch {
    throw new ImageFileError("is a damaged DICOM file");
  }
  if (text(header, "x00020010") === DEFLATED) {
    throw new ImageFileError("is a DICOM file deflated as a whole, which is not read");
  }
  try {
    return dicomParser.parseDicom(bytes, {
      vrCallback: (tag: string) => (tag === "x00283000" || tag === "x00283010" ? "SQ" : undefined),
    } as unknown as dicomParser.ParseDicomOptions);
  } catch (error) {
    // A last element that states too much is no loss if the pixels are there.
    const partly = (error as { dataSet?: DataSet } | undefined)?.dataSet;
    if (!partly?.elements.x7fe00010) throw new ImageFileError("is a damaged DICOM file");
    Object.assign(partly.elements, header.elements);
    return partly;
  }
}

async function readGrey(
  dataset: DataSet,
  bytes: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const samples = Math.max(1, dataset.uint16("x00280002") ?? 1);
  const allocated = dataset.uint16("x00280100") ?? 0;
  const stored = dataset.uint16("x00280101") ?? allocated;
  const signed = (dataset.uint16("x00280103") ?? 0) === 1;
  const kind = text(dataset, "x00280004");
  if (![8, 16, 32].includes(allocated)) {
    const bits = allocated === 1 ? "1 bit" : `${allocated} bits`;
    throw new ImageFileError(`is a DICOM file of ${bits} a pixel, which this page does not read`);
  }
  if (!(stored >= 1 && stored <= allocated) || (samples !== 1 && samples !== 3)) {
    throw new ImageFileError("is a damaged DICOM file");
  }
  const syntax = text(dataset, "x00020010");
  const planar = (dataset.uint16("x00280006") ?? 0) === 1;
  const layout = { width, height, samples, allocated, stored, signed, planar, kind, syntax };
  const values = await readSamples(dataset, bytes, layout);
  if (samples === 3) return lumaOf(values, 2 ** stored - 1);
  if (kind !== "MONOCHROME1" && kind !== "MONOCHROME2") {
    const shown = kind.replace(/[^A-Z0-9_ ]/g, "?").slice(0, 16);
    throw new ImageFileError(`has the colours ${shown}, which are not read`);
  }
  const rules = readRules(dataset, { allocated, stored, signed, littleEndian: syntax !== BIG_ENDIAN });
  const grey = display(values, rules);
  if (kind === "MONOCHROME1") {
    for (let index = 0; index < grey.length; index++) grey[index] = 255 - grey[index]!;
  }
  return grey;
}

function lumaOf(values: ArrayLike<number>, full: number): Uint8Array<ArrayBuffer> {
  const grey = new Uint8Array(values.length / 3);
  for (let index = 0; index < grey.length; index++) {
    const at = 3 * index;
    const value = values[at]! * 0.299 + values[at + 1]! * 0.587 + values[at + 2]! * 0.114;
    grey[index] = Math.min(255, Math.max(0, roundHalfToEven(value * (255 / full))));
  }
  return grey;
}

interface Storage {
  allocated: number;
  stored: number;
  signed: boolean;
  littleEndian: boolean;
}

function readRules(dataset: DataSet, storage: Storage): DisplayRules {
  const modality = readLut(dataset, "x00283000", storage);
  const [slope, intercept] = [number(dataset, "x00281053"), number(dataset, "x00281052")];
  const rescaled = !modality && slope !== undefined && intercept !== undefined;
  return {
    bitsStored: storage.stored,
    signed: storage.signed,
    modality,
    voi: readLut(dataset, "x00283010", storage),
    slope: rescaled ? slope : undefined,
    intercept: rescaled ? intercept : undefined,
    center: number(dataset, "x00281050"),
    width: number(dataset, "x00281051"),
    voiFunction: text(dataset, "x00281056").toUpperCase() || "LINEAR",
    padding: readPadding(dataset, storage),
  };
}

/** Returns the ends of PixelPaddingValue and PixelPaddingRangeLimit as pixels store them. */
function readPadding(dataset: DataSet, storage: Storage): [number, number] | undefined {
  const [value, limit] = ["x00280120", "x00280121"].map((tag) => {
    const word = dataset.uint16(tag);
    if (word === undefined) return undefined;
    const vr = dataset.elements[tag]?.vr;
    const negative = word >= 32768 && (vr ? vr === "SS" : storage.signed);
    const size = 2 ** storage.allocated;
    const unsigned = (negative ? word - 65536 + size : word) % size;
    return storage.signed && unsigned >= size / 2 ? unsigned - size : unsigned;
  });
  if (value === undefined) return undefined;
  return [Math.min(value, limit ?? value), Math.max(value, limit ?? value)];
}

function readLut(dataset: DataSet, tag: string, storage: Storage): Lut | undefined {
  const item = dataset.elements[tag]?.items?.[0]?.dataSet;
  const descriptor = item?.elements.x00283002;
  const data = item?.elements.x00283006;
  if (!item || !descriptor || !data) return undefined;
  const bytes = item.byteArray as Uint8Array;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number): number => view.getUint16(at, storage.littleEndian);
  if (descriptor.length < 6) throw new ImageFileError("is a damaged DICOM file");
  const entries = word(descriptor.dataOffset) || 65536;
  let first = word(descriptor.dataOffset + 2);
  const bits = word(descriptor.dataOffset + 4);
  const ambiguous = !descriptor.vr || descriptor.vr === "xs";
  const signed = ambiguous ? storage.signed : descriptor.vr === "SS";
  if (signed && first >= 32768) first -= 65536;
  if (!(bits >= 1 && bits <= 16)) {
    throw new ImageFileError(`has a lookup table with entries of ${bits} bits, not 1 to 16`);
  }
  const words = Math.floor(data.length / 2);
  const inBytes = bits <= 8 && words === (entries + 1) >> 1 && words < entries;
  const length = inBytes ? words * 2 : words;
  if (length < entries) {
    const states = `not ${entries} as it states`;
    throw new ImageFileError(`has a lookup table of ${length} entries, ${states}`);
  }
  const table = new Uint16Array(entries);
  for (let index = 0; index < entries; index++) {
    if (!inBytes) {
      table[index] = word(data.dataOffset + 2 * index);
      continue;
    }
    const pair = word(data.dataOffset + 2 * (index >> 1));
    table[index] = index % 2 ? pair >> 8 : pair & 255;
  }
  return { first, bits, table };
}

function readSpacing(dataset: DataSet): Spacing | undefined {
  for (const [tag, attribute] of SPACINGS) {
    const given = text(dataset, tag).split("\\");
    const [rowMm, columnMm] = given.map((part) => (part.trim() ? Number(part) : NaN));
    if (given.length !== 2 || !positive(rowMm) || !positive(columnMm)) continue;
    const calibration = attribute === "PixelSpacing" ? text(dataset, "x00280a02") : "";
    return { rowMm, columnMm, attribute, calibration: word(calibration) };
  }
  return undefined;
}

function positive(value: number | undefined): value is number {
  return value !== undefined && Number.isFinite(value) && value > 0;
}

function readFacts(dataset: DataSet): [string, string][] {
  const facts: [string, string][] = [];
  const add = (label: string, value: string): void => {
    if (value) facts.push([label, value]);
  };
  add("Modality", modalityOf(dataset));
  add("View", word(text(dataset, "x00185101")));
  add("Grey scale", word(text(dataset, "x00280004")));
  const center = number(dataset, "x00281050");
  const width = number(dataset, "x00281051");
  if (dataset.elements.x00283010?.items?.length) add("Window", "the file's lookup table");
  else if (center !== undefined && width !== undefined) {
    add("Window", `centre ${center}, width ${width}, as the file states`);
  } else add("Window", "lowest to highest value");
  return facts;
}

function modalityOf(dataset: DataSet): string {
  return word(text(dataset, "x00080060"));
}

/** Keeps a code string to the letters that one may have, and short. */
function word(value: string): string {
  return value.replace(/[^A-Za-z0-9_ -]/g, "").slice(0, 16).trim();
}

function text(dataset: DataSet, tag: string): string {
  return (dataset.string(tag) ?? "").trim();
}

/** Returns the first value of a decimal string; undefined if it is absent or empty. */
function number(dataset: DataSet, tag: string): number | undefined {
  const first = text(dataset, tag).split("\\")[0]!.trim();
  if (!first) return undefined;
  const value = Number(first);
  if (!Number.isFinite(value)) throw new ImageFileError("is a damaged DICOM file");
  return value;
}

/** Returns an element's whole number: Rows and Columns are binary, NumberOfFrames is text. */
function count(dataset: DataSet, tag: string, name: string, otherwise: number): number {
  const element = dataset.elements[tag];
  if (!element?.length) return otherwise;
  const binary = tag !== "x00280008";
  const value = binary ? dataset.uint16(tag) : Number(text(dataset, tag) || otherwise);
  if (value === undefined || !Number.isInteger(value) || (binary && element.length !== 2)) {
    throw new ImageFileError(`is a DICOM file whose ${name} is not a number`);
  }
  return value || otherwise;
}
