/** Grey of colours, as kerascxr.data.images computes it, in Pillow's integers. */

/** ITU-R 601 luma of 8-bit colour. */
export function luma(red: number, green: number, blue: number): number {
  return (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16;
}

/** The same before black, for a pixel of some transparency (alpha 0..255). */
export function lumaOnBlack(red: number, green: number, blue: number, alpha: number): number {
  if (alpha === 255) return luma(red, green, blue);
  const on = (value: number): number => Math.floor((value * alpha + 127) / 255);
  return luma(on(red), on(green), on(blue));
}

/** Rounds halves to the even number, as NumPy and TensorFlow do. */
export function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest < 0.5) return below;
  if (rest > 0.5) return below + 1;
  return below % 2 === 0 ? below : below + 1;
}
