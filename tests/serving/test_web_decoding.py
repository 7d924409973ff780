"""Files decode in the browser page to the pixels that the package decodes them to."""

import base64
import hashlib
import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kerascxr.data.files import ImageFileError, read_grey
from tests.support import hostile_files as hostile
from tests.support.web_page import Opened

# What the package reads but the page does not: the reasons that the page gives.
ONLY_THE_PACKAGE = ("JPEG 2000", "JPEG-LS", "1 bit a pixel", "damaged DICOM")
_DECODE = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  try {
    const {height, width, data} = await kerascxr.decode(new Blob([bytes]));
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    let mean = 0;
    for (const value of data) mean += value / data.length;
    const text = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return {shape: [height, width], digest: text, mean};
  } catch (error) {
    return {error: error.message};
  }
}"""


@pytest.fixture(scope="module")
def decode(browser, web_url):
    """Decodes bytes in the page."""
    opened = Opened(browser, web_url).ready()
    yield lambda data: opened.page.evaluate(_DECODE, base64.b64encode(data).decode())
    opened.close()


def pictures():
    """Image files of every kind that the page reads: name -> bytes."""
    random = np.random.default_rng(0)
    smooth = np.kron(random.integers(0, 256, (14, 11)), np.ones((9, 9))).astype(np.uint8)
    grey = np.asarray(Image.fromarray(smooth).resize((97, 121), Image.Resampling.BICUBIC))
    colour = np.dstack([grey, np.roll(grey, 7, 0), 255 - grey])
    alpha = np.where(np.roll(grey, 9, 1) > 128, 255, 0).astype(np.uint8)
    found = {}

    def add(name, pixels, kind="PNG", **options):
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        data = io.BytesIO()
        image.save(data, kind, **options)
        found[name] = data.getvalue()

    palette = Image.fromarray(colour).quantize(16)
    add("PNG, grey", grey)
    add("PNG, colour", colour)
    add("PNG, transparent", np.dstack([colour, alpha]))
    add("PNG, grey and transparent", Image.fromarray(np.dstack([grey, alpha])))
    add("PNG, palette", palette, bits=4)
    add("PNG, 1 bit", Image.fromarray(grey).convert("1"))
    add("PNG, one colour transparent", colour, transparency=tuple(map(int, colour[5, 5])))
    for top in (200, 1023, 3000, 16_383, 65_535):
        add(f"PNG, 16 bits to {top}", (grey.astype(np.float64) * top / 255).astype(np.uint16))
    for quality in (30, 75, 95):
        add(f"JPEG, grey, {quality}", grey, "JPEG", quality=quality)
        for subsampling in (0, 1, 2):
            name = f"JPEG, colour, {quality}, {subsampling}"
            add(name, colour, "JPEG", quality=quality, subsampling=subsampling)
    add("JPEG, progressive", colour, "JPEG", progressive=True)
    profile = pydicom.data.get_testdata_file("crayons.icc")
    add("JPEG, profile", colour, "JPEG", icc_profile=Path(profile).read_bytes())
    add("PNG, profile", colour, icc_profile=Path(profile).read_bytes())
    two = io.BytesIO()
    Image.fromarray(colour).save(two, "MPO", save_all=True, append_images=[Image.fromarray(grey)])
    found["JPEG, gain map"] = with_segment(two.getvalue(), b'http://x\0<x hdrgm:Version="1"/>')
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        add(f"JPEG, orientation {orientation}", grey, "JPEG", exif=exif)
        add(f"PNG, orientation {orientation}", grey, exif=exif)
    xmp, text = 'tiff:Orientation="6"', PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp)
    add("PNG, orientation in XMP", grey, pnginfo=text)
    add("JPEG, orientation in XMP", grey, "JPEG", xmp=xmp.encode())
    found |= {f"DICOM, {name}": dicom_of(grey, **tags) for name, tags in DICOM_TAGS.items()}
    return found


def with_segment(jpeg, content):
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


TURNED = {"RescaleSlope": "-1", "RescaleIntercept": "255"}
DICOM_TAGS = {
    "negative slope": TURNED,
    "negative slope and window": TURNED | {"WindowCenter": "120", "WindowWidth": "100"},
    "negative slope and sigmoid": TURNED
    | {"WindowCenter": "120", "WindowWidth": "100", "VOILUTFunction": "SIGMOID"},
    "slope without intercept, and window": {
        "RescaleSlope": "-2",
        "WindowCenter": "120",
        "WindowWidth": "100",
    },
    "intercept without slope, and an empty function": {
        "RescaleSlope": None,
        "RescaleIntercept": "-100",
        "WindowCenter": "120",
        "WindowWidth": "100",
        "VOILUTFunction": "",
    },
    "padding": {"PixelPaddingValue": 0},
    "padding of a range": {"PixelPaddingValue": 255, "PixelPaddingRangeLimit": 200},
    "signed padding": {"PixelRepresentation": 1, "PixelPaddingValue": -128},
}


def dicom_of(grey, **tags):
    padded = np.pad(grey // 2 + 50, 5)
    return hostile.dicom(padded.tobytes(), *padded.shape, **tags)


def test_pictures_have_the_same_pixels(decode, tmp_path):
    wrong = []
    for name, data in pictures().items():
        path = tmp_path / "image"
        path.write_bytes(data)
        wanted = read_grey(path)
        found = decode(data)
        digest = hashlib.sha256(wanted.tobytes()).hexdigest()
        if found.get("digest") != digest or tuple(found["shape"]) != wanted.shape:
            wrong.append((name, found))
    assert not wrong, wrong


def several_or_broken():
    """Files that predict refuses and a browser would show: name -> bytes, the page's reason."""
    images = [Image.fromarray(np.full((9, 8), level, np.uint8)) for level in (50, 90)]
    found = {}
    for kind, reason in (("MPO", "holds 2 frames"), ("PNG", "is an animation")):
        data = io.BytesIO()
        images[0].save(data, kind, save_all=True, append_images=images[1:])
        found[kind] = data.getvalue(), reason
    grey = hostile.black_png(3, 4)
    header = grey[16:24] + b"\x08\x03" + grey[26:29]  # of a palette, which it has not
    palette = grey[:8] + hostile.chunk(b"IHDR", header) + grey[33:]
    found["no palette"] = palette, "it has no palette"
    colour = hostile.dicom(
        bytes(48),
        4,
        4,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PixelRepresentation=1,
        PhotometricInterpretation="YBR_FULL",
    )
    return found | {"signed colour": (colour, "cannot be decoded")}


@pytest.mark.parametrize("name", several_or_broken())
def test_what_predict_refuses_the_page_refuses(decode, tmp_path, name):
    data, reason = several_or_broken()[name]
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(ImageFileError):
        read_grey(tmp_path / "image")
    assert reason in decode(data)["error"]


def test_the_test_files_of_pydicom_have_the_same_pixels(decode):
    folder = Path(pydicom.data.__file__).parent / "test_files"
    same = 0
    for path in sorted(folder.glob("*.dcm")):
        found = decode(path.read_bytes())
        try:
            with warnings.catch_warnings(action="ignore"):
                wanted = read_grey(path)
        except ImageFileError:
            assert "error" in found, (path.name, found)
            continue
        if "error" in found:
            assert any(part in found["error"] for part in ONLY_THE_PACKAGE), (path.name, found)
            continue
        assert tuple(found["shape"]) == wanted.shape
        if path.name == "examples_rgb_color.dcm":  # halves that a float rounds up or down
            assert found["mean"] == pytest.approx(wanted.mean(), abs=1e-3)
            continue
        digest = hashlib.sha256(wanted.tobytes()).hexdigest()
        assert found["digest"] == digest, path.name
        same += 1
    assert same >= 25
