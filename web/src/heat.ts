/** Evidence maps (Grad-CAM) as pictures: kerascxr.plots.heat in TypeScript. */

import { INFERNO } from "./inferno.ts";
import { type Grid, resizeGrid } from "./lungs.ts";

const STRONGEST = 0.55; // of the map in the picture, where it is 1
const SIDE = 256; // of the picture that is laid over the image

/** How much of the map's colour is in the picture: 0 is the image, 0.5 the package's overlay, 1 the map. */
export function heatWeight(heat: number, mix: number): number {
  if (mix <= 0.5) return 2 * mix * STRONGEST * heat;
  const rest = 2 * mix - 1;
  return STRONGEST * heat * (1 - rest) + rest;
}

/** Returns RGBA of a map, to lay over its image. */
export function heatPicture(map: Grid, mix: number): ImageData {
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
