/** The answer beside the image: warnings first, then the decision, the probabilities and the lungs. */

import type { Answer } from "./answer.ts";
import type { Spacing } from "./dicom.ts";
import { facts, make, percent, table, whole } from "./dom.ts";
import type { Item } from "./items.ts";
import type { Model } from "./model.ts";

/** Returns the panel's parts for an image. */
export function answerParts(model: Model, item: Item): HTMLElement[] {
  if (item.state === "failed") {
    const title = make("h3", { class: "verdict" }, "No answer");
    return [make("section", {}, title, make("p", {}, `${item.name} ${item.problem ?? ""}.`))];
  }
  if (!item.answer) return [make("section", {}, make("p", { class: "muted" }, "Reading the image…"))];
  const parts = [];
  if (item.answer.warnings.length) parts.push(warningPart(item.answer));
  parts.push(scorePart(model, item.answer));
  if (model.lungs) parts.push(lungPart(item));
  parts.push(filePart(item));
  return parts;
}

function warningPart(answer: Answer): HTMLElement {
  const list = make("ul");
  for (const sentence of answer.sentences) list.append(make("li", {}, sentence));
  return make("section", { class: "warnings" }, make("h3", {}, "Not decided"), list);
}

function scorePart(model: Model, answer: Answer): HTMLElement {
  const decided = !answer.warnings.length;
  const best = Math.max(...answer.probabilities);
  const part = make(
    "section",
    {},
    make(
      "div",
      {},
      make("p", { class: "eyebrow" }, decided ? "Most probable class" : "Most probable, but not decided"),
      make("h3", { class: decided ? "verdict" : "verdict second" }, `${answer.predicted}, ${percent(best)}`),
    ),
    bars(model, answer),
    make("p", { class: "legend" }, decisionText(model)),
  );
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
      possible && make("span", { class: "tag" }, "possible"),
    );
    const fill = make("div", { class: "fill" });
    fill.style.width = `${100 * Math.min(1, Math.max(0, probability))}%`;
    const mark = make("div", { class: "mark" });
    mark.style.left = `calc(${100 * model.decision.least}% - 1px)`;
    const track = make("div", { class: "track", "aria-hidden": "true" }, fill, mark);
    list.append(make("li", {}, title, make("span", { class: "value" }, percent(probability)), track));
  });
  return list;
}

function decisionText(model: Model): string {
  const { least, coverage } = model.decision;
  const share = Number.isFinite(coverage)
    ? ` ${percent(coverage).replace(".0 ", " ")} of the validation images’ true classes reach it.`
    : "";
  return (
    `Operating point: a class is decided from ${percent(least)} on, if it is the only one and ` +
    `nothing is warned of.${share}`
  );
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
  if (lungs.mm2 !== undefined) {
    rows.push(["Area", `${whole(lungs.mm2)} mm² (${whole(lungs.mm2 / 100)} cm²)`]);
  }
  part.append(facts(rows), make("p", { class: "muted small" }, spacingText(item.image?.spacing)));
  return part;
}

/** Says where the pixels' size comes from, and what that means for the area. */
export function spacingText(spacing: Spacing | undefined): string {
  if (!spacing) {
    return "The area is not known: only DICOM files state the size of pixels, and this one does not.";
  }
  const size = `${spacing.rowMm} x ${spacing.columnMm} mm a pixel, by ${spacing.attribute}`;
  if (spacing.calibration) return `${size}, calibrated in the patient (${spacing.calibration}).`;
  if (spacing.attribute === "PixelSpacing") {
    return `${size}. The file does not say whether it is calibrated in the patient.`;
  }
  if (spacing.attribute === "ImagerPixelSpacing") {
    return `${size}: at the detector, where the patient appears magnified.`;
  }
  return `${size}: on the digitised film, where the patient appears magnified.`;
}

function filePart(item: Item): HTMLElement {
  const { image, answer, seconds } = item;
  const rows: [string, string][] = [];
  if (image) {
    rows.push(["Size", `${image.width} x ${image.height} pixels`], ["Format", image.format]);
    rows.push(...image.facts);
  }
  if (answer) rows.push(["Distance", `${answer.oodScore.toFixed(2)} from the training images`]);
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
