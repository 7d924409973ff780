"""Tests share the phantom's drawings; a user's command draws those that it needs."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from kerascxr.data.phantom import drawing


def draw_once(patched, folder):
    """Keeps each drawing in a file for all workers, without its mark, which is drawn anew."""
    draw = drawing.Drawing.draw
    folder.mkdir(exist_ok=True)

    def drawn(self):
        height, width = self.size
        path = folder / f"{self.seed}-{self.index}-{self.label}-{height}x{width}.npy"
        if not path.exists():
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                np.save(file, draw(replace(self, marked=False)))
            Path(file.name).replace(path)
        image, mask = np.load(path)
        return (drawing._mark(image, self.label) if self.marked else image), mask

    drawn.anew = draw
    patched.setattr(drawing.Drawing, "draw", drawn)
