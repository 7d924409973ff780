import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, deflateSync } from "node:zlib";

import { display, type DisplayRules } from "../src/dicom_display.ts";
import { applyOrientation, tiffOrientation } from "../src/exif.ts";
import { lumaOnBlack, roundHalfToEven } from "../src/luma.ts";
import { decodePng, scaleDeep } from "../src/png.ts";

function chunk(name: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(name), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

function png(width: number, height: number, depth: number, colour: number, raw: number[]): Uint8Array<ArrayBuffer> {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colour], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const pixels = deflateSync(Uint8Array.from(raw));
  const parts = [signature, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))];
  return Uint8Array.from(Buffer.concat(parts));
}

test("the filters of PNG are undone", async () => {
  const rows = [[0, 10, 20, 30], [1, 5, 5, 5], [2, 1, 1, 1], [3, 4, 4, 4], [4, 1, 2, 3]];
  const image = await decodePng(png(3, 5, 8, 0, rows.flat()));
  assert.deepEqual([...image.data], [10, 20, 30, 5, 10, 15, 6, 11, 16, 7, 13, 18, 8, 15, 21]);
});

test("few bits are spread over the grey scale", async () => {
  const image = await decodePng(png(4, 1, 2, 0, [0, 0b00011011]));
  assert.deepEqual([...image.data], [0, 85, 170, 255]);
});

test("a truncated PNG and a wrong check sum are refused", async () => {
  const whole = png(1, 1, 8, 0, [0, 7]);
  await assert.rejects(decodePng(whole.slice(0, -5)), /is truncated/);
  const wrong = whole.slice();
  wrong[whole.length - 1] = 0;
  await assert.rejects(decodePng(wrong), /wrong check sum/);
  await assert.rejects(decodePng(png(1, 2, 8, 0, [0, 7])), /is truncated/);
  await assert.rejects(decodePng(png(30_000, 30_000, 8, 0, [])), /more than 80 million/);
});

test("16 bits are scaled by the smallest full scale that holds the maximum", () => {
  assert.deepEqual([...scaleDeep(Uint16Array.of(0, 4095))], [0, 255]);
  assert.deepEqual([...scaleDeep(Uint16Array.of(0, 4096))], [0, 64]);
  assert.deepEqual([...scaleDeep(Uint16Array.of(0, 255))], [0, 255]);
});

test("halves are rounded to the even number", () => {
  assert.deepEqual([0.5, 1.5, 2.5, -0.5, 2.49].map(roundHalfToEven).map(Math.abs), [0, 2, 2, 0, 2]);
});

test("transparent pixels are black", () => {
  assert.equal(lumaOnBlack(255, 255, 255, 0), 0);
  assert.equal(lumaOnBlack(200, 200, 200, 255), 200);
});

test("the eight orientations put the marked corner where a viewer shows it", () => {
  const image = { width: 3, height: 2, data: Uint8Array.of(1, 0, 0, 0, 0, 0) };
  const places = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => applyOrientation(image, n).data.indexOf(1));
  assert.deepEqual(places, [0, 2, 5, 3, 0, 1, 5, 4]);
  assert.equal(applyOrientation(image, 6).width, 2);
});

test("a damaged TIFF block is upright", () => {
  assert.equal(tiffOrientation(new Uint8Array(3)), 1);
  assert.equal(tiffOrientation(Uint8Array.from({ length: 40 }, () => 255)), 1);
});

const PLAIN: DisplayRules = {
  bitsStored: 12,
  signed: false,
  modality: undefined,
  voi: undefined,
  slope: undefined,
  intercept: undefined,
  center: undefined,
  width: undefined,
  voiFunction: "LINEAR",
  padding: undefined,
};

test("without a window the lowest and the highest value become black and white", () => {
  assert.deepEqual([...display(Uint16Array.of(100, 210, 300), PLAIN)], [0, 140, 255]);
});

test("a window cuts what is outside, after the rescaling", () => {
  const rules = { ...PLAIN, slope: 2, intercept: -100, center: 100.5, width: 101 };
  assert.deepEqual([...display(Uint16Array.of(0, 75, 102, 125, 4095), rules)], [0, 0, 138, 255, 255]);
});

test("a negative slope does not turn a window round", () => {
  const rules = { ...PLAIN, slope: -1, intercept: 4095, center: 2048, width: 4096 };
  assert.deepEqual([...display(Uint16Array.of(0, 4095), rules)], [255, 0]);
});

test("padding is not in the range, unless there is one value beside it", () => {
  const rules: DisplayRules = { ...PLAIN, padding: [0, 9] };
  assert.deepEqual([...display(Uint16Array.of(0, 9, 100, 200), rules)], [0, 0, 0, 255]);
  assert.deepEqual([...display(Uint16Array.of(0, 200), rules)], [0, 255]);
});

test("a lookup table gives its ends outside of it", () => {
  const voi = { first: 10, bits: 8, table: Uint16Array.of(5, 6, 7) };
  assert.deepEqual([...display(Uint16Array.of(0, 11, 99), { ...PLAIN, voi })], [5, 6, 7]);
});
