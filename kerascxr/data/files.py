"""Reads one image or mask file as 8-bit grey, or raises an error that names the problem.

Only this module and ``dicom`` handle the variety of image files. The result is a plain array.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile

from kerascxr.data.dicom import (
    DicomError,
    PixelSpacing,
    is_dicom,
    patient_group,
    read_dicom,
    read_spacing,
)

# Raster formats only. Pillow knows more (EPS would start Ghostscript); none of them holds X-rays.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "JPEG2000", "PPM")

SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp", ".jp2",
    ".j2k", ".pgm", ".ppm", ".pnm", ".dcm", ".dicom",
})  # fmt: skip

# A large digital radiograph has 20 million pixels. Checked on the header, before any decoding.
MAX_PIXELS = 80_000_000

# libpng's own limit; TensorFlow cannot resize sides of tens of millions.
MAX_SIDE = 1_000_000

# Detectors store 8, 10, 12, 14 or 16 bits, the middle ones in 16-bit files.
BIT_DEPTHS = (8, 10, 12, 14, 16)

# A mask with several small numbers above 0 is a label map: it numbers regions.
MAX_LABEL = 15

# So is one with a region between black and its maximum. Edges, smoothed or enlarged, are narrower.
_BETWEEN = (0.1, 0.9)  # of the maximum
_REACH = 1 / 64  # of the shorter side, around each pixel of a region
_REGION = 0.1  # of the pixels inside

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""An EXIF orientation to what turns an image upright."""

_PNG = b"\x89PNG\r\n\x1a\n"
AGAIN = "Download or export it again, or remove it"
MIN_IS_WHITE = 0
PHOTOMETRIC_TAG = 262


class ImageFileError(ValueError):
    """A file that cannot be used.

    Attributes:
        path: The file.
        problem: What is wrong with it, as the words that follow "the file".
    """

    def __init__(self, path: Path, problem: str, hint: str = AGAIN) -> None:
        super().__init__(path, problem, hint)  # all three, so that it survives pickling
        self.path = path
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}. {self.hint}."


def read_grey(path: Path) -> np.ndarray:
    """Reads an image file, whatever its mode, as 8-bit grey.

    - Colour becomes ITU-R 601 luma. Palette and CMYK images go through RGB.
    - Transparent pixels become black, as unexposed background in an X-ray.
    - More than 8 bits: divided by the smallest of 255, 1023, 4095, 16383, 65535 that holds the
      image's maximum, so that 12-bit data in a 16-bit file are not black. The steps keep the
      exposure of neighbouring images comparable, which stretching each to its own maximum would
      not. (Pillow hands over 16-bit colour as its upper 8 bits, so there no such step is taken.)
    - Floats within 0..1 are scaled by 255; other non-negative values follow the rule above.
    - An EXIF orientation is applied; one in XMP or in a PNG's text is not, see ``_upright``.
    - DICOM files are shown as on a screen, see ``dicom.read_dicom``.

    Args:
        path: The file.

    Returns:
        uint8 ``(height, width)``, 0..255, decoded to the last pixel.

    Raises:
        ImageFileError: If the file is missing, empty, truncated, no image, of several frames, of
            more than ``MAX_PIXELS``, with a side over ``MAX_SIDE``, or holds negative, non-finite
            or over-large values.
    """
    path = path if isinstance(path, Path) else Path(path)  # Path(path) would make a URL local
    try:
        # To open a pipe would wait for its writer.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ImageFileError(path, "is not a regular file", "Remove it")
        with path.open("rb") as file:
            start = file.read(512)
            if not start:
                raise ImageFileError(path, "is empty (0 bytes)")
            if is_dicom(start):
                return read_dicom(path, MAX_PIXELS)
            file.seek(0)
            with _open(path, file, start) as image:
                grey = _to_grey(path, image)
            if start.startswith(_PNG):
                _check_sums(path, file)
            return grey
    except FileNotFoundError:
        raise ImageFileError(path, "does not exist", "Check the path") from None
    except DicomError as error:
        raise ImageFileError(path, str(error)) from error
    except OSError as error:  # a folder, no permission, a disk that fails
        raise ImageFileError(path, f"cannot be opened ({_line(error)})", "Check it") from error


