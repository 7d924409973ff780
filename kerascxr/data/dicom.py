"""Reads one DICOM file as 8-bit grey, with its LUTs and window applied as for display."""

import hashlib
import logging
import math
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import apply_rescale, apply_windowing, pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

from kerascxr.data.remote import RemoteError, local_file

logger = logging.getLogger(__name__)

PREAMBLE, MAGIC = 128, b"DICM"

_GREY = ("MONOCHROME1", "MONOCHROME2")
_RESCALING = ("RescaleSlope", "RescaleIntercept")
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601
# In order of preference: in the patient, at the detector, on the digitised film.
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


class DicomError(ValueError):
    """A DICOM file that cannot be used; the text names the problem."""


class PixelSpacing(NamedTuple):
    """The physical size of an image's pixels.

    Attributes:
        row_mm: Distance between the centres of neighbouring rows.
        column_mm: Distance between the centres of neighbouring columns.
        attribute: The DICOM attribute that these come from.
        calibration: PixelSpacingCalibrationType, "GEOMETRY" or "FIDUCIAL"; "" if not given.
    """

    row_mm: float
    column_mm: float
    attribute: str
    calibration: str


def is_dicom(start: bytes) -> bool:
    """Returns whether a file that begins with these bytes is DICOM."""
    return start[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC


def read_dicom(path: Path, max_pixels: int) -> np.ndarray:
    """Reads a DICOM file's image.

    The modality LUT or the rescale slope and intercept are applied first, then the VOI LUT or the
    (first) window; the result is scaled to 0..255. Without a window, the image's lowest and highest
    value become 0 and 255, without those of PixelPaddingValue, which take the nearer end.
    MONOCHROME1, in which high values are dark, is inverted. Colour becomes ITU-R 601 luma.

    Args:
        path: The file.
        max_pixels: Largest number of pixels that is decoded.

    Returns:
        uint8 (height, width).

    Raises:
        DicomError: If the file has no image, several frames or too many pixels, or cannot be
            decoded.

    Source:
        DICOM PS3.3, sections C.7.5.1.1.2, C.7.6.3.1.2, C.11.1 and C.11.2.
    """
    dataset = open_dicom(path)
    frames = _number(dataset, "NumberOfFrames", 1)
    if frames > 1:
        raise DicomError(f"holds {frames} frames")
    if "PixelData" not in dataset:
        raise DicomError("is a DICOM file without an image")
    rows, columns = _number(dataset, "Rows", 0), _number(dataset, "Columns", 0)
    if not 0 < rows * columns <= max_pixels:
        most = f"{max_pixels / 1e6:.0f} million"
        raise DicomError(f"claims {columns} x {rows} pixels, not 1 to {most}")
    try:
        stored = pixel_array(dataset)
        kind = str(dataset.PhotometricInterpretation)
        if stored.ndim == 3:
            luma = stored[..., :3].astype(np.float64) @ _LUMA
            return _to_bytes(luma, 0, 2 ** int(dataset.BitsStored) - 1)
        if kind not in _GREY:
            raise DicomError(f"has the colours {kind}, which are not read")
        grey = _to_bytes(*_as_displayed(stored, dataset))
    except DicomError:
        raise
    except Exception as error:  # each of pydicom's decoders raises errors of its own
        raise DicomError(f"is a DICOM file that cannot be decoded ({reason(error)})") from error
    return 255 - grey if kind == "MONOCHROME1" else grey


def patient_group(path: Path) -> str:
    """Returns a digest of the file's PatientID, "" without one.

    Images of one patient have the same digest. It does not contain the PatientID itself.
    """
    patient = str(open_dicom(path, pixels=False).get("PatientID", "") or "").strip()
    return f"patient-{hashlib.sha256(patient.encode()).hexdigest()[:16]}" if patient else ""


def read_spacing(path: Path) -> PixelSpacing | None:
    """Reads the physical size of a DICOM file's pixels.

    PixelSpacing is a distance in the patient if the image was calibrated, and otherwise equals
    ImagerPixelSpacing, a distance at the detector, where the patient appears magnified. Without
    PixelSpacing, ImagerPixelSpacing is used, then NominalScannedPixelSpacing (digitised film). They
    are not divided by EstimatedRadiographicMagnificationFactor: the standard defines this optional
    factor, but no correction by it.

    Args:
        path: The file.

    Returns:
        The spacing; None if the file gives none. An attribute that does not hold two positive
        numbers counts as absent, with a warning.

    Raises:
        DicomError: If the file is damaged.

    Source:
        DICOM PS3.3, section 10.7 (10.7.1.3: the first value is the distance of rows), and the CR
        Image and DX Detector modules.
    """
    dataset = open_dicom(path, pixels=False)
    for attribute in _SPACINGS:
        values = _two_positive(dataset, attribute, path)
        if values is not None:
            calibration = ""
            if attribute == "PixelSpacing":
                calibration = str(dataset.get("PixelSpacingCalibrationType", "") or "").strip()
            return PixelSpacing(*values, attribute, calibration)
    return None


def _two_positive(dataset: Any, attribute: str, path: Path) -> tuple[float, float] | None:
    try:
        given = dataset.get(attribute)
    except Exception:  # pydicom converts on access, and its converters raise errors of any type
        given = "no number"
    if given is None:
        return None
    try:
        row, column = (float(value) for value in given)
        if not (math.isfinite(row) and math.isfinite(column) and row > 0 and column > 0):
            raise ValueError
    except (TypeError, ValueError):
        shown = " ".join(str(given).split())[:60]
        logger.warning(f"{path}: {attribute} is not two positive numbers ({shown}); not used.")
        return None
    return row, column


def _number(dataset: Any, name: str, default: int) -> int:
    try:
        return int(dataset.get(name, default) or default)
    except (TypeError, ValueError) as error:  # several values, or no number
        raise DicomError(f"is a DICOM file whose {name} is not a number") from error


def open_dicom(path: Path, pixels: bool = True) -> Any:
    """Returns a DICOM file's elements, a ``pydicom.Dataset``.

    Args:
        path: The file.
        pixels: Whether the pixels are read too.

    Raises:
        DicomError: If the file is damaged, or deflated as a whole.
    """
    for library in ("pydicom", "highdicom"):  # warnings that quote values, such as a patient's name
        warnings.filterwarnings("ignore", module=rf"{library}\.")
    try:
        # pydicom would inflate the whole file, whatever its size, before the first element.
        with local_file(path) as local:
            syntax = read_file_meta_info(local).get("TransferSyntaxUID")
            if syntax == DeflatedExplicitVRLittleEndian:
                raise DicomError("is a DICOM file deflated as a whole, which is not read")
            return pydicom.dcmread(local, stop_before_pixels=not pixels)
    except (DicomError, RemoteError):
        raise
    except Exception as error:  # pydicom raises errors of any type on damaged files
        raise DicomError(f"is a damaged DICOM file ({reason(error)})") from error


def reason(error: Exception) -> str:
    """Returns an error's text without the values that it quotes: they can name the patient."""
    return re.sub(r"""(?<!\w)(['"]).*?\1(?!\w)""", "'...'", " ".join(str(error).split()))[:120]


def _as_displayed(stored: np.ndarray, dataset: Any) -> tuple[np.ndarray, float, float]:
    """Applies a file's LUTs or its rescaling and window.

    Returns:
        The values, and those that become 0 and 255.
    """
    _remove_empty(dataset)
    modality, voi = _lut(dataset, "ModalityLUTSequence"), _lut(dataset, "VOILUTSequence")
    if modality is None:
        values = apply_rescale(stored, dataset)
    else:
        values = _look_up(stored, modality, dataset)
        for name in _RESCALING:  # excluded by the LUT
            dataset.pop(name, None)
    if voi is not None:
        return _look_up(values, voi, dataset), 0.0, 2.0 ** _bits(voi) - 1
    if dataset.get("WindowCenter") is None or dataset.get("WindowWidth") is None:
        shown = values[~_is_padding(stored, dataset)]
        if not shown.size or shown.min() == shown.max():
            shown = values
        return values, float(shown.min()), float(shown.max())
    values = apply_windowing(values, dataset)  # to the whole range of the values that there can be
    if modality is not None:
        return values, 0.0, 2.0 ** _bits(modality) - 1
    bits = int(dataset.BitsStored)
    ends = np.array([0.0, 2.0**bits - 1])
    if int(dataset.get("PixelRepresentation", 0)):
        ends -= 2.0 ** (bits - 1)
    ends = ends * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    if ends[0] > ends[1]:  # by a negative slope; what is below the window is at the first end still
        values, ends = -values, -ends
    return values, float(ends[0]), float(ends[1])


def _remove_empty(dataset: Any) -> None:
    """Removes what counts as absent: attributes without a value, and half of a rescaling.

    Source:
        DICOM PS3.5, section 7.4, and PS3.3, C.11.1: slope and intercept are there together.
    """
    for name in (*_RESCALING, "WindowCenter", "WindowWidth", "VOILUTFunction"):
        if name in dataset and dataset[name].is_empty:
            del dataset[name]
    if not all(name in dataset for name in _RESCALING):
        for name in _RESCALING:
            dataset.pop(name, None)


def _is_padding(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """Returns where stored values are padding around the picture, bool of their shape.

    Source:
        DICOM PS3.3, C.7.5.1.1.2.
    """
    given = [dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not isinstance(given[0], int):
        return np.zeros(stored.shape, bool)
    # Written as an unsigned number, -1 is 65535.
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    known = [value % 2 ** (8 * unsigned.itemsize) for value in given if isinstance(value, int)]
    # Pixels are in the file's byte order.
    ends = np.array(known, unsigned).view(stored.dtype.newbyteorder("="))
    return (stored >= ends.min()) & (stored <= ends.max())


def _lut(dataset: Any, sequence: str) -> Any | None:
    """Returns the first LUT of a sequence, None without one."""
    luts = dataset.get(sequence)
    if not luts or "LUTData" not in luts[0] or "LUTDescriptor" not in luts[0]:
        return None
    return luts[0]


def _bits(lut: Any) -> int:
    return int(lut.LUTDescriptor[2])


def _look_up(values: np.ndarray, lut: Any, dataset: Any) -> np.ndarray:
    """Returns the entries of a LUT for values; the first and the last for those outside of it.

    pydicom's own functions take entries of some numbers of bits only, none of one byte each, and
    index in the type of the pixels, in which large or negative values wrap around.

    Source:
        DICOM PS3.3, C.11.1.1.1 and C.11.2.1.1. One-byte entries may be stored in one byte or two.
    """
    entries, first, bits = (int(value) for value in lut.LUTDescriptor)
    entries = entries % 2**16 or 2**16
    if not 1 <= bits <= 16:
        raise DicomError(f"has a lookup table with entries of {bits} bits, not 1 to 16")
    data = lut["LUTData"].value
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        words = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2")
    else:
        words = np.atleast_1d(np.asarray(data, np.int64)) % 2**16
    in_bytes = bits <= 8 and len(words) == (entries + 1) // 2 < entries
    table = (words.astype("<u2").view(np.uint8) if in_bytes else words)[:entries]
    if len(table) < entries:
        raise DicomError(f"has a lookup table of {len(table)} entries, not {entries} as it states")
    places = np.rint(values.astype(np.float64)) - first
    return table[np.clip(places, 0, entries - 1).astype(np.int64)]


def _to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled = (values.astype(np.float64) - low) * (255.0 / max(high - low, 1e-12))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
