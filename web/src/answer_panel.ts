/** The answer: the decision or the warnings above the image; probabilities and lungs beside it. */

import type { Answer } from "./answer.ts";
import type { Spacing } from "./dicom.ts";
import { facts, listed, make, percent, table, whole } from "./dom.ts";
import type { Item } from "./items.ts";
import type { Model } from "./model.ts";

/** Returns what stands above the image: the decision, or why there is none. */
export function decisionParts(model: Model, item: Item): HTMLElement[] {
  const heading = (text: string): HTMLElement => make("h3", { class: "verdict" }, text);
  if (item.state === "failed") {
    return [make("section", {}, heading("No answer"), make("p", {}, `${item.name} ${item.problem ?? ""}.`))];
  }
  const { answer } = item;
  if (!answer) return [make("section", {}, make("p", { class: "muted" }, "Reading the image…"))];
  const sentences = [...answer.sentences, ...cautions(model, item)];
  const list = sentences.length > 0 && make("ul", {}, ...sentences.map((text) => make("li", {}, text)));
  if (answer.warnings.length) {
    return [make("section", { class: "warnings" }, heading("Not decided"), list)];
  }
  const parts = [
    make("section", {}, make("p", { class: "eyebrow" }, "Decision"), heading(bestText(answer))),
  ];
  if (list) parts.unshift(make("section", { class: "warnings" }, list));
  return parts;
}

/** What speaks against a chest X-ray, in the file or in its lungs. The decision does not depend on it. */
function cautions(model: Model, { image, answer }: Item): string[] {
  const found: string[] = [];
  const faults = answer?.lungs?.faults ?? [];
  if (model.region?.needs_lungs && faults.length) {
    const why = faults.join(", and ");
    found.push(`The model gets ${model.region.text}, but what was found here cannot be the lungs: it ${why}.`);
  }
  const { modality } = image ?? {};
  if (!modality || X_RAYS.includes(modality)) return found;
  return [...found, `The file is of modality ${modality}, not an X-ray image (${X_RAYS.slice(0, 2).join(", ")}).`];
}

const X_RAYS = ["CR", "DX", "RG", "RF", "XA", "OT", "SC"]; // OT and SC say nothing of the device

function bestText(answer: Answer): string {
  return `${answer.predicted}, ${percent(Math.max(...answer.probabilities))}`;
}

/** Returns the panel's parts for an image. */
export function answerParts(model: Model, item: Item): HTMLElement[] {
  if (!item.answer) return [];
  const parts = [scorePart(model, item.answer)];
  if (model.lungs) parts.push(lungPart(item));
  parts.push(filePart(model, item));
  return parts;
}

function scorePart(model: Model, answer: Answer): HTMLElement {
  const part = make("section", {}, make("h3", {}, "Probabilities"));
  if (answer.warnings.length) {
    part.append(make("p", { class: "second" }, `Most probable, but not decided: ${bestText(answer)}`));
  }
  part.append(bars(model, answer), make("p", { class: "legend" }, decisionText(model)), setText(model));
  const points = operatingPoints(model);
  if (points) part.append(points);
  return part;
}

function bars(model: Model, answer: Answer): HTMLElement {
  const list = make("ul", { class: "bars", "aria-label": "Calibrated probability of each class" });
  model.classes.forEach((name, index) => {
    const probability = answer.probabilities[index] ?? NaN;
    const possible = answer.predictionSet.includes(name);
    const title = make(
      "span",
      { class: name === answer.predicted ? "name best" : "name" },
      name,
      possible && make("span", { class: "tag" }, "not excluded"),
    );
    const fill = make("div", { class: "fill" });
    fill.style.width = `${100 * Math.min(1, Math.max(0, probability))}%`;
    const track = make("div", { class: "track", "aria-hidden": "true" }, fill);
    if (model.decision.least !== null) {
      const mark = make("div", { class: "mark" });
      mark.style.left = `calc(${100 * model.decision.least}% - 1px)`;
      track.append(mark);
    }
    list.append(make("li", {}, title, make("span", { class: "value" }, percent(probability)), track));
  });
  return list;
}

function decisionText(model: Model): string {
  const { least, coverage } = model.decision;
  if (least === null) {
    return (
      `The mean of ${model.members.length} members. A class is the decision if more than half of them find it ` +
      "likely enough, and no other, unless a warning applies."
    );
  }
  return (
    `Operating point, ${percent(least)}: the only class that reaches it is the decision, unless a ` +
    `warning applies. The true class reached it in ${round(coverage)} of the validation images.`
  );
}

