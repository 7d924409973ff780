"""Figures are packed: X-rays much smaller, drawings without loss, and never larger."""

import numpy as np
from PIL import Image

from kerascxr.report.pictures import pack


def saved(pixels, path):
    Image.fromarray(pixels).save(path)
    return path


def test_an_xray_takes_a_quarter_of_its_png(tmp_path):
    random = np.random.default_rng(0)
    smooth = np.linspace(60, 200, 256)[:, None] * np.ones((256, 256))
    film = (smooth + random.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
    png = saved(film, tmp_path / "film.png")
    packed = pack(png, tmp_path / "packed")
    assert packed.name == "packed.webp"
    assert packed.stat().st_size < png.stat().st_size / 2
    difference = np.asarray(Image.open(packed).convert("L")).astype(int) - film
    assert np.abs(difference).mean() < 5


def test_a_drawing_keeps_every_pixel(tmp_path):
    drawing = np.full((300, 400, 3), 255, np.uint8)
    drawing[::20, :, :] = drawing[:, ::25, 1:] = 0
    png = saved(drawing, tmp_path / "drawing.png")
    packed = pack(png, tmp_path / "packed")
    assert packed.stat().st_size <= png.stat().st_size
    assert (np.asarray(Image.open(packed).convert("RGB")) == drawing).all()
