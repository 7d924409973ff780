/** Where an image lies in its box: zoom and pan, as pure functions. */

export interface View {
  /** 1 shows the whole image. */
  zoom: number;
  /** The point of the image at the box's middle, in shares of its width and height. */
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

/** A part of an image, in shares of its width and height. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export const WHOLE: View = { zoom: 1, x: 0.5, y: 0.5 };
const MOST = 16;

/** Returns the rectangle in the box that the image fills. */
export function placed(view: View, image: Size, box: Size): Size & { left: number; top: number } {
  const scale = view.zoom * Math.min(box.width / image.width, box.height / image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  return { width, height, left: box.width / 2 - view.x * width, top: box.height / 2 - view.y * height };
}

/** Returns where a part of an image lies, of where the whole image does. */
export function part(
  whole: Size & { left: number; top: number },
  box: Box | undefined,
): Size & { left: number; top: number } {
  if (!box) return whole;
  return {
    left: whole.left + box.left * whole.width,
    top: whole.top + box.top * whole.height,
    width: (box.right - box.left) * whole.width,
    height: (box.bottom - box.top) * whole.height,
  };
}

/** Keeps the image in its box: no empty margin where it is larger, centred where it is smaller. */
export function limited(view: View, image: Size, box: Size): View {
  const zoom = Math.min(MOST, Math.max(1, view.zoom));
  const { width, height } = placed({ ...view, zoom }, image, box);
  const keep = (value: number, full: number, room: number): number => {
    const margin = room / 2 / full;
    return margin >= 0.5 ? 0.5 : Math.min(1 - margin, Math.max(margin, value));
  };
  return { zoom, x: keep(view.x, width, box.width), y: keep(view.y, height, box.height) };
}

/** Zooms about a point of the box, in pixels, which stays where it is. */
export function zoomed(
  view: View,
  factor: number,
  image: Size,
  box: Size,
  at: { x: number; y: number } = { x: box.width / 2, y: box.height / 2 },
): View {
  const before = placed(view, image, box);
  const x = (at.x - before.left) / before.width;
  const y = (at.y - before.top) / before.height;
  const zoom = Math.min(MOST, Math.max(1, view.zoom * factor));
  const after = placed({ ...view, zoom }, image, box);
  const middle = {
    zoom,
    x: x + (box.width / 2 - at.x) / after.width,
    y: y + (box.height / 2 - at.y) / after.height,
  };
  return limited(middle, image, box);
}

/** Moves the image by pixels of the box. */
export function panned(view: View, dx: number, dy: number, image: Size, box: Size): View {
  const { width, height } = placed(view, image, box);
  return limited({ ...view, x: view.x - dx / width, y: view.y - dy / height }, image, box);
}

/** Returns what each grey level is shown as, for a window's centre and width, both 0..255. */
export function windowTable(centre: number, width: number): Uint8Array {
  const table = new Uint8Array(256);
  for (let grey = 0; grey < 256; grey++) {
    const share = (grey - (centre - width / 2)) / Math.max(width, 1);
    table[grey] = Math.round(255 * Math.min(1, Math.max(0, share)));
  }
  return table;
}
