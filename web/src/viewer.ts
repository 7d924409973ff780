/** The image on the page, with its map and its lungs; zoom, pan, brightness and contrast. */

import { make } from "./dom.ts";
import { type Box, limited, panned, part, placed, type Size, type View, WHOLE, windowTable, zoomed } from "./geometry.ts";
import { heatPicture } from "./heat.ts";
import type { Grey } from "./limits.ts";
import type { Grid } from "./lungs.ts";

const MOST_PIXELS = 16_000_000; // that a canvas holds everywhere
const STEP = 1.25;
const MOVE = 40; // pixels an arrow key moves the image by
const LUNGS = "#57d6c4";

export interface Shown {
  image: Grey;
  label: string;
  /** Line segments in shares of width and height. */
  outline: Float32Array | undefined;
  map: Grid | undefined;
  /** The part of the image that the map covers; undefined for the whole of it. */
  box: Box | undefined;
}

export interface Settings {
  /** 0 the image, 1 the map. */
  mix: number;
  outline: boolean;
  /** Grey level at the middle, and width, of what is shown from black to white. */
  centre: number;
  width: number;
}

export class Viewer {
  private shown: Shown | undefined;
  private view: View = WHOLE;
  private settings: Settings = { mix: 0, outline: true, centre: 127.5, width: 255 };
  private reduced: Grey | undefined;
  private base: HTMLCanvasElement | undefined;
  private heat: HTMLCanvasElement | undefined;
  private pending = false;
  private readonly pointers = new Map<number, { x: number; y: number }>();

  constructor(private readonly canvas: HTMLCanvasElement) {
    new ResizeObserver(() => {
      this.setView(this.view);
    }).observe(canvas);
    canvas.addEventListener("keydown", (event) => this.onKey(event));
    canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.onPointer(event));
    canvas.addEventListener("pointermove", (event) => this.onMove(event));
    for (const name of ["pointerup", "pointercancel"] as const) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("dblclick", (event) => {
      this.zoom(this.view.zoom > 1 ? 1 / this.view.zoom : 2.5, this.at(event));
    });
  }

  /** Shows an image, whole unless it is the one that is shown; undefined shows none. */
  show(shown: Shown | undefined, again = false): void {
    this.shown = shown;
    this.reduced = shown ? reduce(shown.image) : undefined;
    this.base = this.heat = undefined;
    this.canvas.setAttribute("aria-label", shown?.label ?? "No image");
    this.setView(again ? this.view : WHOLE);
  }

  /** Shows another map over the same image. */
  setMap(map: Grid | undefined): void {
    if (!this.shown) return;
    this.shown = { ...this.shown, map };
    this.heat = undefined;
    this.draw();
  }

  set(settings: Settings): void {
    const old = this.settings;
    if (old.centre !== settings.centre || old.width !== settings.width) this.base = undefined;
    if (old.mix !== settings.mix) this.heat = undefined;
    this.settings = settings;
    this.draw();
  }

  zoom(factor: number, at?: { x: number; y: number }): void {
    if (this.shown) this.setView(zoomed(this.view, factor, this.shown.image, this.box(), at));
  }

  whole(): void {
    this.setView(WHOLE);
  }

  private setView(view: View): void {
    this.view = this.shown ? limited(view, this.shown.image, this.box()) : WHOLE;
    this.canvas.classList.toggle("moves", this.view.zoom > 1);
    this.canvas.dataset.zoom = this.view.zoom.toFixed(2);
    this.draw();
  }

  private move(dx: number, dy: number): void {
    if (this.shown) this.setView(panned(this.view, dx, dy, this.shown.image, this.box()));
  }

  private box(): Size {
    return { width: this.canvas.clientWidth || 1, height: this.canvas.clientHeight || 1 };
  }

  private at(event: MouseEvent): { x: number; y: number } {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  private onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts: Record<string, () => void> = {
      "+": () => this.zoom(STEP),
      "=": () => this.zoom(STEP),
      "-": () => this.zoom(1 / STEP),
      "0": () => this.whole(),
      ArrowLeft: () => this.move(MOVE, 0),
      ArrowRight: () => this.move(-MOVE, 0),
      ArrowUp: () => this.move(0, MOVE),
      ArrowDown: () => this.move(0, -MOVE),
    };
    const act = acts[event.key];
    if (!act || (event.key.startsWith("Arrow") && this.view.zoom === 1)) return;
    event.preventDefault();
    act();
  }

  /** The wheel zooms where the image has the focus or with Ctrl; else it scrolls the page. */
  private onWheel(event: WheelEvent): void {
    if (!event.ctrlKey && document.activeElement !== this.canvas) return;
    event.preventDefault();
    this.zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(0.3, Math.abs(event.deltaY) / 300)), this.at(event));
  }

  private onPointer(event: PointerEvent): void {
    this.pointers.set(event.pointerId, this.at(event));
    this.canvas.setPointerCapture(event.pointerId);
  }

  private onMove(event: PointerEvent): void {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (point: { x: number; y: number }): number =>
        Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
      this.zoom(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else this.move(now.x - before.x, now.y - before.y);
    this.pointers.set(event.pointerId, now);
  }

  private draw(): void {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.drawNow();
    });
  }

  private drawNow(): void {
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
      const on = part({ left, top, width, height }, shown.box);
      context.drawImage(this.heat, on.left, on.top, on.width, on.height);
    }
    if (shown.outline && this.settings.outline) {
      drawLines(context, shown.outline, { left, top, width, height });
    }
  }
}

function drawLines(
  context: CanvasRenderingContext2D,
  lines: Float32Array,
  place: { left: number; top: number; width: number; height: number },
): void {
  context.beginPath();
  for (let at = 0; at + 3 < lines.length; at += 4) {
    context.moveTo(place.left + lines[at]! * place.width, place.top + lines[at + 1]! * place.height);
    context.lineTo(place.left + lines[at + 2]! * place.width, place.top + lines[at + 3]! * place.height);
  }
  context.lineCap = "round";
  for (const [style, width] of [["rgb(0 0 0 / 55%)", 4], [LUNGS, 2]] as const) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke();
  }
}

/** Averages blocks of pixels until the image fits a canvas. */
function reduce(image: Grey): Grey {
  const factor = Math.ceil(Math.sqrt((image.width * image.height) / MOST_PIXELS));
  if (factor <= 1) return image;
  const width = Math.max(1, Math.floor(image.width / factor));
  const height = Math.max(1, Math.floor(image.height / factor));
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      let n = 0;
      for (let row = y * factor; row < Math.min(image.height, (y + 1) * factor); row++) {
        for (let column = x * factor; column < Math.min(image.width, (x + 1) * factor); column++) {
          sum += image.data[row * image.width + column]!;
          n++;
        }
      }
      data[y * width + x] = sum / n;
    }
  }
  return { width, height, data };
}

function greyCanvas(image: Grey, table: Uint8Array): HTMLCanvasElement {
  const picture = new ImageData(image.width, image.height);
  const pixels = new Uint32Array(picture.data.buffer);
  const colours = Uint32Array.from(table, (grey) => (0xff000000 | (grey * 0x010101)) >>> 0);
  for (let index = 0; index < pixels.length; index++) pixels[index] = colours[image.data[index]!]!;
  return pictureCanvas(picture);
}

function pictureCanvas(picture: ImageData): HTMLCanvasElement {
  const canvas = make("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d")?.putImageData(picture, 0, 0);
  return canvas;
}
