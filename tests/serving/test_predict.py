"""Predictions of folders: the run's own numbers, whatever the file, and nothing lost to a kill."""

import csv
import dataclasses
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import tensorflow as tf
from PIL import Image

from kerascxr import __main__ as verbs
from kerascxr.plots.heat import heat_overlay
from kerascxr.runs.atomic import replacing
from kerascxr.serving import predict, saved_rows
from kerascxr.serving.files import derived_name, find_files
from kerascxr.serving.loaded_run import load_run
from kerascxr.serving.predictors import LungFinder, Predictor, load_predictor
from tests.support.ready_exports import load_once

CLASSES = ["bright", "dark", "middle"]


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


pytestmark = pytest.mark.usefixtures("any_lung_masks")  # of U-Nets trained for a moment


@pytest.fixture(scope="module")
def known(served, runs, at_temperature):
    """File to the run's probabilities at its temperature, of the test images."""
    rows = read(runs[0] / "predictions.csv")
    raw = [[float(row[f"uncalibrated probability {name}"]) for name in CLASSES] for row in rows]
    files = [str(served / "set" / f"{row['id']}.png") for row in rows]
    return dict(zip(files, at_temperature(runs[0], raw), strict=True))


@pytest.fixture(scope="module", autouse=True)
def exports_loaded_once():
    with pytest.MonkeyPatch.context() as patched:
        load_once(patched)
        yield


@pytest.fixture(scope="module")
def model(plain):
    return plain


@pytest.mark.parametrize("kind", ["run", "export", "version"])
def test_it_gives_the_runs_numbers(served, runs, model, known, tmp_path, capsys, kind):
    path = {"run": runs[0], "export": model, "version": model / "2"}[kind]
    to = tmp_path / "out" / "table.csv"
    assert verbs.main(["predict", str(path), str(served / "set"), "--to", str(to)]) == 0
    note = (
        f"In every prediction set, also beside a decision for another class: {', '.join(CLASSES)}. "
    )
    note += "There are too few validation images to exclude them; 19 of a class would do."
    assert note in capsys.readouterr().out
    rows = read(to)
    deciding = ["decision", "prediction_set", "ood_score", "warnings"]
    assert list(rows[0]) == ["path", "predicted", *(f"probability {n}" for n in CLASSES), *deciding]
    assert len(rows) == len({row["path"] for row in rows}) == 90
    found = {row["path"]: [float(row[f"probability {name}"]) for name in CLASSES] for row in rows}
    for name, expected in known.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-5)
    for row in rows:
        best = int(np.argmax(found[row["path"]]))
        assert row["predicted"] == CLASSES[best]
        assert row["decision"] == ("not decided" if row["warnings"] else row["predicted"])
    by_path = {row["path"]: row for row in rows}
    for row in read(runs[0] / "predictions.csv"):
        one = by_path[str(served / "set" / f"{row['id']}.png")]
        assert [one[name] for name in deciding[:2]] == [row[name] for name in deciding[:2]]
        assert float(one["ood_score"]) == pytest.approx(float(row["ood_score"]), abs=1e-2)
    assert [path.name for path in to.parent.iterdir() if path.suffix != ".lock"] == ["table.csv"]


def test_lungs_parquet_and_overlays(served, runs, tmp_path, capsys):
    to = tmp_path / "table.parquet"
    argv = ["predict", str(runs[0]), f"{served}/set/dark/1*.png", "--to", str(to)]
    argv += ["--segmentation", str(runs[1]), "--overlays", str(tmp_path / "maps")]
    assert verbs.main(argv) == 0
    table = pyarrow.parquet.read_table(to).to_pydict()
    assert len(table["path"]) == 11
    shown = capsys.readouterr()
    assert f"The U-Net of {runs[1]} is poor" in shown.out + shown.err
    assert all(0 <= value <= 1 for value in table["lung_fraction"])
    pictures = sorted((tmp_path / "maps").iterdir())
    assert len(pictures) == 11
    assert np.asarray(Image.open(pictures[0])).shape == (32, 32, 3)


