"""Files of every mode give the right pixels; broken ones give the right message."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from kerascxr.data import files
from kerascxr.data.files import ImageFileError, read_grey, read_mask
from kerascxr.data.ingest.reading import read_example
from kerascxr.data.sources.examples import Example

GREY = np.array([[0, 50, 100], [150, 200, 255]], np.uint8)


def save(path, array, mode=None, **options):
    image = Image.fromarray(np.asarray(array))
    if mode:
        image = image.convert(mode)
    image.save(path, **options)
    return path


def noise(height=64, width=64):
    return np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)


# ---- every mode


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "pgm"])
def test_grey_comes_back_unchanged(tmp_path, suffix):
    grey = read_grey(save(tmp_path / f"a.{suffix}", GREY))
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, GREY)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_grey_stored_as_colour_comes_back_unchanged(tmp_path, mode):
    path = save(tmp_path / "a.tif", GREY, mode)
    with Image.open(path) as image:
        assert image.mode == mode
    np.testing.assert_array_equal(read_grey(path), GREY)


def test_colour_becomes_luma(tmp_path):
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_array_equal(read_grey(save(tmp_path / "a.png", rgb)), [[76, 150, 29]])


def test_transparent_becomes_black(tmp_path):
    rgba = np.array([[[200, 200, 200, 255], [200, 200, 200, 0]]], np.uint8)
    np.testing.assert_array_equal(read_grey(save(tmp_path / "a.png", rgba)), [[200, 0]])


def test_transparent_colour_key_becomes_black(tmp_path):
    path = save(tmp_path / "a.png", GREY, transparency=200)
    np.testing.assert_array_equal(read_grey(path), np.where(GREY == 200, 0, GREY))


def test_palette_is_looked_up(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette([10, 10, 10, 250, 250, 250, 255, 0, 0])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), [[10, 250, 76]])


def test_palette_with_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    image.putpalette([90, 90, 90, 250, 250, 250])
    image.save(tmp_path / "a.png", transparency=1)
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), [[90, 0]])


def test_cmyk_jpeg(tmp_path):
    grey = np.repeat(np.repeat(GREY, 16, 0), 16, 1)
    path = save(tmp_path / "a.jpg", grey, "CMYK", quality=98)
    with Image.open(path) as image:
        assert image.mode == "CMYK"
    assert np.abs(read_grey(path).astype(int) - grey).max() <= 6


def test_one_bit(tmp_path):
    path = save(tmp_path / "a.png", np.array([[True, False, True]]))
    np.testing.assert_array_equal(read_grey(path), [[255, 0, 255]])


@pytest.mark.parametrize("bits", files.BIT_DEPTHS)
def test_16_bit_files_are_scaled_by_their_bit_depth(tmp_path, bits):
    full = 2**bits - 1
    values = np.array([[0, full // 5, full]], np.uint16)
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read_grey(save(tmp_path / name, values)), [[0, 51, 255]])


def test_scale_of_16_bit_files_goes_by_steps(tmp_path):
    # 3000 and 4000 are both 12 bits: the same value must give the same grey in both images.
    first = read_grey(save(tmp_path / "a.png", np.array([[1000, 3000]], np.uint16)))
    second = read_grey(save(tmp_path / "b.png", np.array([[1000, 4000]], np.uint16)))
    assert first[0, 0] == second[0, 0] == round(1000 * 255 / 4095)


def test_big_endian_16_bit_tiff(tmp_path):
    image = Image.frombytes("I;16B", (2, 1), np.array([0, 65535], ">u2").tobytes())
    image.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_grey(tmp_path / "a.tif"), [[0, 255]])


def test_white_is_zero_16_bit_tiff_is_turned_round(tmp_path):
    values = np.array([[0, 4095]], np.uint16)
    path = save(tmp_path / "a.tif", values, tiffinfo={files.PHOTOMETRIC_TAG: 0})
    np.testing.assert_array_equal(read_grey(path), [[255, 0]])


def test_32_bit_integers(tmp_path):
    path = save(tmp_path / "a.tif", np.array([[0, 1023]], np.int32))
    np.testing.assert_array_equal(read_grey(path), [[0, 255]])


@pytest.mark.parametrize(
    ("values", "grey"),
    [
        ([[0.0, 0.5, 1.0]], [[0, 128, 255]]),
        ([[0.0, 100.2, 255.0]], [[0, 100, 255]]),
        ([[0.0, 4095.0]], [[0, 255]]),
        ([[0.0, 0.0]], [[0, 0]]),
    ],
)
def test_float_tiff(tmp_path, values, grey):
    path = save(tmp_path / "a.tif", np.array(values, np.float32))
    np.testing.assert_array_equal(read_grey(path), grey)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, lambda a: a), (3, lambda a: np.rot90(a, 2)), (6, lambda a: np.rot90(a, -1))],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exif_orientation_is_applied(tmp_path, orientation, turned, dtype):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", GREY.astype(dtype), exif=exif)
    np.testing.assert_array_equal(read_grey(path), turned(GREY))


XMP = '<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'


def test_only_the_orientation_that_exports_read_is_applied(tmp_path):
    """Pillow takes it from XMP and text too, which neither a decoder in a graph nor browsers do."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90), dtype=np.uint8)
    xmp, profile = PngImagePlugin.PngInfo(), PngImagePlugin.PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", XMP)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile.add_text("Raw profile type exif", f"\nexif\n8\n{exif.tobytes().hex()}\n", zip=True)
    for number, info in enumerate((xmp, profile)):
        path = save(tmp_path / f"{number}.png", pixels, pnginfo=info)
        assert Image.open(path).getexif()[0x0112] == 6
        np.testing.assert_array_equal(read_grey(path), pixels)
        read = read_example(Example("a", path))
        stored = np.array(Image.open(io.BytesIO(read.image)))
        assert read.checked.size == stored.shape  # a plain PNG's bytes are stored as they are
    path = save(tmp_path / "a.jpg", pixels, xmp=XMP.encode())
    np.testing.assert_array_equal(read_grey(path), np.array(Image.open(path)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_pillows(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("png", "tif", "webp", "jpg"):
        path = save(tmp_path / f"a.{suffix}", GREY, exif=exif)
        image = Image.open(io.BytesIO(path.read_bytes()))
        image.load()  # which turns a TIFF
        upright = ImageOps.exif_transpose(image).convert("L")
        np.testing.assert_array_equal(read_grey(path), np.array(upright))


def test_result_can_be_written_to(tmp_path):
    for mode in ("L", "RGB"):
        read_grey(save(tmp_path / "a.png", GREY, mode))[0, 0] = 1


@settings(derandomize=True, deadline=None, max_examples=40)
@given(high=st.integers(0, 65535), low=st.integers(0, 65535))
def test_scaling_keeps_order_and_never_goes_black(tmp_path_factory, high, low):
    low, high = sorted((low, high))
    path = save(tmp_path_factory.mktemp("s") / "a.png", np.array([[low, high]], np.uint16))
    grey = read_grey(path)
    assert grey[0, 0] <= grey[0, 1]
    # Above 8 bits the brightest pixel lies in the upper quarter of the range or beyond.
    assert high <= 255 or grey[0, 1] >= 63


# ---- broken files


def refuse(path, words):
    with pytest.raises(ImageFileError) as caught:
        read_grey(path)
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"{path}: ")
    assert message.endswith(".")
    assert "\n" not in message
    assert caught.value.path == path
    return caught.value


def test_missing(tmp_path):
    refuse(tmp_path / "a.png", "does not exist. Check the path.")


def test_empty(tmp_path):
    (tmp_path / "a.png").touch()
    refuse(tmp_path / "a.png", "is empty (0 bytes). Download or export it again, or remove it.")


def test_folder(tmp_path):
    refuse(tmp_path, "cannot be opened")


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.gif"])
def test_truncated(tmp_path, name, keep):
    path = save(tmp_path / name, noise())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    refuse(path, "is ")  # truncated or damaged: TIFF keeps its directory at the end


def test_truncated_is_called_so(tmp_path):
    for name in ("a.png", "a.jpg"):
        path = save(tmp_path / name, noise())
        path.write_bytes(path.read_bytes()[:2000])
        refuse(path, "is truncated (")


def test_truncated_even_where_pillow_was_told_to_load_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = save(tmp_path / "a.png", noise())
    path.write_bytes(path.read_bytes()[:2000])
    refuse(path, "is truncated (")


def test_flipped_byte(tmp_path):
    path = save(tmp_path / "a.png", noise())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refuse(path, "is damaged (")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><p>Sign in", "is not an image but an HTML page"),
        (b"\n <html><p>Sign in", "is not an image but an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\0" * 128 + b"DICM" + b"\0" * 64, "DICOM file"),
        (b"just some text", "is not an image that can be read"),
        (b"\x89PNG\r\n\x1a\n", "is not an image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image that can be read"),
    ],
)
def test_no_image(tmp_path, content, words):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    refuse(path, words)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_200, 12_000, 60_000])
def test_huge_header_is_refused_before_decoding(tmp_path, side):
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    assert refuse(path, "million").problem.startswith("claims ")


