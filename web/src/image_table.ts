/** The table of all images. */

import { breakable, breakableFile, make, percent, whole } from "./dom.ts";
import type { Item } from "./items.ts";
import type { Model } from "./model.ts";

/** Returns the table's header row. */
export function headerRow(model: Model): HTMLTableRowElement {
  const row = make("tr", {}, column("Image"), column("Decision"), column("Probability", "number"));
  row.append(column("Not excluded", "extra"));
  if (model.lungs) row.append(column("Lungs", "number extra"), column("Lung area", "number extra"));
  return row;
}

function column(name: string, kind = ""): HTMLTableCellElement {
  return make("th", { scope: "col", ...(kind && { class: kind }) }, name);
}

/** Returns an image's row. */
export function imageRow(
  model: Model,
  item: Item,
  selected: boolean,
  select: (item: Item) => void,
): HTMLTableRowElement {
  const button = make("button", { type: "button" }, ...breakableFile(item.name));
  button.addEventListener("click", () => select(item));
  const row = make("tr", selected ? { "aria-current": "true" } : {}, make("td", {}, button));
  const { answer } = item;
  if (item.state === "failed") {
    const columns = headerRow(model).cells.length - 1;
    row.append(make("td", { class: "failed", colspan: String(columns) }, `Not read: it ${item.problem ?? ""}.`));
    return row;
  }
  const warned = answer?.warnings.length
    ? make("div", { class: "small warned" }, answer.warnings.join("; "))
    : undefined;
  const best = answer?.warnings.length ? make("div", { class: "small" }, ...breakable(answer.predicted)) : undefined;
  const waiting = item.state === "reading" ? "reading…" : "waiting";
  row.append(
    make("td", answer ? {} : { class: "muted" }, ...breakable(answer?.decision ?? waiting), warned),
    make("td", { class: "number" }, answer ? percent(Math.max(...answer.probabilities)) : "", best),
    make("td", { class: "extra" }, answer?.predictionSet.join("; ") ?? ""),
  );
  if (model.lungs) {
    const mm2 = answer?.lungs?.mm2;
    row.append(
      make("td", { class: "number extra" }, answer?.lungs ? percent(answer.lungs.fraction) : ""),
      make("td", { class: "number extra" }, mm2 === undefined ? "" : `${whole(mm2)} mm²`),
    );
  }
  return row;
}