def is_dicom_file(path: Path) -> bool:
    """Returns whether a file is DICOM by its first bytes."""
    with path.open("rb") as file:
        return is_dicom(file.read(512))


def group_in(path: Path) -> str:
    """Returns the group that an image file itself states: a DICOM file's patient, else ""."""
    return patient_group(path) if is_dicom_file(path) else ""


def spacing_in(path: Path) -> PixelSpacing | None:
    """Returns the physical size of an image file's pixels, if it is a DICOM file that states it.

    The resolution in a TIFF, PNG or JPEG file is meant for printers and says nothing of the
    patient: it is ignored.
    """
    return read_spacing(path) if is_dicom_file(path) else None


def read_mask(paths: Sequence[Path]) -> np.ndarray:
    """Reads one region from one or several mask files, e.g. the left and the right lung.

    A pixel is inside where the file's grey value is above half of that file's own maximum, so
    masks of 0/1, 0/255 and of one colour all work. A file of zeros is an empty mask.

    Args:
        paths: The files; what any of them marks is inside.

    Returns:
        uint8 ``(height, width)``, 0 or 255.

    Raises:
        ImageFileError: If a file cannot be read, numbers several regions (a label map), or is not
            of the first one's size.
        ValueError: If ``paths`` is empty.
    """
    if not paths:
        raise ValueError("paths must name at least one mask file. Got paths=().")
    united: np.ndarray | None = None
    for path in paths:
        grey = read_grey(path)
        values = np.unique(grey)
        inside = grey > values[-1] / 2
        if not 1 < values[-1] <= MAX_LABEL:
            values = np.array([0, *_values_between(grey, inside), values[-1]])
        if np.count_nonzero(values) > 1:
            raise ImageFileError(
                path,
                f"is a label map (values {', '.join(map(str, values))}), not a mask",
                "Save the lungs as one region of 255 on 0",
            )
        if united is not None and inside.shape != united.shape:
            raise ImageFileError(
                path,
                f"is {_size(inside)} pixels (height x width), but {paths[0]} is {_size(united)}",
                "Masks of one image must agree in size",
            )
        united = inside if united is None else united | inside
    assert united is not None
    return np.where(united, 255, 0).astype(np.uint8)


