/** The page: brings the images, the viewer, the answers and the table together. */

import { plain, toCsv } from "./answer.ts";
import { answerParts, decisionParts, spoken } from "./answer_panel.ts";
import type { Decoded } from "./decode.ts";
import { breakableFile, find, make } from "./dom.ts";
import { headerRow, imageRow } from "./image_table.ts";
import { INFERNO } from "./inferno.ts";
import { type Given, takeFiles } from "./intake.ts";
import { type Item, Items, problemOf } from "./items.ts";
import { load, type Loaded } from "./loading.ts";
import { outline } from "./lungs.ts";
import type { Model } from "./model.ts";
import { modelCard, summary } from "./model_card.ts";
import { isStale, keepOffline } from "./offline.ts";
import { Viewer } from "./viewer.ts";

const byId = (id: string): HTMLElement => find(id, HTMLElement);
const button = (id: string): HTMLButtonElement => find(id, HTMLButtonElement);
const slider = (id: string): HTMLInputElement => find(id, HTMLInputElement);

class Page {
  private readonly viewer = new Viewer(find("view", HTMLCanvasElement));
  private readonly items: Items;
  private selected: Item | undefined;
  private showing = 0;
  private shownId = 0;
  private mapId = 0; // the image for which the map's class was chosen

  constructor(
    private readonly model: Model,
    { reader, engine }: Loaded,
  ) {
    this.items = new Items(model, reader, engine, (item) => this.changed(item));
    byId("head").replaceChildren(headerRow(model));
    byId("outline-label").hidden = !model.lungs;
    const choice = find("map-class", HTMLSelectElement);
    for (const name of model.classes) choice.append(make("option", { value: name }, name));
    this.connect(choice);
  }

