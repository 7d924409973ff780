"""Whatever is sent or found, the answer names it, and the next image is answered as before."""

import csv
import os

import numpy as np
import pytest
import tensorflow as tf

from kerascxr import __main__ as verbs
from kerascxr.data import images
from kerascxr.data.files import ImageFileError, read_grey
from kerascxr.data.images import decode_file
from kerascxr.serving.graph import decode_batch
from tests.support.hostile_files import (
    black_png,
    chunk,
    dicom_files,
    encode,
    small_files,
    strange_places,
    with_chunk,
    zeros,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 60)).astype(np.uint8)
SMALL = small_files(PIXELS)
FILES = SMALL | dicom_files()
# What one side reads and the other refuses, each in its own right.
ONLY_INGEST = {"GIF", "WebP", "TIFF", "DICOM"}
ONLY_SERVED = {"BMP with a header of 4,294,967,295 bytes"}
WHOLE = {"PNG of 16-bit RGBA", "PNG of 1 x 1", "PNG of 1 x 4,000", "PNG of 4,000 x 1"}


@pytest.fixture(scope="module")
def decode():
    traced = tf.function(lambda batch: decode_batch(batch, ((8, 8),)), autograph=False)
    return lambda batch: traced(tf.constant(batch))[0][0].numpy()


@pytest.mark.parametrize("name", SMALL)
def test_a_served_batch_names_it_and_the_next_is_answered(decode, name):
    good = black_png(9, 9)
    if name in WHOLE | ONLY_SERVED:
        assert len(decode([good, SMALL[name]])) == 2
        return
    for batch, place in (([SMALL[name]], 0), ([good] * 3 + [SMALL[name], good], 3)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"from 0\)\] \[{place}\]"):
            decode(batch)
    assert decode([good]).shape == (1, 8, 8, 1)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_or_named(tmp_path, name):
    path = tmp_path / "x.png"
    path.write_bytes(FILES[name])
    if name in WHOLE | ONLY_INGEST:
        assert read_grey(path).dtype == np.uint8
        return
    with pytest.raises(ImageFileError) as raised:
        read_grey(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_ancillary_chunks_are_not_unpacked_at_any_size(decode, tmp_path):
    good = black_png(9, 9)
    for name in (b"iCCP", b"zTXt"):
        bomb = with_chunk(good, name, b"x\0\0" + zeros(2**26))
        assert decode([bomb]).max() == 0
        (tmp_path / "x.png").write_bytes(bomb)
        with pytest.raises(ImageFileError, match="too large"):
            read_grey(tmp_path / "x.png")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_made_in_pieces_is_the_same(monkeypatch, channels):
    monkeypatch.setattr(images, "_PIECE", 7)
    colour = np.random.default_rng(1).integers(0, 256, (5, 9, channels)).astype(np.uint8)
    data = encode(colour if channels > 1 else colour[..., 0])
    in_pieces = decode_file.python_function(tf.constant(data)).numpy()  # not the traced one
    monkeypatch.undo()
    np.testing.assert_array_equal(in_pieces, decode_file(tf.constant(data)).numpy())


def test_predict_neither_waits_nor_dies(served, runs, tmp_path, capsys):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "good.png").write_bytes((served / "set/dark/1.png").read_bytes())
    for name, make in strange_places(folder).items():
        make(f"{name.replace('/', '')}.png")
    many = FILES["DICOM of 'many' frames"]
    (folder / "many.dcm").write_bytes(many)
    to = tmp_path / "table.csv"
    assert verbs.main(["predict", str(runs[0]), str(folder), "--to", str(to)]) == 1
    shown = capsys.readouterr().out
    for words in ("a pipe (FIFO).png: is not a regular", "many.dcm: is a DICOM file whose Number"):
        assert words in shown
    assert "a broken link.png" in shown and "a link to itself.png" in shown
    with to.open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [str(folder / "good.png")]


def test_a_strip_too_long_to_be_resized_is_refused_by_both(decode, tmp_path):
    strip = black_png(1, 1_000_001)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"from 0\)\] \[0\]"):
        decode([strip])
    (tmp_path / "x.png").write_bytes(strip)
    with pytest.raises(ImageFileError, match="a side over 1,000,000"):
        read_grey(tmp_path / "x.png")


def test_a_pipe_given_by_name_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(ImageFileError, match="not a regular file"):
        read_grey(tmp_path / "x.png")


def test_noise_in_a_png_that_has_the_right_size_is_found(tmp_path):
    png = black_png(9, 9)
    body = png.index(b"IDAT")
    changed = png[: body + 4] + bytes([png[body + 4] ^ 1]) + png[body + 5 :]
    assert chunk(b"IEND", b"") == png[-12:]
    (tmp_path / "x.png").write_bytes(changed)
    with pytest.raises(ImageFileError, match="is damaged"):
        read_grey(tmp_path / "x.png")
