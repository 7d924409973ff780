// src/lung_faults.ts
function lungFaults(lungs, threshold, checks) {
  const { reasons } = checks;
  const step = Math.max(1, Math.floor(Math.min(lungs.width, lungs.height) / checks.grid));
  const rows = [];
  const columns = [];
  let pixels = 0;
  let [height, width] = [0, 0];
  for (let y = Math.floor(step / 2); y < lungs.height; y += step, height++) {
    width = 0;
    for (let x = Math.floor(step / 2); x < lungs.width; x += step, width++) {
      pixels++;
      if (lungs.data[y * lungs.width + x] < threshold) continue;
      rows.push(height);
      columns.push(width);
    }
  }
  if (!rows.length) return [reasons.empty];
  const faults = [];
  if (!within(rows.length / pixels, checks.share)) faults.push(reasons.share);
  const across = (mean(columns) + 0.5) / width;
  const down = (mean(rows) + 0.5) / height;
  if (!(within(across, checks.across) && within(down, checks.down))) faults.push(reasons.place);
  const [first, last] = [rows[0], rows.at(-1) + 1];
  const quarter = Math.max(1, Math.floor((last - first) / 4));
  const extent = (from, to) => {
    const inside = columns.filter((_, index) => rows[index] >= from && rows[index] < to);
    return inside.length ? Math.max(...inside) - Math.min(...inside) + 1 : 0;
  };
  if (extent(first, first + quarter) > checks.widest_top * extent(last - quarter, last)) {
    faults.push(reasons.way_up);
  }
  return faults;
}
function within(value, [low, high]) {
  return low <= value && value <= high;
}
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

// src/lungs.ts
var CELL = 4;
var LUNGS = 2;
function keepLungs(grid, threshold) {
  const columns = grid.width / CELL;
  const rows = grid.height / CELL;
  const share = new Float64Array(columns * rows);
  for (let row = 0; row < grid.height; row++) {
    for (let column2 = 0; column2 < grid.width; column2++) {
      if (grid.data[row * grid.width + column2] < threshold) continue;
      const cell = Math.floor(row / CELL) * columns + Math.floor(column2 / CELL);
      share[cell] = share[cell] + 1;
    }
  }
  const component = components(share, columns, rows);
  const areas = /* @__PURE__ */ new Map();
  component.forEach((number, cell) => {
    if (number) areas.set(number, (areas.get(number) ?? 0) + share[cell]);
  });
  const largest = [...areas].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, LUNGS);
  const kept2 = new Set(largest.map(([number]) => number));
  const data = grid.data.map((probability, index) => {
    const row = Math.floor(index / grid.width);
    const cell = Math.floor(row / CELL) * columns + Math.floor(index % grid.width / CELL);
    return component[cell] && !kept2.has(component[cell]) ? 0 : probability;
  });
  return { ...grid, data };
}
function components(share, columns, rows) {
  const numbers = new Int32Array(share.length);
  for (let start2 = share.length - 1; start2 >= 0; start2--) {
    if (!share[start2] || numbers[start2]) continue;
    const stack = [start2];
    numbers[start2] = start2 + 1;
    while (stack.length) {
      const cell = stack.pop();
      const [x, y] = [cell % columns, Math.floor(cell / columns)];
      for (let row = Math.max(0, y - 1); row <= Math.min(rows - 1, y + 1); row++) {
        for (let column2 = Math.max(0, x - 1); column2 <= Math.min(columns - 1, x + 1); column2++) {
          const near = row * columns + column2;
          if (!share[near] || numbers[near]) continue;
          numbers[near] = start2 + 1;
          stack.push(near);
        }
      }
    }
  }
  return numbers;
}
function lungFraction(lungs, threshold) {
  let inside = 0;
  for (const probability of lungs.data) if (probability >= threshold) inside++;
  return inside / lungs.data.length;
}
function lungPixels(lungs, threshold, width, height) {
  const across = steps(lungs.width, width);
  const down = steps(lungs.height, height);
  let inside = 0;
  for (let row = 0; row < height; row++) {
    const upper = down.lower[row] * lungs.width;
    const under = down.upper[row] * lungs.width;
    const weight = down.weight[row];
    for (let column2 = 0; column2 < width; column2++) {
      const [left, right] = [across.lower[column2], across.upper[column2]];
      const share = across.weight[column2];
      const [a, b] = [lungs.data[upper + left], lungs.data[upper + right]];
      const [c, d] = [lungs.data[under + left], lungs.data[under + right]];
      const top = a + (b - a) * share;
      const bottom = c + (d - c) * share;
      if (Math.fround(top + (bottom - top) * weight) >= threshold) inside++;
    }
  }
  return inside;
}
function resizeGrid(grid, width, height) {
  const across = steps(grid.width, width);
  const down = steps(grid.height, height);
  const data = new Float32Array(width * height);
  for (let row = 0; row < height; row++) {
    const upper = down.lower[row] * grid.width;
    const under = down.upper[row] * grid.width;
    for (let column2 = 0; column2 < width; column2++) {
      const [left, right] = [across.lower[column2], across.upper[column2]];
      const share = across.weight[column2];
      const top = grid.data[upper + left] * (1 - share) + grid.data[upper + right] * share;
      const bottom = grid.data[under + left] * (1 - share) + grid.data[under + right] * share;
      data[row * width + column2] = top + (bottom - top) * down.weight[row];
    }
  }
  return { width, height, data };
}
function steps(from, to) {
  const [lower, upper] = [new Int32Array(to), new Int32Array(to)];
  const weight = new Float64Array(to);
  for (let index = 0; index < to; index++) {
    const place = (index + 0.5) * from / to - 0.5;
    lower[index] = Math.max(0, Math.floor(place));
    upper[index] = Math.min(from - 1, Math.floor(place) + 1);
    weight[index] = place - Math.floor(place);
  }
  return { lower, upper, weight };
}
function outline(lungs, threshold) {
  const { width, height, data } = lungs;
  const at = (x, y) => x < 0 || y < 0 || x >= width || y >= height ? -threshold : data[y * width + x] - threshold;
  const segments = [];
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const corners = [at(x, y), at(x + 1, y), at(x + 1, y + 1), at(x, y + 1)];
      const inside = corners.map((value) => value >= 0);
      const count = inside.filter(Boolean).length;
      if (count === 0 || count === 4) continue;
      const crossings = [];
      for (let side = 0; side < 4; side++) {
        const next = (side + 1) % 4;
        if (inside[side] === inside[next]) continue;
        const share = corners[side] / (corners[side] - corners[next]);
        const [fromX, fromY] = CORNERS[side];
        const [toX, toY] = CORNERS[next];
        crossings.push([
          (x + 0.5 + fromX + (toX - fromX) * share) / width,
          (y + 0.5 + fromY + (toY - fromY) * share) / height
        ]);
      }
      for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
        segments.push(...crossings[pair], ...crossings[pair + 1]);
      }
    }
  }
  return Float32Array.from(segments, (value) => Math.min(1, Math.max(0, value)));
}
var CORNERS = [
  [0, 0],
  [1, 0],
  [1, 1],
  [0, 1]
];