def test_several_frames(tmp_path):
    pages = [Image.fromarray(noise()) for _ in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    refuse(tmp_path / "a.tif", "holds 3 frames. Save the one wanted by itself.")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[0.0, np.nan]], "holds values that are not finite"),
        ([[-5.0, 3.0]], "holds values from -5 to 3"),
        ([[0.0, 1e6]], "holds values from 0 to 1e+06"),
    ],
)
def test_values_without_a_meaning(tmp_path, values, words):
    path = save(tmp_path / "a.tif", np.array(values, np.float32))
    refuse(path, f"{words}. Save it with 8 or 16 bits.")


def test_error_survives_pickling(tmp_path):
    error = refuse(tmp_path / "a.png", "does not exist")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.problem) == (str(error), error.path, error.problem)


# ---- masks


@pytest.mark.parametrize(
    "stored",
    [
        np.array([[0, 1]], np.uint8),
        np.array([[0, 255]], np.uint8),
        np.array([[100, 230]], np.uint8),
        np.array([[0, 1]], np.uint16),
        np.array([[0, 65535]], np.uint16),
        np.array([[0, 1]], np.float32),
        np.array([[False, True]]),
        np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8),
        np.array([[[0, 0, 0], [128, 0, 0]]], np.uint8),
        np.array([[[255, 255, 255, 0], [255, 255, 255, 255]]], np.uint8),
    ],
)
def test_masks_of_every_kind(tmp_path, stored):
    mask = read_mask([save(tmp_path / "a.tif", stored)])
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[0, 255]])


