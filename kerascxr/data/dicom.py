"""Reads one DICOM file as 8-bit grey, with its LUTs and window applied as for display."""

import hashlib
import logging
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

logger = logging.getLogger(__name__)

PREAMBLE, MAGIC = 128, b"DICM"

_GREY = ("MONOCHROME1", "MONOCHROME2")
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
    value become 0 and 255. MONOCHROME1, in which high values are dark, is inverted. Colour becomes
    ITU-R 601 luma.

    Args:
        path: The file.
        max_pixels: Largest number of pixels that is decoded.

    Returns:
        uint8 (height, width).

    Raises:
        DicomError: If the file has no image, several frames or too many pixels, or cannot be
            decoded.

    Source:
        DICOM PS3.3, sections C.7.6.3.1.2, C.11.1 and C.11.2.
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
        rescaled = apply_modality_lut(stored, dataset)
        full_scale = _widen_lut(dataset)
        values = apply_voi_lut(rescaled, dataset).astype(np.float64)
        grey = _to_bytes(values, *_range(dataset, values, full_scale))
    except DicomError:
        raise
    except Exception as error:  # each of pydicom's decoders raises errors of its own
        reason = " ".join(str(error).split())[:120]
        raise DicomError(f"is a DICOM file that cannot be decoded ({reason})") from error
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
    try:
        # pydicom would inflate the whole file, whatever its size, before the first element.
        syntax = read_file_meta_info(path).get("TransferSyntaxUID")
        if syntax == DeflatedExplicitVRLittleEndian:
            raise DicomError("is a DICOM file deflated as a whole, which is not read")
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except DicomError:
        raise
    except Exception as error:  # pydicom raises errors of any type on damaged files
        reason = " ".join(str(error).split())[:120]
        raise DicomError(f"is a damaged DICOM file ({reason})") from error


def _widen_lut(dataset: Any) -> float | None:
    """Returns the highest value of the VOI LUT, None without one; declares its entries as 16-bit.

    pydicom 3.0 stores indices into the LUT in the type of its entries: of a LUT of 4,096 entries
    of 8 bits it would use the first 256.
    """
    lut = dataset.get("VOILUTSequence")
    if not lut:
        return None
    entries, first, bits = lut[0].LUTDescriptor
    lut[0].LUTDescriptor = [entries, first, 16]
    return 2.0 ** int(bits) - 1


def _range(dataset: Any, values: np.ndarray, full_scale: float | None) -> tuple[float, float]:
    """Returns the values that become 0 and 255, after pydicom's LUTs."""
    if full_scale is not None:
        return 0.0, full_scale
    if "WindowCenter" not in dataset:
        return float(values.min()), float(values.max())
    modality = dataset.get("ModalityLUTSequence")
    if modality:
        return 0.0, 2.0 ** int(modality[0].LUTDescriptor[2]) - 1
    # pydicom scales a window to the whole range of the stored bits, rescaled.
    bits = int(dataset.BitsStored)
    ends = np.array([0.0, 2.0**bits - 1])
    if int(dataset.get("PixelRepresentation", 0)):
        ends -= 2.0 ** (bits - 1)
    ends = ends * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    return float(ends.min()), float(ends.max())


def _to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