// src/answer.ts
var SEPARATOR = "; ";
function toAnswer(model, outputs) {
  const { classes } = model;
  const probabilities = [...outputs.probabilities];
  if (probabilities.length !== classes.length || !probabilities.every(Number.isFinite)) {
    throw new Error("the model gave no probabilities");
  }
  const predicted = classes[probabilities.indexOf(Math.max(...probabilities))] ?? classes[0];
  const warned = model.warnings.filter((_, index) => outputs.warnings[index]);
  return {
    probabilities,
    predicted,
    decision: warned.length ? model.decision.not_decided : predicted,
    predictionSet: classes.filter((_, index) => outputs.inSet[index]),
    warnings: warned.map((warning) => warning.kind),
    sentences: warned.map((warning) => warning.text),
    oodScore: outputs.oodScore,
    cams: outputs.cams,
    box: outputs.box,
    lungs: void 0
  };
}
function measureLungs(grid, { threshold, checks }, size, spacing) {
  const lungs = keepLungs(grid, threshold);
  const fraction = lungFraction(lungs, threshold);
  const faults = lungFaults(lungs, threshold, checks);
  if (!spacing) return { grid: lungs, fraction, mm2: void 0, faults };
  const pixels = lungPixels(lungs, threshold, size.width, size.height);
  return { grid: lungs, fraction, mm2: pixels * spacing.rowMm * spacing.columnMm, faults };
}
function plain(model, answer, seconds) {
  return {
    classes: model.classes,
    probabilities: answer.probabilities,
    predicted: answer.predicted,
    decision: answer.decision,
    prediction_set: answer.predictionSet.join(SEPARATOR),
    warnings: answer.warnings.join(SEPARATOR),
    ood_score: answer.oodScore,
    lung_fraction: answer.lungs?.fraction ?? null,
    lung_mm2: answer.lungs?.mm2 ?? null,
    seconds
  };
}
function toCsv(model, rows) {
  const hasArea = rows.some(({ answer }) => answer.lungs?.mm2 !== void 0);
  const header = ["path", "predicted", ...model.classes.map((name) => `probability ${name}`)];
  header.push("decision", "prediction_set", "warnings", "ood_score");
  if (model.lungs) header.push("lung_fraction");
  if (hasArea) header.push("lung_mm2");
  const lines = rows.map(({ path, answer }) => {
    const cells = [safePath(path), answer.predicted, ...answer.probabilities.map(String)];
    cells.push(answer.decision, answer.predictionSet.join(SEPARATOR));
    cells.push(answer.warnings.join(SEPARATOR), String(answer.oodScore));
    if (model.lungs) cells.push(String(answer.lungs?.fraction ?? ""));
    if (hasArea) cells.push(String(answer.lungs?.mm2 ?? ""));
    return cells;
  });
  return [header, ...lines].map((cells) => cells.map(quoted).join(",") + "\n").join("");
}
function safePath(path) {
  return /^[=+\-@\t\r]/.test(path) ? `./${path}` : path;
}
function quoted(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

// src/dom.ts
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => Boolean(child)));
  return element;
}
function find(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${id}.`);
  return element;
}
function facts(rows) {
  const list = make("dl");
  for (const [name, value] of rows) list.append(make("dt", {}, name), make("dd", {}, value));
  return list;
}
function breakable(name) {
  return joined(name.split(/(?<=_)/));
}
var SHORT = 16;
function breakableFile(name) {
  if (name.length <= SHORT) return [name];
  const [, stem = name, ending] = /^(.*?)([^_\-\s.]{1,4}\.\w{1,5})?$/s.exec(name) ?? [];
  const parts = stem.match(/[^_\-\s.]{1,14}[_\-\s.]*|[_\-\s.]+/g) ?? [];
  return joined(ending ? [...parts, ending] : parts);
}
function joined(parts) {
  return parts.flatMap((part3, index) => index ? [make("wbr"), part3] : [part3]);
}
function table(caption, columns, rows) {
  const numbers = columns.map((name) => name.endsWith("#"));
  const kind = (index) => numbers[index] ? { class: "number" } : {};
  const head = make("tr");
  columns.forEach((name, index) => {
    head.append(make("th", { scope: "col", ...kind(index) }, name.replace(/#$/, "")));
  });
  const body = make("tbody");
  for (const row of rows) {
    const line = make("tr");
    row.forEach((cell, index) => {
      line.append(
        index === 0 ? make("th", { scope: "row" }, ...breakable(cell)) : make("td", kind(index), cell)
      );
    });
    body.append(line);
  }
  return make(
    "table",
    {},
    make("caption", { class: "visually-hidden" }, caption),
    make("thead", {}, head),
    body
  );
}
function listed(names) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`;
}
var WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
function whole(value) {
  return WHOLE.format(value);
}
function percent(share) {
  if (!Number.isFinite(share)) return "unknown";
  if (share > 0 && share < 1e-3) return "< 0.1%";
  if (share < 1 && share > 0.999) return "> 99.9%";
  return `${(100 * share).toFixed(1)}%`;
}