function setText(model: Model): HTMLElement {
  const { in_every_set, least, coverage } = model.decision;
  const always = model.classes.filter((_, index) => in_every_set.includes(index));
  const never =
    always.length > 0 &&
    ` ${listed(always)} always: too few validation images exclude ${always.length > 1 ? "them" : "it"}.`;
  if (least === null) {
    const text = `Not excluded: classes that more than half of the members do not exclude (prediction set).`;
    return make("p", { class: "muted small" }, text, never);
  }
  return make(
    "p",
    { class: "muted small" },
    `Not excluded: classes that reach a threshold of their own, as ${round(coverage)} of their ` +
      "validation images do (prediction set).",
    never,
  );
}

function round(share: number): string {
  return percent(share).replace(".0%", "%");
}

function operatingPoints(model: Model): HTMLElement | undefined {
  const points = model.operating_points ?? [];
  if (!points.length) return undefined;
  const cell = (value: number | null | undefined): string =>
    value === null || value === undefined ? "unknown" : percent(value);
  const rows = points.map((point) => [
    point.class,
    percent(point.threshold),
    cell(point.sensitivity),
    cell(point.specificity),
  ]);
  return make(
    "details",
    {},
    make("summary", {}, "Sensitivity and specificity on test images"),
    table("Operating points", ["Class", "From#", "Sensitivity#", "Specificity#"], rows),
  );
}

function lungPart(item: Item): HTMLElement {
  const lungs = item.answer?.lungs;
  const part = make("section", {}, make("h3", {}, "Lungs"));
  if (!lungs || lungs.fraction === 0) {
    part.append(make("p", {}, "No lungs were found."));
    return part;
  }
  const rows: [string, string][] = [["Of the image", percent(lungs.fraction)]];
  if (lungs.faults.length) {
    const why = lungs.faults.join(", and ");
    part.append(
      make("p", { class: "warned" }, `This outline is not that of the lungs in an upright frontal X-ray: it ${why}.`),
    );
  }
  if (lungs.mm2 !== undefined) {
    rows.push(["Area", `${whole(lungs.mm2)} mm² (${whole(lungs.mm2 / 100)} cm²)`]);
  }
  part.append(facts(rows), make("p", { class: "muted small" }, spacingText(item.image)));
  return part;
}

/** Says where the pixels' size comes from, and what that means for the area. */
export function spacingText(image: { format: string; spacing?: Spacing | undefined } | undefined): string {
  const spacing = image?.spacing;
  if (!spacing) {
    return image?.format === "DICOM"
      ? "The area in mm² is not known: this DICOM file does not state the size of its pixels."
      : `The area in mm² is not known: a ${image?.format ?? "PNG"} file does not state the size of its pixels, as a DICOM file can.`;
  }
  const size = `${short(spacing.rowMm)} x ${short(spacing.columnMm)} mm a pixel, by ${spacing.attribute}`;
  if (spacing.calibration) return `${size}, calibrated in the patient (${spacing.calibration}).`;
  if (spacing.attribute === "PixelSpacing") {
    return `${size}. The file does not say whether it is calibrated in the patient.`;
  }
  if (spacing.attribute === "ImagerPixelSpacing") {
    return `${size}: at the detector, where the patient appears magnified.`;
  }
  return `${size}: on the digitised film, where the patient appears magnified.`;
}

function short(value: number): string {
  return String(Number(value.toPrecision(4)));
}

function filePart(model: Model, item: Item): HTMLElement {
  const { image, answer, seconds } = item;
  const rows: [string, string][] = [];
  if (image) {
    rows.push(["Size", `${image.width} x ${image.height} pixels`], ["Format", image.format]);
    rows.push(...image.facts);
  }
  if (answer) {
    const limit = model.ood.limit.toFixed(2);
    rows.push(["Out-of-distribution score", `${answer.oodScore.toFixed(2)} (a warning above ${limit})`]);
  }
  if (seconds !== undefined) rows.push(["Time", `${seconds.toFixed(2)} s on this device`]);
  return make("section", {}, make("h3", {}, "File"), facts(rows));
}

/** The answer in one sentence, for screen readers. */
export function spoken(item: Item): string {
  if (item.state === "failed") return `${item.name} ${item.problem ?? ""}.`;
  const { answer } = item;
  if (!answer) return `${item.name}: reading.`;
  const best = percent(Math.max(...answer.probabilities));
  if (!answer.warnings.length) return `${item.name}: ${answer.decision}, ${best}.`;
  return `${item.name}: not decided. ${answer.sentences.join(" ")} Most probable: ${answer.predicted}, ${best}.`;
}
