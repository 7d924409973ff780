/** The model card: what the model was made of, how well it answers, and what it must not be used for. */

import { facts, listed, make, percent, table, whole } from "./dom.ts";
import type { Model } from "./model.ts";

export function modelCard(model: Model): HTMLElement[] {
  const parts = [part("Limits", bullets(model.limits))];
  const about: [string, string][] = [
    ["Model", model.name],
    ["Exported", `${model.created}, kerascxr ${model.kerascxr}`],
    ["Classes", model.classes.join(", ")],
    ["Input", `${model.region ? `${model.region.text}, ` : ""}${model.image_size[0]} x ${model.image_size[1]} pixels, grey`],
  ];
  if (model.members.length) about.splice(1, 0, ["Members", model.members.join(", ")]);
  if (model.lungs) about.push(["Lungs", `${model.lungs.name}, ${model.lungs.size.join(" x ")} pixels`]);
  parts.push(part("Model", facts(about)));
  if (model.data) {
    const rows = Object.entries(model.data.classes).map(([name, n]) => [name, whole(n)]);
    const n = model.data.n_train;
    const images = n === null ? "" : ` ${whole(n)} training images.`;
    parts.push(
      part(
        "Data",
        make("p", {}, `${model.data.description}${images}`),
        rows.length > 0 && table("Images by class", ["Class", "Images#"], rows),
      ),
    );
  }
  if (model.metrics) parts.push(metrics(model.metrics));
  parts.push(audit(model));
  if (model.lungs?.card && Object.keys(model.lungs.card).length) {
    const rows = Object.entries(model.lungs.card).map(([name, value]): [string, string] => [
      capital(name.replaceAll("_", " ")),
      typeof value === "object" ? JSON.stringify(value) : capital(String(value)),
    ]);
    parts.push(part("Lung model", facts(rows)));
  }
  return parts;
}

function metrics({ n_test, rows, note }: NonNullable<Model["metrics"]>): HTMLElement {
  const lines = rows.map(({ name, value, low, high }) => {
    const known = typeof low === "number" && typeof high === "number";
    return [name, value.toFixed(3), known ? `${low.toFixed(3)} to ${high.toFixed(3)}` : "unknown"];
  });
  if (!rows.length) return part("Test metrics", make("p", {}, note));
  return part(
    "Test metrics",
    note !== "" && make("p", {}, note),
    make("p", {}, `On ${whole(n_test)} test images that the model was not trained on.`),
    table("Test metrics", ["Metric", "Value#", "95% interval#"], lines),
  );
}

function audit(model: Model): HTMLElement {
  const note = model.audit_note ?? "";
  if (!model.audit?.length) {
    return part("Shortcut audit", make("p", {}, note || "This model was not audited for shortcuts."));
  }
  const cell = (value: number | null | undefined): string =>
    typeof value === "number" ? value.toFixed(3) : "unknown";
  const rows = model.audit.map((row) => [row.input, cell(row.accuracy), cell(row.auc), row.verdict ?? ""]);
  return part(
    "Shortcut audit",
    note !== "" && make("p", {}, note),
    table("Input ablations", ["Input", "Accuracy#", "AUC#", "Finding"], rows),
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function bullets(lines: string[]): HTMLElement {
  return make("ul", {}, ...lines.map((line) => make("li", {}, line)));
}

function part(title: string, ...children: (Node | false)[]): HTMLElement {
  return make("section", {}, make("h3", {}, title), ...children);
}

/** What the start page says the model answers. */
export function summary(model: Model): string {
  const row = model.metrics?.rows.find(({ name }) => name === "accuracy");
  const interval =
    typeof row?.low === "number" && typeof row.high === "number"
      ? ` (95% interval ${percent(row.low)} to ${percent(row.high)})`
      : "";
  const metric = row
    ? ` Accuracy ${percent(row.value)}${interval} on ${whole(model.metrics?.n_test ?? 0)} test images of its own data ` +
      "set; images of other hospitals can be answered worse."
    : "";
  const [found] = /^.*?\.(?=\s|$)/.exec(model.audit_note ?? "") ?? ["It was not audited for shortcuts."];
  const region = model.region ? ` It gets ${model.region.text}.` : "";
  return `This model distinguishes ${listed(model.classes)}, and nothing else.${region}${metric} ${found}`;
}