// src/answer_panel.ts
function decisionParts(model, item) {
  const heading = (text) => make("h3", { class: "verdict" }, text);
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
    make("section", {}, make("p", { class: "eyebrow" }, "Decision"), heading(bestText(answer)))
  ];
  if (list) parts.unshift(make("section", { class: "warnings" }, list));
  return parts;
}
function cautions(model, { image, answer }) {
  const found = [];
  const faults = answer?.lungs?.faults ?? [];
  if (model.region?.needs_lungs && faults.length) {
    const why = faults.join(", and ");
    found.push(`The model gets ${model.region.text}, but what was found here cannot be the lungs: it ${why}.`);
  }
  const { modality } = image ?? {};
  if (!modality || X_RAYS.includes(modality)) return found;
  return [...found, `The file is of modality ${modality}, not an X-ray image (${X_RAYS.slice(0, 2).join(", ")}).`];
}
var X_RAYS = ["CR", "DX", "RG", "RF", "XA", "OT", "SC"];
function bestText(answer) {
  return `${answer.predicted}, ${percent(Math.max(...answer.probabilities))}`;
}
function answerParts(model, item) {
  if (!item.answer) return [];
  const parts = [scorePart(model, item.answer)];
  if (model.lungs) parts.push(lungPart(item));
  parts.push(filePart(model, item));
  return parts;
}
function scorePart(model, answer) {
  const part3 = make("section", {}, make("h3", {}, "Probabilities"));
  if (answer.warnings.length) {
    part3.append(make("p", { class: "second" }, `Most probable, but not decided: ${bestText(answer)}`));
  }
  part3.append(bars(model, answer), make("p", { class: "legend" }, decisionText(model)), setText(model));
  const points = operatingPoints(model);
  if (points) part3.append(points);
  return part3;
}
function bars(model, answer) {
  const list = make("ul", { class: "bars", "aria-label": "Calibrated probability of each class" });
  model.classes.forEach((name, index) => {
    const probability = answer.probabilities[index] ?? NaN;
    const possible = answer.predictionSet.includes(name);
    const title = make(
      "span",
      { class: name === answer.predicted ? "name best" : "name" },
      name,
      possible && make("span", { class: "tag" }, "not excluded")
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
function decisionText(model) {
  const { least, coverage } = model.decision;
  if (least === null) {
    return `The mean of ${model.members.length} members. A class is the decision if more than half of them find it likely enough, and no other, unless a warning applies.`;
  }
  return `Operating point, ${percent(least)}: the only class that reaches it is the decision, unless a warning applies. The true class reached it in ${round(coverage)} of the validation images.`;
}
function setText(model) {
  const { in_every_set, least, coverage } = model.decision;
  const always = model.classes.filter((_, index) => in_every_set.includes(index));
  const never = always.length > 0 && ` ${listed(always)} always: too few validation images exclude ${always.length > 1 ? "them" : "it"}.`;
  if (least === null) {
    const text = `Not excluded: classes that more than half of the members do not exclude (prediction set).`;
    return make("p", { class: "muted small" }, text, never);
  }
  return make(
    "p",
    { class: "muted small" },
    `Not excluded: classes that reach a threshold of their own, as ${round(coverage)} of their validation images do (prediction set).`,
    never
  );
}
function round(share) {
  return percent(share).replace(".0%", "%");
}
function operatingPoints(model) {
  const points = model.operating_points ?? [];
  if (!points.length) return void 0;
  const cell = (value) => value === null || value === void 0 ? "unknown" : percent(value);
  const rows = points.map((point) => [
    point.class,
    percent(point.threshold),
    cell(point.sensitivity),
    cell(point.specificity)
  ]);
  return make(
    "details",
    {},
    make("summary", {}, "Sensitivity and specificity on test images"),
    table("Operating points", ["Class", "From#", "Sensitivity#", "Specificity#"], rows)
  );
}
function lungPart(item) {
  const lungs = item.answer?.lungs;
  const part3 = make("section", {}, make("h3", {}, "Lungs"));
  if (!lungs || lungs.fraction === 0) {
    part3.append(make("p", {}, "No lungs were found."));
    return part3;
  }
  const rows = [["Of the image", percent(lungs.fraction)]];
  if (lungs.faults.length) {
    const why = lungs.faults.join(", and ");
    part3.append(
      make("p", { class: "warned" }, `This outline is not that of the lungs in an upright frontal X-ray: it ${why}.`)
    );
  }
  if (lungs.mm2 !== void 0) {
    rows.push(["Area", `${whole(lungs.mm2)} mm² (${whole(lungs.mm2 / 100)} cm²)`]);
  }
  part3.append(facts(rows), make("p", { class: "muted small" }, spacingText(item.image)));
  return part3;
}
function spacingText(image) {
  const spacing = image?.spacing;
  if (!spacing) {
    return image?.format === "DICOM" ? "The area in mm² is not known: this DICOM file does not state the size of its pixels." : `The area in mm² is not known: a ${image?.format ?? "PNG"} file does not state the size of its pixels, as a DICOM file can.`;
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
function short(value) {
  return String(Number(value.toPrecision(4)));
}
function filePart(model, item) {
  const { image, answer, seconds } = item;
  const rows = [];
  if (image) {
    rows.push(["Size", `${image.width} x ${image.height} pixels`], ["Format", image.format]);
    rows.push(...image.facts);
  }
  if (answer) {
    const limit = model.ood.limit.toFixed(2);
    rows.push(["Out-of-distribution score", `${answer.oodScore.toFixed(2)} (a warning above ${limit})`]);
  }
  if (seconds !== void 0) rows.push(["Time", `${seconds.toFixed(2)} s on this device`]);
  return make("section", {}, make("h3", {}, "File"), facts(rows));
}
function spoken(item) {
  if (item.state === "failed") return `${item.name} ${item.problem ?? ""}.`;
  const { answer } = item;
  if (!answer) return `${item.name}: reading.`;
  const best = percent(Math.max(...answer.probabilities));
  if (!answer.warnings.length) return `${item.name}: ${answer.decision}, ${best}.`;
  return `${item.name}: not decided. ${answer.sentences.join(" ")} Most probable: ${answer.predicted}, ${best}.`;
}

// src/image_table.ts
function headerRow(model) {
  const row = make("tr", {}, column("Image"), column("Decision"), column("Probability", "number"));
  row.append(column("Not excluded", "extra"));
  if (model.lungs) row.append(column("Lungs", "number extra"), column("Lung area", "number extra"));
  return row;
}
function column(name, kind = "") {
  return make("th", { scope: "col", ...kind && { class: kind } }, name);
}
function imageRow(model, item, selected, select) {
  const button2 = make("button", { type: "button" }, ...breakableFile(item.name));
  button2.addEventListener("click", () => select(item));
  const row = make("tr", selected ? { "aria-current": "true" } : {}, make("td", {}, button2));
  const { answer } = item;
  if (item.state === "failed") {
    const columns = headerRow(model).cells.length - 1;
    row.append(make("td", { class: "failed", colspan: String(columns) }, `Not read: it ${item.problem ?? ""}.`));
    return row;
  }
  const warned = answer?.warnings.length ? make("div", { class: "small warned" }, answer.warnings.join("; ")) : void 0;
  const best = answer?.warnings.length ? make("div", { class: "small" }, ...breakable(answer.predicted)) : void 0;
  const waiting = item.state === "reading" ? "reading…" : "waiting";
  row.append(
    make("td", answer ? {} : { class: "muted" }, ...breakable(answer?.decision ?? waiting), warned),
    make("td", { class: "number" }, answer ? percent(Math.max(...answer.probabilities)) : "", best),
    make("td", { class: "extra" }, answer?.predictionSet.join("; ") ?? "")
  );
  if (model.lungs) {
    const mm2 = answer?.lungs?.mm2;
    row.append(
      make("td", { class: "number extra" }, answer?.lungs ? percent(answer.lungs.fraction) : ""),
      make("td", { class: "number extra" }, mm2 === void 0 ? "" : `${whole(mm2)} mm²`)
    );
  }
  return row;
}

// src/inferno.ts
var HEX = "00000401000501010601010802010a02020c02020e03021004031204031405041706041907051b08051d09061f0a07220b07240c08260d08290e092b10092d110a30120a32140b34150b37160b39180c3c190c3e1b0c411c0c431e0c451f0c48210c4a230c4c240c4f260c51280b53290b552b0b572d0b592f0a5b310a5c320a5e340a5f3609613809623909633b09643d09653e0966400a67420a68440a68450a69470b6a490b6a4a0c6b4c0c6b4d0d6c4f0d6c510e6c520e6d540f6d550f6d57106e59106e5a116e5c126e5d126e5f136e61136e62146e64156e65156e67166e69166e6a176e6c186e6d186e6f196e71196e721a6e741a6e751b6e771c6d781c6d7a1d6d7c1d6d7d1e6d7f1e6c801f6c82206c84206b85216b87216b88226a8a226a8c23698d23698f24699025689225689326679526679727669827669a28659b29649d29649f2a63a02a63a22b62a32c61a52c60a62d60a82e5fa92e5eab2f5ead305dae305cb0315bb1325ab3325ab43359b63458b73557b93556ba3655bc3754bd3853bf3952c03a51c13a50c33b4fc43c4ec63d4dc73e4cc83f4bca404acb4149cc4248ce4347cf4446d04545d24644d34743d44842d54a41d74b3fd84c3ed94d3dda4e3cdb503bdd513ade5238df5337e05536e15635e25734e35933e45a31e55c30e65d2fe75e2ee8602de9612bea632aeb6429eb6628ec6726ed6925ee6a24ef6c23ef6e21f06f20f1711ff1731df2741cf3761bf37819f47918f57b17f57d15f67e14f68013f78212f78410f8850ff8870ef8890cf98b0bf98c0af98e09fa9008fa9207fa9407fb9606fb9706fb9906fb9b06fb9d07fc9f07fca108fca309fca50afca60cfca80dfcaa0ffcac11fcae12fcb014fcb216fcb418fbb61afbb81dfbba1ffbbc21fbbe23fac026fac228fac42afac62df9c72ff9c932f9cb35f8cd37f8cf3af7d13df7d340f6d543f6d746f5d949f5db4cf4dd4ff4df53f4e156f3e35af3e55df2e661f2e865f2ea69f1ec6df1ed71f1ef75f1f179f2f27df2f482f3f586f3f68af4f88ef5f992f6fa96f8fb9af9fc9dfafda1fcffa4";
var INFERNO = Uint8Array.from(
  { length: 768 },
  (_, index) => parseInt(HEX.slice(2 * index, 2 * index + 2), 16)
);

// src/intake.ts
var MOST = 2e3;
var UNOPENED = "cannot be opened";
function takeFiles(take) {
  const input = find("files", HTMLInputElement);
  for (const id of ["choose", "add"]) {
    find(id, HTMLButtonElement).addEventListener("click", () => input.click());
  }
  input.addEventListener("change", () => {
    take(Array.from(input.files ?? [], (file) => ({ name: file.name, file })));
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = Array.from(event.clipboardData?.files ?? []);
    if (!files.length) return;
    event.preventDefault();
    take(files.map((file) => ({ name: file.name || "pasted image", file })));
  });
  takeDrops(take);
}
function takeDrops(take) {
  const veil = find("dropping", HTMLElement);
  let depth = 0;
  const holdsFiles = (event) => Boolean(event.dataTransfer?.types.includes("Files"));
  const show = (change) => {
    depth = Math.max(0, depth + change);
    veil.hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => {
    if (holdsFiles(event)) show(1);
  });
  document.addEventListener("dragleave", (event) => {
    if (holdsFiles(event)) show(-1);
  });
  document.addEventListener("dragover", (event) => {
    if (holdsFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    show(-depth);
    if (event.dataTransfer) void dropped(event.dataTransfer).then(take);
  });
}
async function dropped(transfer) {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry());
  const files = Array.from(transfer.files, (file) => ({ name: file.name, file }));
  if (!entries.some((entry) => entry?.isDirectory)) return files;
  const found = [];
  for (const entry of entries) {
    if (!entry) continue;
    const left = await collect(entry, found);
    if (!left) continue;
    const problem = `holds ${whole(left)} more files than the ${whole(MOST)} that one drop takes, which are left out`;
    found.push({ name: entry.name, file: void 0, problem });
  }
  return found;
}
async function collect(entry, found) {
  if (entry.name.startsWith(".")) return 0;
  const name = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    if (found.length >= MOST) return 1;
    const file = await new Promise((resolve, reject) => {
      entry.file(resolve, reject);
    }).catch(() => void 0);
    found.push(file ? { name, file } : { name, file, problem: UNOPENED });
    return 0;
  }
  const reader = entry.createReader();
  let left = 0;
  for (; ; ) {
    const some = await new Promise((resolve, reject) => {
      reader.readEntries(resolve, reject);
    }).catch(() => void 0);
    if (!some) found.push({ name, file: void 0, problem: UNOPENED });
    if (!some?.length) return left;
    some.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    for (const child of some) left += await collect(child, found);
  }
}

// src/limits.ts
var ImageFileError = class extends Error {
  name = "ImageFileError";
};

// src/items.ts
var DECODE = { seconds: 60 };
var RUN = { seconds: 300 };
var MOST_KEPT = 3;
var Items = class {
  constructor(model, reader, engine, changed) {
    this.model = model;
    this.reader = reader;
    this.engine = engine;
    this.changed = changed;
  }
  model;
  reader;
  engine;
  changed;
  all = [];
  names = /* @__PURE__ */ new Set();
  kept = /* @__PURE__ */ new Map();
  next = 1;
  running = false;
  /** Adds files, and answers them in the background. */
  add(files) {
    const items = files.map(({ name, file, problem }) => {
      const item = { id: this.next++, name: this.unused(name), file, state: file ? "waiting" : "failed" };
      return problem === void 0 ? item : { ...item, problem };
    });
    this.all.push(...items);
    void this.work();
    return items;
  }
  unused(name) {
    let free = name;
    for (let n = 2; this.names.has(free); n++) free = `${name} (${n})`;
    this.names.add(free);
    return free;
  }
  /** Forgets all images. */
  clear() {
    this.all.length = 0;
    this.names.clear();
    this.kept.clear();
  }
  /** Returns an image's pixels, decoding it again if need be. */
  async pixels(item) {
    const kept2 = this.kept.get(item.id);
    this.kept.delete(item.id);
    if (!item.file) throw new ImageFileError(item.problem ?? "cannot be read");
    const image = kept2 ?? await this.decode(item.file);
    this.kept.set(item.id, image);
    for (const id of this.kept.keys()) {
      if (this.kept.size <= MOST_KEPT) break;
      this.kept.delete(id);
    }
    return image;
  }
  decode(file) {
    return this.reader.ask("decode", { file }, DECODE);
  }
  /** Decodes and answers one image. */
  async answer(image) {
    const { width, height, data } = image;
    const outputs = await this.engine.ask("run", { image: { width, height, data } }, RUN);
    const answer = toAnswer(this.model, outputs);
    if (this.model.lungs && outputs.lungs) {
      answer.lungs = measureLungs(outputs.lungs, this.model.lungs, image, image.spacing);
    }
    return answer;
  }
  async work() {
    if (this.running) return;
    this.running = true;
    try {
      let item;
      while (item = this.all.find(({ state }) => state === "waiting")) await this.read(item);
    } finally {
      this.running = false;
    }
  }
  async read(item) {
    const start2 = performance.now();
    item.state = "reading";
    this.changed(item);
    try {
      const image = await this.pixels(item);
      const { width, height, format, facts: facts2, spacing, modality } = image;
      item.image = { width, height, format, facts: facts2, spacing, modality };
      item.answer = await this.answer(image);
      item.seconds = (performance.now() - start2) / 1e3;
      item.state = "done";
    } catch (error) {
      item.problem = problemOf(error);
      item.state = "failed";
    }
    if (this.all.includes(item)) this.changed(item);
  }
};
function problemOf(error) {
  if (error instanceof ImageFileError) return error.message;
  const text = error instanceof Error ? error.message : String(error);
  return `could not be answered (${text.split("\n")[0].slice(0, 160)})`;
}

// src/colleague.ts
var Colleague = class {
  /**
   * @param script The worker's script, a blob: URL, so that the page's security policy applies.
   * @param beginning What each new worker does first, such as to load the model.
   */
  constructor(script, beginning) {
    this.script = script;
    this.beginning = beginning;
    this.start();
  }
  script;
  beginning;
  worker;
  begun = Promise.resolve();
  next = 1;
  waiting = /* @__PURE__ */ new Map();
  /** Waits until the worker has begun; a worker that could not is replaced at the next call. */
  async ready() {
    if (!this.worker) this.start();
    const { begun, worker } = this;
    try {
      await begun;
    } catch (error) {
      if (this.worker === worker) this.stop(toError(error));
      throw error;
    }
  }
  /** Asks, and stops the worker if it takes longer than this many seconds. */
  async ask(kind, ask, limits) {
    await this.ready();
    return this.send(kind, ask, limits);
  }
  async send(kind, ask, limits) {
    const { worker } = this;
    if (!worker) throw new Error("The worker stopped.");
    const id = this.next++;
    const timer = setTimeout(() => {
      this.stop(new ImageFileError(`takes longer than ${limits.seconds} s`));
    }, limits.seconds * 1e3);
    try {
      return await new Promise((resolve, reject) => {
        this.waiting.set(id, { resolve, reject });
        worker.postMessage({ id, kind, ...ask });
      });
    } finally {
      clearTimeout(timer);
      this.waiting.delete(id);
    }
  }
  start() {
    const worker = new Worker(this.script, { type: "module" });
    worker.addEventListener("message", (event) => {
      const reply = event.data;
      const waiting = this.waiting.get(reply.id);
      if (!waiting) return;
      if (!("error" in reply)) waiting.resolve(reply.value);
      else if (reply.known) waiting.reject(new ImageFileError(reply.error));
      else this.stop(new Error(reply.error));
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      if (this.worker === worker) this.stop(new Error(event.message || "The worker stopped."));
    });
    this.worker = worker;
    const { beginning } = this;
    this.begun = beginning ? this.send(beginning.kind, beginning.ask, beginning.limits) : Promise.resolve();
    this.begun.catch(() => void 0);
  }
  stop(error) {
    this.worker?.terminate();
    this.worker = void 0;
    for (const waiting of this.waiting.values()) waiting.reject(error);
    this.waiting.clear();
  }
};
function toError(error) {
  return error instanceof Error ? error : new Error(String(error));
}

// src/model.ts
function checkModel(value) {
  const model = value;
  if (model?.format !== 2) {
    throw new Error("This model is of another version than the page: export it again.");
  }
  return model;
}

// src/loading.ts
var LOAD = { seconds: 300 };
async function load(progress) {
  const base = document.baseURI;
  const script = URL.createObjectURL(
    new Blob([await fetchBytes("worker.js")], { type: "text/javascript" })
  );
  const description = JSON.parse(
    new TextDecoder().decode(await fetchBytes("model/model.json"))
  );
  const model = checkModel(description);
  const names = ["model/classifier.onnx", ...model.lungs ? ["model/lungs.onnx"] : []];
  const shares = names.map(() => 0);
  const [classifier, lungs] = await Promise.all(
    names.map(
      (name, index) => fetchBytes(`${name}?${model.sha256[name]}`, (share) => {
        shares[index] = share;
        progress(shares.reduce((sum, one) => sum + one, 0) / names.length);
      })
    )
  );
  if (!classifier) throw new Error("The model is missing.");
  const runtime = new URL("ort/", base).href;
  const graphs = {
    classifier: await checked("model/classifier.onnx", classifier, model),
    lungs: lungs && await checked("model/lungs.onnx", lungs, model)
  };
  const threshold = model.region?.needs_lungs ? model.lungs?.threshold : void 0;
  const ask = { runtime, ...graphs, threshold };
  const engine = new Colleague(script, { kind: "load", ask, limits: LOAD });
  await engine.ready();
  return { model, engine, reader: new Colleague(script) };
}
async function checked(name, bytes, model) {
  const wanted = model.sha256[name];
  if (window.isSecureContext) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== wanted) {
      throw new Error(`${name} does not belong to this model. Load the page again, or export it again.`);
    }
  }
  return new Blob([bytes]);
}
async function fetchBytes(name, progress) {
  const cache = name.includes("?") ? "default" : "no-store";
  const response = await fetch(new URL(name, document.baseURI), { cache });
  if (!response.ok) throw new Error(`${name.replace(/\?.*/, "")} could not be loaded (${response.status}).`);
  const total = Number(response.headers.get("Content-Length"));
  if (!progress || !response.body || !total) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    progress?.(1);
    return bytes;
  }
  const pieces = [];
  let n = 0;
  const reader = response.body.getReader();
  for (; ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    n += value.length;
    progress(Math.min(1, n / total));
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

// src/model_card.ts
function modelCard(model) {
  const parts = [part("Limits", bullets(model.limits))];
  const about = [
    ["Model", model.name],
    ["Exported", `${model.created}, kerascxr ${model.kerascxr}`],
    ["Classes", model.classes.join(", ")],
    ["Input", `${model.region ? `${model.region.text}, ` : ""}${model.image_size[0]} x ${model.image_size[1]} pixels, grey`]
  ];
  if (model.members.length) about.splice(1, 0, ["Members", model.members.join(", ")]);
  if (model.lungs) about.push(["Lungs", `${model.lungs.name}, ${model.lungs.size.join(" x ")} pixels`]);
  parts.push(part("Model", facts(about)));
  if (model.data) {
    const rows = Object.entries(model.data.classes).map(([name, n2]) => [name, whole(n2)]);
    const n = model.data.n_train;
    const images = n === null ? "" : ` ${whole(n)} training images.`;
    parts.push(
      part(
        "Data",
        make("p", {}, `${model.data.description}${images}`),
        rows.length > 0 && table("Images by class", ["Class", "Images#"], rows)
      )
    );
  }
  if (model.metrics) parts.push(metrics(model.metrics));
  parts.push(audit(model));
  if (model.lungs?.card && Object.keys(model.lungs.card).length) {
    const rows = Object.entries(model.lungs.card).map(([name, value]) => [
      capital(name.replaceAll("_", " ")),
      typeof value === "object" ? JSON.stringify(value) : capital(String(value))
    ]);
    parts.push(part("Lung model", facts(rows)));
  }
  return parts;
}
function metrics({ n_test, rows, note }) {
  const lines = rows.map(({ name, value, low, high }) => {
    const known = typeof low === "number" && typeof high === "number";
    return [name, value.toFixed(3), known ? `${low.toFixed(3)} to ${high.toFixed(3)}` : "unknown"];
  });
  if (!rows.length) return part("Test metrics", make("p", {}, note));
  return part(
    "Test metrics",
    note !== "" && make("p", {}, note),
    make("p", {}, `On ${whole(n_test)} test images that the model was not trained on.`),
    table("Test metrics", ["Metric", "Value#", "95% interval#"], lines)
  );
}
function audit(model) {
  const note = model.audit_note ?? "";
  if (!model.audit?.length) {
    return part("Shortcut audit", make("p", {}, note || "This model was not audited for shortcuts."));
  }
  const cell = (value) => typeof value === "number" ? value.toFixed(3) : "unknown";
  const rows = model.audit.map((row) => [row.input, cell(row.accuracy), cell(row.auc), row.verdict ?? ""]);
  return part(
    "Shortcut audit",
    note !== "" && make("p", {}, note),
    table("Input ablations", ["Input", "Accuracy#", "AUC#", "Finding"], rows)
  );
}
function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
function bullets(lines) {
  return make("ul", {}, ...lines.map((line) => make("li", {}, line)));
}
function part(title, ...children) {
  return make("section", {}, make("h3", {}, title), ...children);
}
function summary(model) {
  const row = model.metrics?.rows.find(({ name }) => name === "accuracy");
  const interval = typeof row?.low === "number" && typeof row.high === "number" ? ` (95% interval ${percent(row.low)} to ${percent(row.high)})` : "";
  const metric = row ? ` Accuracy ${percent(row.value)}${interval} on ${whole(model.metrics?.n_test ?? 0)} test images of its own data set; images of other hospitals can be answered worse.` : "";
  const [found] = /^.*?\.(?=\s|$)/.exec(model.audit_note ?? "") ?? ["It was not audited for shortcuts."];
  const region = model.region ? ` It gets ${model.region.text}.` : "";
  return `This model distinguishes ${listed(model.classes)}, and nothing else.${region}${metric} ${found}`;
}

// src/offline.ts
var LIST = "files.json";
async function isStale() {
  const running = kept();
  if (!running) return false;
  const version = await serverVersion().catch(() => running);
  if (version === running) return false;
  try {
    if (!version) throw new Error("Another program answers at this address.");
    await keep(version);
  } catch {
    const registration = await navigator.serviceWorker.getRegistration(document.baseURI);
    await registration?.unregister();
  }
  return true;
}
async function keepOffline(newer) {
  if (!("serviceWorker" in navigator)) return false;
  try {
    const version = await serverVersion();
    if (!version) return false;
    const running = kept() ?? version;
    const check = () => {
      const now = kept();
      if (now && now !== running) newer();
    };
    navigator.serviceWorker.addEventListener("controllerchange", check);
    await keep(version);
    if (version !== running) newer();
    return true;
  } catch {
    return false;
  }
}
function kept() {
  const controller = "serviceWorker" in navigator ? navigator.serviceWorker.controller : null;
  return controller ? new URL(controller.scriptURL).searchParams.get("v") ?? "" : void 0;
}
async function serverVersion() {
  const response = await fetch(new URL(LIST, document.baseURI), { cache: "no-store" });
  if (!response.ok) return void 0;
  try {
    const { version } = await response.json();
    return typeof version === "string" ? version : void 0;
  } catch {
    return void 0;
  }
}
async function keep(version) {
  const url = new URL("sw.js", document.baseURI);
  url.searchParams.set("v", version);
  const registration = await navigator.serviceWorker.register(url);
  await activated(registration.installing ?? registration.waiting ?? registration.active);
}
async function activated(worker) {
  if (!worker) throw new Error("No service worker.");
  if (worker.state === "activated") return;
  await new Promise((resolve, reject) => {
    worker.addEventListener("statechange", () => {
      if (worker.state === "activated") resolve();
      if (worker.state === "redundant") reject(new Error("The service worker was not installed."));
    });
  });
}

// src/geometry.ts
var WHOLE2 = { zoom: 1, x: 0.5, y: 0.5 };
var MOST2 = 16;
function placed(view, image, box) {
  const scale = view.zoom * Math.min(box.width / image.width, box.height / image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  return { width, height, left: box.width / 2 - view.x * width, top: box.height / 2 - view.y * height };
}
function part2(whole2, box) {
  if (!box) return whole2;
  return {
    left: whole2.left + box.left * whole2.width,
    top: whole2.top + box.top * whole2.height,
    width: (box.right - box.left) * whole2.width,
    height: (box.bottom - box.top) * whole2.height
  };
}
function limited(view, image, box) {
  const zoom = Math.min(MOST2, Math.max(1, view.zoom));
  const { width, height } = placed({ ...view, zoom }, image, box);
  const keep2 = (value, full, room) => {
    const margin = room / 2 / full;
    return margin >= 0.5 ? 0.5 : Math.min(1 - margin, Math.max(margin, value));
  };
  return { zoom, x: keep2(view.x, width, box.width), y: keep2(view.y, height, box.height) };
}
function zoomed(view, factor, image, box, at = { x: box.width / 2, y: box.height / 2 }) {
  const before = placed(view, image, box);
  const x = (at.x - before.left) / before.width;
  const y = (at.y - before.top) / before.height;
  const zoom = Math.min(MOST2, Math.max(1, view.zoom * factor));
  const after = placed({ ...view, zoom }, image, box);
  const middle = {
    zoom,
    x: x + (box.width / 2 - at.x) / after.width,
    y: y + (box.height / 2 - at.y) / after.height
  };
  return limited(middle, image, box);
}
function panned(view, dx, dy, image, box) {
  const { width, height } = placed(view, image, box);
  return limited({ ...view, x: view.x - dx / width, y: view.y - dy / height }, image, box);
}
function windowTable(centre, width) {
  const table2 = new Uint8Array(256);
  for (let grey = 0; grey < 256; grey++) {
    const share = (grey - (centre - width / 2)) / Math.max(width, 1);
    table2[grey] = Math.round(255 * Math.min(1, Math.max(0, share)));
  }
  return table2;
}

// src/heat.ts
var STRONGEST = 0.55;
var SIDE = 256;
function heatWeight(heat, mix) {
  if (mix <= 0.5) return 2 * mix * STRONGEST * heat;
  const rest = 2 * mix - 1;
  return STRONGEST * heat * (1 - rest) + rest;
}
function heatPicture(map, mix) {
  const { data } = resizeGrid(map, SIDE, SIDE);
  const picture = new ImageData(SIDE, SIDE);
  data.forEach((value, index) => {
    const heat = Math.min(1, Math.max(0, value));
    const colour = 3 * Math.min(255, Math.floor(heat * 256));
    picture.data.set(INFERNO.subarray(colour, colour + 3), 4 * index);
    picture.data[4 * index + 3] = Math.round(255 * heatWeight(heat, mix));
  });
  return picture;
}

// src/viewer.ts
var MOST_PIXELS = 16e6;
var STEP = 1.25;
var MOVE = 40;
var LUNGS2 = "#57d6c4";
var Viewer = class {
  constructor(canvas) {
    this.canvas = canvas;
    new ResizeObserver(() => {
      this.setView(this.view);
    }).observe(canvas);
    canvas.addEventListener("keydown", (event) => this.onKey(event));
    canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.onPointer(event));
    canvas.addEventListener("pointermove", (event) => this.onMove(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("dblclick", (event) => {
      this.zoom(this.view.zoom > 1 ? 1 / this.view.zoom : 2.5, this.at(event));
    });
  }
  canvas;
  shown;
  view = WHOLE2;
  settings = { mix: 0, outline: true, centre: 127.5, width: 255 };
  reduced;
  base;
  heat;
  pending = false;
  pointers = /* @__PURE__ */ new Map();
  /** Shows an image, whole unless it is the one that is shown; undefined shows none. */
  show(shown, again = false) {
    this.shown = shown;
    this.reduced = shown ? reduce(shown.image) : void 0;
    this.base = this.heat = void 0;
    this.canvas.setAttribute("aria-label", shown?.label ?? "No image");
    this.setView(again ? this.view : WHOLE2);
  }
  /** Shows another map over the same image. */
  setMap(map) {
    if (!this.shown) return;
    this.shown = { ...this.shown, map };
    this.heat = void 0;
    this.draw();
  }
  set(settings) {
    const old = this.settings;
    if (old.centre !== settings.centre || old.width !== settings.width) this.base = void 0;
    if (old.mix !== settings.mix) this.heat = void 0;
    this.settings = settings;
    this.draw();
  }
  zoom(factor, at) {
    if (this.shown) this.setView(zoomed(this.view, factor, this.shown.image, this.box(), at));
  }
  whole() {
    this.setView(WHOLE2);
  }
  setView(view) {
    this.view = this.shown ? limited(view, this.shown.image, this.box()) : WHOLE2;
    this.canvas.classList.toggle("moves", this.view.zoom > 1);
    this.canvas.dataset.zoom = this.view.zoom.toFixed(2);
    this.draw();
  }
  move(dx, dy) {
    if (this.shown) this.setView(panned(this.view, dx, dy, this.shown.image, this.box()));
  }
  box() {
    return { width: this.canvas.clientWidth || 1, height: this.canvas.clientHeight || 1 };
  }
  at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }
  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      "+": () => this.zoom(STEP),
      "=": () => this.zoom(STEP),
      "-": () => this.zoom(1 / STEP),
      "0": () => this.whole(),
      ArrowLeft: () => this.move(MOVE, 0),
      ArrowRight: () => this.move(-MOVE, 0),
      ArrowUp: () => this.move(0, MOVE),
      ArrowDown: () => this.move(0, -MOVE)
    };
    const act = acts[event.key];
    if (!act || event.key.startsWith("Arrow") && this.view.zoom === 1) return;
    event.preventDefault();
    act();
  }
  /** The wheel zooms where the image has the focus or with Ctrl; else it scrolls the page. */
  onWheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.canvas) return;
    event.preventDefault();
    this.zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(0.3, Math.abs(event.deltaY) / 300)), this.at(event));
  }
  onPointer(event) {
    this.pointers.set(event.pointerId, this.at(event));
    this.canvas.setPointerCapture(event.pointerId);
  }
  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
      this.zoom(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else this.move(now.x - before.x, now.y - before.y);
    this.pointers.set(event.pointerId, now);
  }
  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.drawNow();
    });
  }
  drawNow() {
    const { canvas, shown, reduced } = this;
    const density = Math.min(window.devicePixelRatio || 1, 3);
    const box = this.box();
    canvas.width = Math.round(box.width * density);
    canvas.height = Math.round(box.height * density);
    const context = canvas.getContext("2d");
    if (!context || !shown || !reduced) return;
    const { left, top, width, height } = placed(this.view, shown.image, box);
    context.scale(density, density);
    context.imageSmoothingEnabled = width < 4 * shown.image.width;
    context.imageSmoothingQuality = "high";
    this.base ??= greyCanvas(reduced, windowTable(this.settings.centre, this.settings.width));
    context.drawImage(this.base, left, top, width, height);
    if (shown.map && this.settings.mix > 0) {
      this.heat ??= pictureCanvas(heatPicture(shown.map, this.settings.mix));
      context.imageSmoothingEnabled = true;
      const on = part2({ left, top, width, height }, shown.box);
      context.drawImage(this.heat, on.left, on.top, on.width, on.height);
    }
    if (shown.outline && this.settings.outline) {
      drawLines(context, shown.outline, { left, top, width, height });
    }
  }
};
function drawLines(context, lines, place) {
  context.beginPath();
  for (let at = 0; at + 3 < lines.length; at += 4) {
    context.moveTo(place.left + lines[at] * place.width, place.top + lines[at + 1] * place.height);
    context.lineTo(place.left + lines[at + 2] * place.width, place.top + lines[at + 3] * place.height);
  }
  context.lineCap = "round";
  for (const [style, width] of [["rgb(0 0 0 / 55%)", 4], [LUNGS2, 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke();
  }
}
function reduce(image) {
  const factor = Math.ceil(Math.sqrt(image.width * image.height / MOST_PIXELS));
  if (factor <= 1) return image;
  const width = Math.max(1, Math.floor(image.width / factor));
  const height = Math.max(1, Math.floor(image.height / factor));
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      let n = 0;
      for (let row = y * factor; row < Math.min(image.height, (y + 1) * factor); row++) {
        for (let column2 = x * factor; column2 < Math.min(image.width, (x + 1) * factor); column2++) {
          sum += image.data[row * image.width + column2];
          n++;
        }
      }
      data[y * width + x] = sum / n;
    }
  }
  return { width, height, data };
}
function greyCanvas(image, table2) {
  const picture = new ImageData(image.width, image.height);
  const pixels = new Uint32Array(picture.data.buffer);
  const colours = Uint32Array.from(table2, (grey) => (4278190080 | grey * 65793) >>> 0);
  for (let index = 0; index < pixels.length; index++) pixels[index] = colours[image.data[index]];
  return pictureCanvas(picture);
}
function pictureCanvas(picture) {
  const canvas = make("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d")?.putImageData(picture, 0, 0);
  return canvas;
}