def test_palette_mask_goes_by_luminance(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    image.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is the bright one
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask([tmp_path / "a.png"]), [[255, 0]])


def test_threshold_is_half_of_the_maximum(tmp_path):
    path = save(tmp_path / "a.png", np.array([[100, 101, 200]], np.uint8))
    np.testing.assert_array_equal(read_mask([path]), [[0, 255, 255]])


def test_empty_mask(tmp_path):
    assert not read_mask([save(tmp_path / "a.png", np.zeros((4, 5), np.uint8))]).any()


def test_left_and_right_are_united(tmp_path):
    left = save(tmp_path / "l.png", np.array([[1, 0, 0]], np.uint8))
    right = save(tmp_path / "r.png", np.array([[0, 0, 255]], np.uint8))
    np.testing.assert_array_equal(read_mask([left, right]), [[255, 0, 255]])


def test_masks_of_two_sizes(tmp_path):
    left = save(tmp_path / "l.png", np.zeros((4, 5), np.uint8))
    right = save(tmp_path / "r.png", np.zeros((4, 6), np.uint8))
    with pytest.raises(ImageFileError) as caught:
        read_mask([left, right])
    assert str(caught.value) == (
        f"{right}: is 4 x 6 pixels (height x width), but {left} is 4 x 5. "
        "Masks of one image must agree in size."
    )


def test_label_map_is_no_mask(tmp_path):
    # Half of the maximum would lose region 1 without a word.
    path = save(tmp_path / "a.png", np.array([[0, 1, 2]], np.uint8))
    with pytest.raises(ImageFileError, match=r"is a label map \(values 0, 1, 2\), not a mask"):
        read_mask([path])


@pytest.mark.parametrize("second", [38, 76, 128, 200])
def test_regions_of_two_greys_are_a_label_map(tmp_path, second):
    # Those of 38 and 76 would be lost without a word, and those of 128 and 200, perhaps a heart,
    # would be lung.
    regions = np.zeros((20, 40), np.uint8)
    regions[4:16, 4:16], regions[4:16, 24:36] = 255, second
    path = save(tmp_path / "a.png", regions)
    with pytest.raises(ImageFileError, match=rf"is a label map \(values 0, {second}, 255\)"):
        read_mask([path])


@pytest.mark.parametrize("kind", ["smooth", "jpeg", "enlarged"])
def test_soft_edges_are_no_label_map(tmp_path, kind):
    regions = np.zeros((64, 64), np.uint8)
    regions[14:50, 6:26], regions[14:50, 38:58] = 255, 255
    soft = Image.fromarray(regions).resize((40, 40), Image.Resampling.BILINEAR)
    path = tmp_path / ("a.jpg" if kind == "jpeg" else "a.png")
    if kind == "enlarged":
        soft = soft.resize((320, 320), Image.Resampling.NEAREST)
    soft.save(path)
    assert 0.25 < (read_mask([path]) > 0).mean() < 0.45


def test_broken_mask_names_its_file(tmp_path):
    path = tmp_path / "m.png"
    path.touch()
    with pytest.raises(ImageFileError, match=r"m\.png: is empty"):
        read_mask([path])


def test_no_mask_files():
    with pytest.raises(ValueError, match="at least one mask file"):
        read_mask([])