def _values_between(grey: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns the values of regions between black and a mask's maximum, such as the other lung's.

    Args:
        grey: uint8 ``(height, width)``.
        inside: bool ``(height, width)``, the mask.
    """
    low, high = (share * float(grey.max()) for share in _BETWEEN)
    between, least = (grey > low) & (grey < high), _REGION * np.count_nonzero(inside)
    if np.count_nonzero(between) <= least:
        return grey[:0, 0]
    from scipy import ndimage  # slow: not before --help

    window = 2 * max(1, int(_REACH * min(grey.shape))) + 1
    lowest, highest = (
        function(grey, window, mode="constant")
        for function in (ndimage.minimum_filter, ndimage.maximum_filter)
    )
    values, counts = np.unique(grey[between & (lowest == highest)], return_counts=True)
    return values[counts > least]


def _open(path: Path, file, start: bytes) -> Image.Image:
    """Opens the file and checks its header; no pixel is decoded yet."""
    try:
        image = Image.open(file, formats=FORMATS)
        frames = getattr(image, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageFileError(
            path, f"claims more than {MAX_PIXELS / 1e6:.0f} million pixels", "Reduce or remove it"
        ) from None
    except Exception as error:  # Pillow's readers raise of any kind on broken headers
        raise ImageFileError(path, _what_it_is(start, error)) from error
    if image.width * image.height > MAX_PIXELS:
        most = f"more than {MAX_PIXELS / 1e6:.0f} million"
        problem = f"claims {image.width} x {image.height} pixels, {most}"
        raise ImageFileError(path, problem, "Reduce or remove it")
    if max(image.size) > MAX_SIDE:
        problem = f"claims {image.width} x {image.height} pixels, a side over {MAX_SIDE:,}"
        raise ImageFileError(path, problem, "Reduce or remove it")
    if frames > 1:
        raise ImageFileError(path, f"holds {frames} frames", "Save the one wanted by itself")
    return image


def _to_grey(path: Path, image: Image.Image) -> np.ndarray:
    """Decodes, turns upright and reduces to grey: uint8 ``(height, width)``."""
    tags = getattr(image, "tag_v2", {})
    # Some library in this process may have asked Pillow to make up what a broken file lacks.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        exif = image.info.get("exif", b"")  # later chunks of a PNG would be taken up
        image.load()
        image = _upright(image, exif)
        mode = image.mode
        if mode == "L" and not image.has_transparency_data:
            return np.array(image)
        if mode == "F" or mode.startswith("I"):
            values = np.asarray(image)
        else:
            return _colour_to_grey(image)
    except Exception as error:  # zlib, struct, index errors: each decoder has its own
        broken = "truncated" in str(error) or "nexpected end" in str(error)
        problem = "is truncated" if broken else "is damaged"
        raise ImageFileError(path, f"{problem} ({_line(error)})") from error
    grey = _scale(path, values)
    # Pillow turns a white-is-zero TIFF round itself at 8 bits, but not at 16.
    inverted = tags.get(PHOTOMETRIC_TAG) == MIN_IS_WHITE
    return 255 - grey if inverted else grey


def _upright(image: Image.Image, block: bytes) -> Image.Image:
    """Turns a decoded image as its EXIF orientation says; Pillow has turned a TIFF already.

    Pillow's own function also takes an orientation from XMP, from a PNG's text and from an EXIF
    chunk after its pixels, where the standard has none. Neither exports nor the browser page know
    these, and ingest stores a grey PNG's own bytes.

    Args:
        image: The image.
        block: The EXIF block before its pixels; b"" for none.

    Source:
        PNG 3rd edition, section 5.6.
    """
    exif = Image.Exif()
    exif.load(block)
    turn = _TURNS.get(exif.get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _check_sums(path: Path, file) -> None:
    """Checks what Pillow's decoder passes over: the check sums of pixels, and a missing end."""
    file.seek(0)
    try:
        with Image.open(file, formats=("PNG",)) as image:
            image.verify()
    except Exception as error:
        raise ImageFileError(path, f"is damaged ({_line(error)})") from error


def _colour_to_grey(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        black = Image.new("RGBA", colour.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, colour)
    elif image.mode in ("P", "CMYK", "YCbCr", "HSV"):
        image = image.convert("RGB")
    return np.array(image.convert("L"))


def _scale(path: Path, values: np.ndarray) -> np.ndarray:
    """Brings integers or floats ``(height, width)`` to uint8; the rule is in ``read_grey``."""
    hint = "Save it with 8 or 16 bits"
    if not np.isfinite(values).all():
        raise ImageFileError(path, "holds values that are not finite", hint)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 2**16 - 1:
        raise ImageFileError(path, f"holds values from {low:g} to {high:g}", hint)
    if values.dtype.kind == "f" and high <= 1:
        full = 1
    else:
        full = next(2**bits - 1 for bits in BIT_DEPTHS if high <= 2**bits - 1)
    return np.rint(values.astype(np.float64) * (255 / full)).astype(np.uint8)


def _what_it_is(start: bytes, error: Exception) -> str:
    """Says what a file is that no image reader knows, by its first bytes."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html")):
        return "is not an image but an HTML page, as a failed download leaves it"
    if text.startswith(b"version https://git-lfs"):
        return "is not an image but a Git LFS pointer (git lfs pull fetches the image)"
    if isinstance(error, Image.UnidentifiedImageError):
        return "is not an image that can be read"
    return f"is damaged ({_line(error)})"


def _line(error: Exception) -> str:
    """The error in one short line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:120]


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"
