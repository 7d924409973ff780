import assert from "node:assert/strict";
import { test } from "node:test";

import { measureLungs, toAnswer, toCsv } from "../src/answer.ts";
import { percent } from "../src/dom.ts";
import { panned, WHOLE, windowTable, zoomed } from "../src/geometry.ts";
import { heatWeight } from "../src/heat.ts";
import { type LungChecks, lungFaults } from "../src/lung_faults.ts";
import { type Grid, keepLungs, lungPixels, outline } from "../src/lungs.ts";
import type { Model } from "../src/model.ts";
import { summary } from "../src/model_card.ts";

const MODEL = {
  classes: ["a", "b"],
  decision: { not_decided: "not decided", least: 0.5, in_every_set: [], coverage: 0.95 },
  warnings: [{ kind: "odd", text: "The image is odd." }],
  lungs: null,
} as unknown as Model;

const CHECKS: LungChecks = {
  grid: 64,
  share: [0.05, 0.5],
  across: [0.35, 0.65],
  down: [0.25, 0.6],
  widest_top: 1.03,
  reasons: { empty: "none", share: "small or large", place: "aside", way_up: "upside down" },
};
const LUNGS = { name: "U-Net", size: [32, 32] as [number, number], threshold: 0.5, checks: CHECKS };

function outputs(warned: boolean): Parameters<typeof toAnswer>[1] {
  return {
    probabilities: Float32Array.of(0.25, 0.75),
    inSet: [true, true],
    warnings: [warned],
    oodScore: 1.5,
    cams: [],
    box: undefined,
    lungs: undefined,
  };
}

test("a warning keeps the class from being the decision", () => {
  assert.equal(toAnswer(MODEL, outputs(false)).decision, "b");
  const warned = toAnswer(MODEL, outputs(true));
  assert.deepEqual([warned.decision, warned.predicted], ["not decided", "b"]);
  assert.deepEqual(warned.sentences, ["The image is odd."]);
});

test("an answer without numbers is none", () => {
  for (const values of [[NaN, NaN], [1]]) {
    const broken = { ...outputs(false), probabilities: Float32Array.from(values) };
    assert.throws(() => toAnswer(MODEL, broken), /no probabilities/);
  }
});

test("the CSV quotes names and leaves no formula", () => {
  const answer = toAnswer(MODEL, outputs(true));
  const lines = toCsv(MODEL, [
    { path: 'a "b", c.png', answer },
    { path: "=1+1", answer },
  ]).split("\n");
  assert.equal(lines[1], '"a ""b"", c.png",b,0.25,0.75,not decided,a; b,odd,1.5');
  assert.ok(lines[2]?.startsWith("./=1+1,"));
});

function grid(width: number, height: number, ...boxes: [number, number, number, number][]): Grid {
  const data = new Float32Array(width * height);
  for (const [x, y, w, h] of boxes) {
    for (let row = y; row < y + h; row++) data.fill(1, row * width + x, row * width + x + w);
  }
  return { width, height, data };
}

test("the two largest components are kept", () => {
  const lungs = keepLungs(grid(32, 32, [0, 0, 8, 8], [16, 0, 8, 12], [0, 20, 4, 4]), 0.5);
  assert.equal(lungs.data.filter(Boolean).length, 64 + 96);
});

test("an area is pixels at the image's own size times their size", () => {
  const size = { width: 64, height: 32 };
  const spacing = { rowMm: 2, columnMm: 3, attribute: "PixelSpacing", calibration: "" };
  const lungs = measureLungs(grid(32, 32, [0, 0, 16, 32]), LUNGS, size, spacing);
  assert.equal(lungs.fraction, 0.5);
  assert.equal(lungs.mm2, 32 * 32 * 6);
  assert.equal(lungPixels(grid(4, 4, [0, 0, 4, 4]), 0.5, 3, 5), 15);
});

test("an outline stays in the image and surrounds what is inside", () => {
  const lines = outline(grid(8, 8, [0, 0, 8, 8]), 0.5);
  assert.ok(lines.length > 0 && lines.every((value) => value >= 0 && value <= 1));
  assert.equal(outline(grid(8, 8), 0.5).length, 0);
});

test("zooming keeps the point under the pointer, and panning stops at the edge", () => {
  const [image, box] = [{ width: 100, height: 100 }, { width: 50, height: 50 }];
  const view = zoomed(WHOLE, 2, image, box, { x: 0, y: 0 });
  assert.deepEqual(view, { zoom: 2, x: 0.25, y: 0.25 });
  assert.equal(panned(view, 1000, 0, image, box).x, 0.25);
  assert.deepEqual(zoomed(view, 0.1, image, box), WHOLE);
});

test("the middle of the slider is the package's overlay, its end the map alone", () => {
  assert.deepEqual([heatWeight(1, 0), heatWeight(1, 0.5), heatWeight(0, 1)], [0, 0.55, 1]);
});

test("a window narrower than the grey scale has more contrast", () => {
  const table = windowTable(127.5, 127.5);
  assert.deepEqual([table[0], table[63], table[192], table[255]], [0, 0, 255, 255]);
});

test("nearly certain is not written as certain", () => {
  assert.deepEqual([percent(0.99999), percent(0.00001), percent(0.5), percent(1)], [">\u00a099.9%", "<\u00a00.1%", "50.0%", "100.0%"]);
});

test("a mask that cannot be lungs has the model's reasons", () => {
  const faults = (...boxes: [number, number, number, number][]): string[] =>
    lungFaults(grid(256, 256, ...boxes), 0.5, CHECKS);
  assert.deepEqual(faults([50, 60, 60, 130], [140, 60, 60, 130]), []);
  assert.deepEqual(faults(), ["none"]);
  assert.deepEqual(faults([120, 100, 20, 20]), ["small or large"]);
  assert.deepEqual(faults([0, 60, 100, 130]), ["aside"]);
  assert.deepEqual(faults([60, 60, 140, 40], [90, 100, 80, 90]), ["upside down"]);
});

test("the start says the audit's first sentence, also where a run's name has a dot", () => {
  const note = "Of rate_0.01: Large shortcuts are shown: border only. More follows.";
  const shown = summary({ ...MODEL, audit_note: note });
  assert.ok(shown.endsWith(" Of rate_0.01: Large shortcuts are shown: border only."));
});
