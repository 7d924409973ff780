"""Files that are broken, that lie about themselves, or that are no images, made from a good one."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

PNG = b"\x89PNG\r\n\x1a\n"
BYTE, DEEP = np.zeros((), np.uint8), np.zeros((), ">u2")


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """Returns an image file's bytes."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """Returns a PNG chunk with its check sum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def zeros(n: int) -> bytes:
    """Returns n zeros, compressed by zlib, without the time that compressing them takes."""
    piece = 2**20
    packer = zlib.compressobj(wbits=-15)
    # After a full flush nothing refers to what came before, so the piece can be repeated.
    once = packer.compress(bytes(piece)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(n % piece)) + packer.flush()
    check = (n % 65_521) << 16 | 1  # Adler-32 of n zeros
    return b"\x78\x9c" + n // piece * once + rest + struct.pack(">I", check)


def black_png(height: int, width: int, bits: int = 8, channels: int = 1) -> bytes:
    """Returns a black PNG of 1 (grey), 3 or 4 channels, whatever its size."""
    colour = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zeros(height * (1 + (width * bits * channels + 7) // 8))
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def with_chunk(png: bytes, name: bytes, data: bytes) -> bytes:
    """Returns a PNG with one more chunk behind its header."""
    return png[:33] + chunk(name, data) + png[33:]


def flip(data: bytes, place: int) -> bytes:
    """Returns the bytes with one of them changed."""
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def with_number(data: bytes, place: int, kind: str, number: int) -> bytes:
    """Returns the bytes with a number packed into them."""
    packed = struct.pack(kind, number)
    return data[:place] + packed + data[place + len(packed) :]


def dicom(pixels: bytes | None, rows: int, columns: int, deflated: bool = False, **tags) -> bytes:
    """Returns a DICOM file of 8-bit grey; ``tags`` replace its elements."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    syntax = DeflatedExplicitVRLittleEndian if deflated else ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    if pixels is not None:
        dataset.PixelData = pixels
        dataset["PixelData"].VR = "OB"
    for name, value in tags.items():
        dataset.add_new(name, pydicom.datadict.dictionary_VR(name), value)
    data = io.BytesIO()
    dataset.save_as(data, enforce_file_format=True)
    return data.getvalue()


def broken_name(data: bytes, old: bytes, new: bytes) -> bytes:
    """Returns a DICOM file in which one value is not what its type allows."""
    assert len(old) == len(new) and data.count(old) == 1
    return data.replace(old, new)


def small_files(pixels: np.ndarray) -> dict[str, bytes]:
    """Returns what takes no memory to make.

    Args:
        pixels: A good image, uint8 (height, width).

    Returns:
        Bytes by what they are.
    """
    png, jpeg, bmp = (encode(pixels, kind) for kind in ("PNG", "JPEG", "BMP"))
    colour = encode(np.dstack([pixels] * 3), "BMP")
    body = png.index(b"IDAT") + 4
    frame = jpeg.index(b"\xff\xc0") + 5  # height, width
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("image.png", png)
    swapped = png[:8] + png[33:-12] + png[8:33] + png[-12:]
    noise = np.random.default_rng(0).bytes(4096)
    scratched = zlib.compress(bytes(200))[:-8] + noise[:100]
    return {
        "zero bytes": b"",
        **{f"PNG cut to {n} bytes": png[:n] for n in (8, 20, 33, body + 9)},
        "PNG cut in the middle": png[: len(png) // 2],
        "PNG without its last 20 bytes": png[:-20],
        "PNG without IEND": png[:-12],
        "JPEG cut to 20 bytes": jpeg[:20],
        "JPEG cut in the middle": jpeg[: len(jpeg) // 2],
        "BMP cut to 40 bytes": bmp[:40],
        "BMP cut in the middle": bmp[: len(bmp) // 2],
        "PNG of 100,000 x 100,000, by its header": png[:16]
        + struct.pack(">II", 100_000, 100_000)
        + png[24:],
        "PNG of 0 x 0, by its header": png[:16] + bytes(8) + png[24:],
        "JPEG of 65,535 x 65,535, by its header": with_number(jpeg, frame, ">I", 2**32 - 1),
        "JPEG of no height": with_number(jpeg, frame, ">H", 0),
        "BMP of height -2,147,483,648": with_number(bmp, 22, "<i", -(2**31)),
        "BMP of height 2,147,483,647": with_number(bmp, 22, "<i", 2**31 - 1),
        "BMP of height -8,000, 80 million pixels": with_number(
            with_number(colour, 22, "<i", -8000), 18, "<i", 10_000
        ),
        "BMP of width -1": with_number(bmp, 18, "<i", -1),
        "BMP with an offset of 4,294,967,295": with_number(colour, 10, "<I", 2**32 - 1),
        "BMP with a header of 4,294,967,295 bytes": with_number(colour, 14, "<I", 2**32 - 1),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>',
        "HTML": b"<!doctype html><html><body>404: not found</body></html>",
        "text": b"An X-ray of the chest shows no abnormality of heart or lungs.",
        "ZIP": archive.getvalue(),
        "noise behind PNG's first bytes": PNG + noise,
        "GIF": encode(pixels, "GIF"),
        "WebP": encode(pixels, "WEBP"),
        "TIFF": encode(pixels, "TIFF"),
        "PNG with a wrong check sum": flip(png, body - 4 + 4 + len(png[body:-16])),
        "PNG with a wrong header check sum": flip(png, 30),
        "PNG with a byte changed in its pixels": flip(png, (body + len(png)) // 2),
        "PNG with noise for pixels": png[: body - 8] + chunk(b"IDAT", scratched) + png[-12:],
        "PNG with its header behind its pixels": swapped,
        "PNG of 16-bit RGBA": black_png(32, 32, 16, 4),
        "PNG of 1 x 1": encode(pixels[:1, :1]),
        "PNG of 1 x 4,000": black_png(1, 4000),
        "PNG of 4,000 x 1": black_png(4000, 1),
        "DICOM": dicom(pixels[:32, :32].tobytes(), 32, 32),
    }


def large_files(pixels: np.ndarray) -> dict[str, bytes]:
    """Returns small files that become large; arguments as ``small_files``."""
    png = encode(pixels)
    return {
        "PNG of 30,000 x 30,000, black": black_png(30_000, 30_000),
        "PNG with an iCCP chunk that unpacks to 1 GB": with_chunk(
            png, b"iCCP", b"x\0\0" + zeros(2**30)
        ),
        "PNG with a zTXt chunk that unpacks to 1 GB": with_chunk(
            png, b"zTXt", b"x\0\0" + zeros(2**30)
        ),
        "PNG with pixels that unpack to 1 GB too many": png[: png.index(b"IDAT") - 4]
        + chunk(b"IDAT", zeros(2**30))
        + png[-12:],
        "PNG of 10,000 x 8,000, grey": black_png(10_000, 8_000),
        "PNG of 1 x 80,000,000": black_png(1, 80_000_000),
        "PNG of 10,000 x 8,000, 16 bits": black_png(10_000, 8_000, 16),
        "PNG of 10,000 x 8,000, RGBA": black_png(10_000, 8_000, 8, 4),
        "JPEG of 10,000 x 8,000": encode(np.zeros((10_000, 8_000), np.uint8), "JPEG"),
    }


def dicom_files() -> dict[str, bytes]:
    """Returns DICOM files that only ``predict`` may meet."""
    good = dicom(bytes(1024), 32, 32, NumberOfFrames="1111")
    bomb = dicom(bytes(1024), 32, 32, deflated=True)
    head = bomb[: 144 + struct.unpack("<I", bomb[140:144])[0]]
    packer, piece = zlib.compressobj(9, wbits=-zlib.MAX_WBITS), bytes(2**20)
    # A private element of 1 GB
    element = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 2**30)
    # After a full flush nothing refers to what came before, so the piece can be repeated.
    begin, once = (
        packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH) for part in (element, piece)
    )
    return {
        "DICOM of 65,535 x 65,535": dicom(bytes(1024), 65_535, 65_535),
        "DICOM of 0 x 0": dicom(bytes(1024), 0, 0),
        "DICOM of 8,000 x 10,000, 1,024 bytes": dicom(bytes(1024), 8_000, 10_000),
        "DICOM without pixels": dicom(None, 32, 32),
        "DICOM of two frames": dicom(bytes(2048), 32, 32, NumberOfFrames="2"),
        "DICOM of 'many' frames": broken_name(good, b"1111", b"many"),
        "DICOM cut in the middle": good[: len(good) // 2],
        "DICOM of 128 bytes": good[:128] + b"DICM",
        "DICOM that unpacks to 1 GB": head + begin + 1024 * once + packer.flush(),
    }


def strange_places(folder: Path) -> dict[str, Callable[[str], Path]]:
    """Returns what is not even a file, as functions that make it under a name."""

    def directory(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    def link(to: str) -> Callable[[str], Path]:
        def make(name: str) -> Path:
            (folder / name).symlink_to(to)
            return folder / name

        return make

    def locked(name: str) -> Path:
        (folder / name).write_bytes(b"")
        (folder / name).chmod(0)
        return folder / name

    def pipe(name: str) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return {
        "a folder": directory,
        "a broken link": link("nowhere.png"),
        "a link to itself": link("loop.png"),
        "a link to /dev/zero": link("/dev/zero"),
        "a locked file": locked,
        "a pipe (FIFO)": pipe,
    }
