"""Image files for the tests of the browser page, as Playwright takes them."""

import numpy as np

from tests.support import hostile_files as hostile

ROWS, COLUMNS = 96, 128


def lungs_on_bright():
    """An image whose dark halves the stand-in takes for lungs: uint8 (ROWS, COLUMNS)."""
    grey = np.full((ROWS, COLUMNS), 200, np.uint8)
    grey[24:72, 16:48] = grey[24:72, 80:112] = 30
    grey[80:84, 60:64] = 30  # a third component, which is dropped
    return grey


def file(name, data):
    return {"name": name, "mimeType": "", "buffer": data}


def png(name="chest.png", grey=None):
    return file(name, hostile.encode(lungs_on_bright() if grey is None else grey))


def dicom(name="chest.dcm", **tags):
    grey = lungs_on_bright()
    return file(name, hostile.dicom(grey.tobytes(), ROWS, COLUMNS, **tags))


DARK = png("dark.png", np.full((50, 50), 5, np.uint8))
"""An image that the stand-in warns of."""