  add(files: Given[]): void {
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
  async answer(file: Blob): Promise<Record<string, unknown>> {
    const start = performance.now();
    const image = await this.items.decode(file);
    const answer = await this.items.answer(image);
    return plain(this.model, answer, (performance.now() - start) / 1000);
  }

  decode(file: Blob): Promise<Decoded> {
    return this.items.decode(file);
  }

  private connect(choice: HTMLSelectElement): void {
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

  private changed(item: Item): void {
    this.fillTable();
    if (item !== this.selected) return;
    this.fillAnswer();
    if (item.state === "done" || item.state === "failed") {
      byId("live").textContent = spoken(item);
      void this.showImage();
    }
  }

  private select(item: Item): void {
    if (item !== this.selected) this.resetWindow(); // each image as its file shows it
    this.selected = item;
    byId("image-name").replaceChildren(make("span", {}, ...breakableFile(item.name)));
    this.fillAnswer();
    this.fillTable();
    void this.showImage();
  }

  private step(by: number): void {
    const { all } = this.items;
    const item = all[this.selected ? all.indexOf(this.selected) + by : 0];
    if (!item) return;
    this.select(item);
    byId("live").textContent = spoken(item);
  }

  private fillAnswer(): void {
    if (!this.selected) return;
    byId("decision").replaceChildren(...decisionParts(this.model, this.selected));
    byId("answer").replaceChildren(...answerParts(this.model, this.selected));
  }

  private async showImage(): Promise<void> {
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
      this.viewer.show(undefined);
      this.shownId = 0;
      if (failed || item.state === "waiting") return;
    }
    if (item.state === "reading" && !item.image) return; // shown when it is decoded
    let image: Decoded;
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
      outline: lungs && this.model.lungs ? outline(lungs.grid, this.model.lungs.threshold) : undefined,
      map: this.map(),
      box: answer?.box,
    }, again);
    this.applySettings();
  }

  private map(): NonNullable<Item["answer"]>["cams"][number] | undefined {
    const index = this.model.classes.indexOf(find("map-class", HTMLSelectElement).value);
    return this.selected?.answer?.cams[index];
  }

  private applySettings(): void {
    const mix = Number(slider("mix").value) / 100;
    const contrast = Number(slider("window").value) / 100;
    this.viewer.set({
      mix,
      outline: slider("outline").checked,
      centre: 127.5 - Number(slider("level").value),
      width: 255 * 8 ** -contrast,
    });
    byId("map-scale").hidden = mix === 0 || !this.map();
  }

  private resetWindow(): void {
    for (const id of ["level", "window"]) slider(id).value = "0";
  }

  private reset(): void {
    this.resetWindow();
    slider("mix").value = "0";
    slider("outline").checked = true;
    this.viewer.whole();
    this.applySettings();
  }

  private fillTable(): void {
    const { all } = this.items;
    const focused = [...byId("rows").querySelectorAll("button")].findIndex(
      (one) => one === document.activeElement,
    );
    const rows = all.map((item) =>
      imageRow(this.model, item, item === this.selected, (chosen) => {
        this.select(chosen);
        byId("image-name").scrollIntoView({ block: "nearest" });
      }),
    );
    byId("rows").replaceChildren(...rows);
    if (focused >= 0) byId("rows").querySelectorAll("button")[focused]?.focus();
    const count = (state: Item["state"]): number => all.filter((item) => item.state === state).length;
    const [done, failed] = [count("done"), count("failed")];
    const left = all.length - done - failed;
    const unread = failed ? ` ${failed} could not be read; the CSV leaves them out.` : "";
    byId("progress-text").textContent =
      (left ? `${done + failed} of ${all.length} read.` : `${done} answered.`) + unread;
    byId("all").setAttribute("aria-busy", String(left > 0));
    button("save").disabled = done === 0;
    byId("pager").hidden = all.length < 2;
    const place = this.selected ? all.indexOf(this.selected) : 0;
    byId("position").textContent = `${place + 1} of ${all.length}`;
    button("previous").disabled = place === 0;
    button("next").disabled = place === all.length - 1;
  }

  private save(): void {
    const rows = this.items.all.flatMap(({ name, answer }) => (answer ? [{ path: name, answer }] : []));
    const url = URL.createObjectURL(new Blob([toCsv(this.model, rows)], { type: "text/csv" }));
    make("a", { href: url, download: "predictions.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  private clear(): void {
    this.items.clear();
    this.selected = undefined;
    this.reset();
    this.viewer.show(undefined);
    byId("result").hidden = byId("all").hidden = true;
    byId("start").hidden = false;
    button("add").hidden = true;
    byId("live").textContent = "All images are removed.";
    button("choose").focus();
  }
}

function drawScale(canvas: HTMLCanvasElement): void {
  const picture = new ImageData(256, 1);
  for (let step = 0; step < 256; step++) {
    picture.data.set([...INFERNO.subarray(3 * step, 3 * step + 3), 255], 4 * step);
  }
  canvas.getContext("2d")?.putImageData(picture, 0, 0);
}

function showModel(model: Model): void {
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
    if (event.target === card) card.close(); // beside the dialog
  });
}

async function start(): Promise<Page> {
  const early: Given[] = [];
  let page: Page | undefined;
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
      await new Promise(() => undefined);
    }
    const bar = find("loaded", HTMLProgressElement);
    const loaded = await load((share) => {
      if (share < 1) bar.value = share;
      else bar.removeAttribute("value"); // starting takes as long as it takes
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

declare global {
  interface Window {
    kerascxr: {
      ready: Promise<void>;
      offline: Promise<boolean>;
      answer: (file: Blob) => Promise<Record<string, unknown>>;
      decode: (file: Blob) => Promise<Decoded>;
    };
  }
}

const started = start();
const ready = started.then(() => undefined);
button("reload").addEventListener("click", () => location.reload());
window.kerascxr = {
  ready,
  offline: ready.then(() =>
    keepOffline(() => {
      byId("newer").hidden = false;
    }),
  ),
  answer: async (file) => (await started).answer(file),
  decode: async (file) => (await started).decode(file),
};
window.kerascxr.offline.catch(() => undefined);