// src/main.ts
var byId = (id) => find(id, HTMLElement);
var button = (id) => find(id, HTMLButtonElement);
var slider = (id) => find(id, HTMLInputElement);
var Page = class {
  // the image for which the map's class was chosen
  constructor(model, { reader, engine }) {
    this.model = model;
    this.items = new Items(model, reader, engine, (item) => this.changed(item));
    byId("head").replaceChildren(headerRow(model));
    byId("outline-label").hidden = !model.lungs;
    const choice = find("map-class", HTMLSelectElement);
    for (const name of model.classes) choice.append(make("option", { value: name }, name));
    this.connect(choice);
  }
  model;
  viewer = new Viewer(find("view", HTMLCanvasElement));
  items;
  selected;
  showing = 0;
  shownId = 0;
  mapId = 0;
  add(files) {
    if (!files.length) return;
    const [first] = this.items.add(files);
    byId("start").hidden = true;
    button("add").hidden = false;
    byId("result").hidden = byId("all").hidden = false;
    if (first) this.select(first);
    this.fillTable();
    byId("image-name").focus({ preventScroll: true });
  }
  /** Answers a file as the page does, without showing it. */
  async answer(file) {
    const start2 = performance.now();
    const image = await this.items.decode(file);
    const answer = await this.items.answer(image);
    return plain(this.model, answer, (performance.now() - start2) / 1e3);
  }
  decode(file) {
    return this.items.decode(file);
  }
  connect(choice) {
    for (const id of ["mix", "level", "window", "outline"]) {
      byId(id).addEventListener("input", () => this.applySettings());
    }
    choice.addEventListener("change", () => {
      this.viewer.setMap(this.map());
      if (slider("mix").value === "0") {
        slider("mix").value = "50";
        this.applySettings();
      }
    });
    button("zoom-in").addEventListener("click", () => this.viewer.zoom(1.5));
    button("zoom-out").addEventListener("click", () => this.viewer.zoom(1 / 1.5));
    button("zoom-whole").addEventListener("click", () => this.viewer.whole());
    button("reset").addEventListener("click", () => this.reset());
    button("previous").addEventListener("click", () => this.step(-1));
    button("next").addEventListener("click", () => this.step(1));
    button("save").addEventListener("click", () => this.save());
    button("clear").addEventListener("click", () => this.clear());
    drawScale(find("scale", HTMLCanvasElement));
  }
  changed(item) {
    this.fillTable();
    if (item !== this.selected) return;
    this.fillAnswer();
    if (item.state === "done" || item.state === "failed") {
      byId("live").textContent = spoken(item);
      void this.showImage();
    }
  }
  select(item) {
    if (item !== this.selected) this.resetWindow();
    this.selected = item;
    byId("image-name").replaceChildren(make("span", {}, ...breakableFile(item.name)));
    this.fillAnswer();
    this.fillTable();
    void this.showImage();
  }
  step(by) {
    const { all } = this.items;
    const item = all[this.selected ? all.indexOf(this.selected) + by : 0];
    if (!item) return;
    this.select(item);
    byId("live").textContent = spoken(item);
  }
  fillAnswer() {
    if (!this.selected) return;
    byId("decision").replaceChildren(...decisionParts(this.model, this.selected));
    byId("answer").replaceChildren(...answerParts(this.model, this.selected));
  }
  async showImage() {
    const item = this.selected;
    if (!item) return;
    const turn = ++this.showing;
    const { answer } = item;
    const failed = item.state === "failed";
    byId("viewer").hidden = failed;
    byId("map-control").hidden = !answer?.cams.length;
    const note = byId("stage-text");
    if (failed || !item.image) {
      note.hidden = false;
      note.textContent = "Reading the image…";
      this.viewer.show(void 0);
      this.shownId = 0;
      if (failed || item.state === "waiting") return;
    }
    if (item.state === "reading" && !item.image) return;
    let image;
    try {
      image = await this.items.pixels(item);
    } catch (error) {
      if (turn !== this.showing) return;
      note.textContent = `${item.name} ${problemOf(error)}.`;
      note.hidden = false;
      return;
    }
    if (turn !== this.showing) return;
    note.hidden = true;
    const lungs = answer?.lungs;
    if (answer && this.mapId !== item.id) {
      find("map-class", HTMLSelectElement).value = answer.predicted;
      this.mapId = item.id;
    }
    const again = this.shownId === item.id;
    this.shownId = item.id;
    this.viewer.show({
      image,
      label: `X-ray ${item.name}`,
      outline: lungs && this.model.lungs ? outline(lungs.grid, this.model.lungs.threshold) : void 0,
      map: this.map(),
      box: answer?.box
    }, again);
    this.applySettings();
  }
  map() {
    const index = this.model.classes.indexOf(find("map-class", HTMLSelectElement).value);
    return this.selected?.answer?.cams[index];
  }
  applySettings() {
    const mix = Number(slider("mix").value) / 100;
    const contrast = Number(slider("window").value) / 100;
    this.viewer.set({
      mix,
      outline: slider("outline").checked,
      centre: 127.5 - Number(slider("level").value),
      width: 255 * 8 ** -contrast
    });
    byId("map-scale").hidden = mix === 0 || !this.map();
  }
  resetWindow() {
    for (const id of ["level", "window"]) slider(id).value = "0";
  }
  reset() {
    this.resetWindow();
    slider("mix").value = "0";
    slider("outline").checked = true;
    this.viewer.whole();
    this.applySettings();
  }
  fillTable() {
    const { all } = this.items;
    const focused = [...byId("rows").querySelectorAll("button")].findIndex(
      (one) => one === document.activeElement
    );
    const rows = all.map(
      (item) => imageRow(this.model, item, item === this.selected, (chosen) => {
        this.select(chosen);
        byId("image-name").scrollIntoView({ block: "nearest" });
      })
    );
    byId("rows").replaceChildren(...rows);
    if (focused >= 0) byId("rows").querySelectorAll("button")[focused]?.focus();
    const count = (state) => all.filter((item) => item.state === state).length;
    const [done, failed] = [count("done"), count("failed")];
    const left = all.length - done - failed;
    const unread = failed ? ` ${failed} could not be read; the CSV leaves them out.` : "";
    byId("progress-text").textContent = (left ? `${done + failed} of ${all.length} read.` : `${done} answered.`) + unread;
    byId("all").setAttribute("aria-busy", String(left > 0));
    button("save").disabled = done === 0;
    byId("pager").hidden = all.length < 2;
    const place = this.selected ? all.indexOf(this.selected) : 0;
    byId("position").textContent = `${place + 1} of ${all.length}`;
    button("previous").disabled = place === 0;
    button("next").disabled = place === all.length - 1;
  }
  save() {
    const rows = this.items.all.flatMap(({ name, answer }) => answer ? [{ path: name, answer }] : []);
    const url = URL.createObjectURL(new Blob([toCsv(this.model, rows)], { type: "text/csv" }));
    make("a", { href: url, download: "predictions.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1e4);
  }
  clear() {
    this.items.clear();
    this.selected = void 0;
    this.reset();
    this.viewer.show(void 0);
    byId("result").hidden = byId("all").hidden = true;
    byId("start").hidden = false;
    button("add").hidden = true;
    byId("live").textContent = "All images are removed.";
    button("choose").focus();
  }
};
function drawScale(canvas) {
  const picture = new ImageData(256, 1);
  for (let step = 0; step < 256; step++) {
    picture.data.set([...INFERNO.subarray(3 * step, 3 * step + 3), 255], 4 * step);
  }
  canvas.getContext("2d")?.putImageData(picture, 0, 0);
}
function showModel(model) {
  byId("model-name").textContent = model.name;
  byId("answers").textContent = summary(model);
  byId("answers").hidden = false;
  byId("loading").hidden = true;
  byId("card-text").replaceChildren(...modelCard(model));
  const card = find("card", HTMLDialogElement);
  button("open-card").disabled = false;
  button("open-card").addEventListener("click", () => card.showModal());
  button("close-card").addEventListener("click", () => card.close());
  card.addEventListener("click", (event) => {
    if (event.target === card) card.close();
  });
}
async function start() {
  const early = [];
  let page;
  takeFiles((files) => {
    if (page) page.add(files);
    else {
      early.push(...files);
      byId("loading-text").textContent = "Loading the model; then the images are read";
    }
  });
  try {
    if (await isStale()) {
      location.reload();
      await new Promise(() => void 0);
    }
    const bar = find("loaded", HTMLProgressElement);
    const loaded = await load((share) => {
      if (share < 1) bar.value = share;
      else bar.removeAttribute("value");
    });
    page = new Page(loaded.model, loaded);
    showModel(loaded.model);
    page.add(early);
    return page;
  } catch (error) {
    byId("loading").hidden = true;
    const text = error instanceof Error ? error.message : String(error);
    byId("trouble").textContent = `The model could not be loaded: ${text}`;
    byId("trouble").hidden = false;
    throw error;
  }
}
var started = start();
var ready = started.then(() => void 0);
button("reload").addEventListener("click", () => location.reload());
window.kerascxr = {
  ready,
  offline: ready.then(
    () => keepOffline(() => {
      byId("newer").hidden = false;
    })
  ),
  answer: async (file) => (await started).answer(file),
  decode: async (file) => (await started).decode(file)
};
window.kerascxr.offline.catch(() => void 0);