def test_what_cannot_be_read_is_listed_and_the_rest_is_there(served, runs, tmp_path, capsys):
    folder = tmp_path / "set"
    folder.mkdir()
    good = (served / "set/dark/1.png").read_bytes()
    (folder / "good.png").write_bytes(good)
    (folder / "cut.png").write_bytes(good[:200])
    (folder / "empty.png").touch()
    (folder / "page.png").write_text("<html>404</html>")
    (folder / "notes.txt").write_text("no image")
    (folder / "IM0001").write_bytes(good)
    odd = tmp_path / "a\udcff.png"
    odd.write_bytes(good)
    (folder / "two\rrows.png").write_bytes(good)
    to = tmp_path / "table.csv"
    assert verbs.main(["predict", str(runs[0]), str(folder), str(odd), "--to", str(to)]) == 1
    shown = capsys.readouterr().out
    rejected = tmp_path / "table.rejected.csv"
    assert f"5 files could not be read, listed in {rejected}:" in shown
    assert f"1 file whose suffix is no image's, such as {folder}/IM0001: passed over" in shown
    reasons = (("cut", "truncated"), ("empty", "0 bytes"), ("page", "HTML page"))
    for name, words in (*reasons, ("a\\xff", "not UTF-8"), ("two\\rrows", "carriage return")):
        (line,) = [line for line in shown.splitlines() if f"{name}.png" in line]
        assert words in line
    assert [row["path"] for row in read(to)] == [str(folder / "good.png")]
    reasons = {Path(row["path"]).name: row["reason"] for row in read(rejected)}
    assert reasons["empty.png"] == "is empty (0 bytes)"
    assert set(reasons) == {"cut.png", "empty.png", "page.png", "a\\xff.png", "two\\rrows.png"}
    quiet = ["predict", str(runs[0]), str(folder), "--to", str(to), "--quiet"]
    assert verbs.main(quiet) == 1
    assert "cut.png: is truncated" in capsys.readouterr().out
    for name in ("cut.png", "empty.png", "page.png", "IM0001", "two\rrows.png"):
        (folder / name).unlink()
    assert verbs.main(quiet) == 0
    assert capsys.readouterr().out == "" and not rejected.exists()


def test_killed_it_goes_on_and_gives_the_same_table(served, runs, tmp_path, monkeypatch, messages):
    monkeypatch.setattr(predict, "_BATCH", 16)
    predictor = load_predictor(runs[0])
    (tmp_path / "cut.png").write_bytes(b"no image")  # is read again, and its batch with it
    files = [tmp_path / "cut.png", *find_files([str(served / "set")])]
    whole, to = tmp_path / "whole.csv", tmp_path / "table.csv"
    predict.predict_files(predictor, files, whole)

    class Killed(BaseException):
        pass

    rows, seen = predict._rows, []

    def die(paths, *more):
        if len(seen) == 32:
            raise Killed
        seen.extend(paths)
        return rows(paths, *more)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(predict, "_rows", die)
        predict.predict_files(predictor, files, to)
    assert not to.exists()
    (kept,) = tmp_path.glob(".partial-*")
    # A full disk cuts a batch: one row of the third is whole, the next one is not.
    last = kept.read_text().splitlines()[-1].split(",")
    with kept.open("a") as file:
        file.write(",".join([str(files[32]), *last[1:-1], saved_rows._stamp(files[32])]))
        file.write("\n/half/a/r")
    again = []
    monkeypatch.setattr(
        predict, "_rows", lambda paths, *more: again.extend(paths) or rows(paths, *more)
    )
    predict.predict_files(predictor, files, to)
    assert messages() == ["Resuming after 16 of 91 files."]
    assert set(again) & set(seen) == set(map(str, files[:16]))
    assert len(again) + len(seen) == 91 + 16
    assert to.read_text() == whole.read_text()
    assert not list(tmp_path.glob(".partial-*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda argv: [argv[0], argv[1], "/no/such/place", *argv[3:]], "there are none"),
        (lambda argv: [argv[0], "/no/model", *argv[2:]], "neither"),
        (lambda argv: [*argv[:-1], argv[-1].replace(".csv", ".xlsx")], ".csv or .parquet"),
    ],
)
def test_wrong_input_is_one_line(served, runs, tmp_path, capsys, change, words):
    argv = ["predict", str(runs[0]), f"{served}/set/dark", "--to", str(tmp_path / "a.csv")]
    assert verbs.main(change(argv)) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.rstrip().count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_an_export_has_no_gradients(served, model, tmp_path, capsys):
    argv = ["predict", str(model), f"{served}/set/dark", "--to", str(tmp_path / "a.csv")]
    assert verbs.main([*argv, "--overlays", str(tmp_path / "maps")]) == 2
    assert "which has no Grad-CAM" in capsys.readouterr().err


@pytest.fixture(scope="module")
def with_lungs(chest):
    return chest


def test_a_run_warns_of_an_images_own_shape_as_an_export_does(runs, tmp_path):
    random = np.random.default_rng(0)
    strip = random.integers(0, 256, (20, 90), dtype=np.uint8)
    Image.fromarray(strip).save(tmp_path / "strip.png")
    to = tmp_path / "table.csv"
    assert verbs.main(["predict", str(runs[0]), str(tmp_path / "strip.png"), "--to", str(to)]) == 0
    (row,) = read(to)
    assert "unusual shape" in row["warnings"] and row["decision"] == "not decided"
    wide = random.integers(0, 256, (100, 169), dtype=np.uint8)  # it would be too narrow if turned
    assert "unusual shape" not in load_run(runs[0]).predict([wide]).warnings[0]
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert verbs.main(["predict", str(runs[0]), str(tmp_path / "wide.png"), "--to", str(to)]) == 0
    assert "unusual shape" not in read(to)[0]["warnings"]
    given = load_run(runs[0]).predict([strip])
    assert given.decisions == ("not decided",) and given.warnings == (row["warnings"],)
    assert given.prediction_sets == (row["prediction_set"],)
    np.testing.assert_allclose(given.ood_scores, [float(row["ood_score"])], rtol=1e-5)


def test_an_exports_warnings_and_lung_fraction_are_in_the_table(with_lungs, tmp_path):
    random = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.full((32, 32), 90, np.uint8)).save(folder / "a.png")
    Image.fromarray(random.integers(0, 256, (20, 90), dtype=np.uint8)).save(folder / "b.png")
    (folder / "c.png").write_bytes(b"no image")
    files = [str(folder / f"{name}.png") for name in "ab"]
    signature = tf.saved_model.load(str(with_lungs / "1")).signatures["serving_default"]
    served = signature(images=tf.constant([Path(name).read_bytes() for name in files]))
    to = tmp_path / "table.csv"
    assert verbs.main(["predict", str(with_lungs), str(folder), "--to", str(to)]) == 1
    rows = read(to)
    assert list(rows[0])[-2:] == ["warnings", "lung_fraction"]
    assert [row["path"] for row in rows] == files
    assert [row["warnings"].encode() for row in rows] == served["warnings"].numpy().tolist()
    assert "nearly constant" in rows[0]["warnings"] and "unusual shape" in rows[1]["warnings"]
    fractions = [float(row["lung_fraction"]) for row in rows]
    np.testing.assert_allclose(fractions, served["lung_fraction"], atol=1e-6)
    assert verbs.main(["predict", str(with_lungs), files[0], "--to", f"{to}.parquet"]) == 0
    assert "nearly constant" in pyarrow.parquet.read_table(f"{to}.parquet")["warnings"][0].as_py()


def test_given_a_unet_its_lung_fraction_is_the_tables(with_lungs, runs, served, tmp_path):
    to = tmp_path / "table.csv"
    command = ["predict", str(with_lungs), f"{served}/set/dark/1.png", "--to", str(to)]
    assert verbs.main([*command, "--segmentation", str(runs[1])]) == 0
    (row,) = read(to)
    assert list(row)[-2:] == ["warnings", "lung_fraction"]
    (expected,) = load_run(runs[1]).predict([served / "set/dark/1.png"]).lung_fractions
    assert float(row["lung_fraction"]) == pytest.approx(expected, abs=1e-6)


def square(value, size=(10, 25)):
    """An image whose left part is black; the rest has a value."""
    pixels = np.full(size, value, np.uint8)
    pixels[:, : size[1] // 5] = 0
    return pixels


@pytest.fixture
def squares(tmp_path):
    """Files of two images, and of something else between them."""
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for path, value in zip(files, (50, 0, 200), strict=True):
        Image.fromarray(square(value)).save(path)
    files[1].write_bytes(b"no image")
    return files


def answer_by_grey(items, own_sizes):
    """The first class is as likely as the image is bright."""
    bright = tf.reduce_mean(items, axis=(1, 2, 3)).numpy() / 255
    sizes = own_sizes.numpy()
    return {
        "probabilities": np.stack([bright, 1 - bright], axis=1),
        "lung_fraction": sizes[:, 0] / sizes[:, 1],
    }


BY_GREY = Predictor("m", "id", ("light", "dark"), (8, 20), answer_by_grey, ("lung_fraction",))
FINDER = LungFinder("u", "id", (4, 10), lambda images: images.numpy()[:, 0, -1, 0] / 255)


def test_each_row_has_what_the_model_answers_for_its_file(squares, tmp_path):
    given = list(predict._batches(squares, BY_GREY, FINDER))
    ((paths, errors, sizes, small, large),) = given
    assert paths == [str(path) for path in squares] and [bool(one) for one in errors] == [0, 1, 0]
    assert sizes.tolist() == [[10, 25], [1, 1], [10, 25]]
    assert small.shape == (3, 8, 20, 1) and large.shape == (3, 4, 10, 1)
    for lungs in (None, FINDER):
        unreadable = predict.predict_files(BY_GREY, squares, tmp_path / "t.csv", lungs=lungs)
        assert [path for path, _ in unreadable] == [str(squares[1])]
        rows = read(tmp_path / "t.csv")
        head = "path,predicted,probability light,probability dark,lung_fraction\n"
        assert (tmp_path / "t.csv").read_text().startswith(head)
        assert [row["path"] for row in rows] == [str(squares[0]), str(squares[2])]
        assert [row["predicted"] for row in rows] == ["dark", "light"]
        for row, value in zip(rows, (50, 200), strict=True):
            assert float(row["probability light"]) == pytest.approx(0.8 * value / 255, abs=0.01)
            expected = value / 255 if lungs else 0.4
            assert float(row["lung_fraction"]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("letter", ["a", "é", "胸", "\N{LUNGS}"])
def test_a_long_name_in_any_script_gives_a_name_that_a_disk_takes(letter, tmp_path):
    image = letter * (251 // len(letter.encode())) + ".png"  # the longest name there is
    name = derived_name(f"/x/{image}", ".png")
    with replacing(tmp_path / name) as partial:
        partial.write_bytes(b"1")
    assert [path.name for path in tmp_path.iterdir()] == [name] and name.startswith(3 * letter)
    assert name != derived_name(f"/y/{image}", ".png")


def test_an_overlay_is_of_its_images_class(squares, tmp_path):
    maps = np.zeros((3, 2, 8, 20), np.float32)
    maps[:, 0, :2], maps[:, 1, :, :2] = 1, 1  # of the first class on top, of the other on the left

    def camera(images, labels):
        return tf.constant(maps)[:, 0] * 0 + tf.gather(maps[0], labels)

    small = np.stack([square(value, (8, 20)) for value in (50, 0, 200)])[..., None]
    rows = [["", "", "dark"], ["", "no image", ""], ["", "", "light"]]
    paths, errors = [str(path) for path in squares], ["", "no image", ""]
    predict._draw(paths, errors, small, rows, tmp_path / "maps", camera, BY_GREY)
    names = {path.name for path in (tmp_path / "maps").iterdir()}
    expected = {derived_name(paths[at], ".png"): maps[0, 1 - at // 2] for at in (0, 2)}
    assert names == set(expected)
    for at in (0, 2):
        name = derived_name(paths[at], ".png")
        picture = np.asarray(Image.open(tmp_path / "maps" / name))
        np.testing.assert_array_equal(picture, heat_overlay(small[at, ..., 0], expected[name]))


def test_class_names_may_hold_commas(served, runs, tmp_path):
    predictor = load_predictor(runs[0])
    classes = ("a, b", 'c "d"', "e")
    odd = dataclasses.replace(predictor, classes=classes)
    predict.predict_files(odd, find_files([f"{served}/set/dark/1.png"]), tmp_path / "table.csv")
    (row,) = read(tmp_path / "table.csv")
    assert list(row)[:5] == ["path", "predicted", *(f"probability {name}" for name in classes)]
    assert row["predicted"] in classes


def test_a_server_and_the_command_agree_on_a_turned_photograph(with_lungs, runs, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60), dtype=np.uint8)
    pixels[:, :30] //= 4
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    signature = tf.saved_model.load(str(with_lungs / "1")).signatures["serving_default"]
    data = (tmp_path / "turned.jpg").read_bytes()
    given = signature(images=tf.constant([data]))
    upright = signature(images=tf.constant([_without_exif(data)]))
    assert np.abs(given["probabilities"] - upright["probabilities"]).max() > 1e-4
    assert tf.io.decode_png(given["lung_mask_bytes"][0]).shape == (60, 40, 1)
    for model in (with_lungs, runs[0]):
        to = tmp_path / "table.csv"
        argv = ["predict", str(model), str(tmp_path / "turned.jpg"), "--to", str(to)]
        assert verbs.main(argv) == 0
        (row,) = read(to)
        table = [float(row[f"probability {name}"]) for name in CLASSES]
        np.testing.assert_allclose(table, given["probabilities"][0], atol=1e-5)


def _without_exif(data):
    begin = data.index(b"\xff\xe1")
    length = int.from_bytes(data[begin + 2 : begin + 4], "big")
    return data[:begin] + data[begin + 2 + length :]


def test_two_calls_for_one_table_take_turns(served, runs, tmp_path, monkeypatch, messages):
    predictor = load_predictor(runs[0])
    files, to = find_files([f"{served}/set/dark"]), tmp_path / "table.csv"
    rows, begun, errors = predict._rows, threading.Event(), []

    def slowly(*given):
        begun.set()
        time.sleep(0.3)
        return rows(*given)

    def call():
        try:
            predict.predict_files(predictor, files, to)
        except Exception as error:
            errors.append(error)

    monkeypatch.setattr(predict, "_rows", slowly)
    threads = [threading.Thread(target=call) for _ in range(2)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert [row["path"] for row in read(to)] == [str(path) for path in files]
    assert messages() == [f"Another process is writing {to}; waiting for it."]


def test_a_row_has_the_likeliest_class_all_probabilities_and_the_extras():
    answer = {
        "probabilities": np.array([[0.25, 0.75], [0.5, 0.5], [0.0, 0.0]], np.float32),
        "warnings": np.array([b"perhaps upside down", b"", b""], object),
        "lung_fraction": np.array([0.125, 0.5, 0], np.float32),
    }
    rows = predict._rows(
        ["a", "b", "c"], ["", "", "is empty"], answer, ["x", "y"], ["warnings", "lung_fraction"]
    )
    assert rows == [
        ["a", "", "y", "0.25", "0.75", "perhaps upside down", "0.125"],
        ["b", "", "x", "0.5", "0.5", "", "0.5"],
        ["c", "is empty", "", "", "", "", ""],
    ]
