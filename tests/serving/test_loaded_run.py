"""A run as a Python object gives what the command gives."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import kerascxr
from kerascxr import __main__ as verbs
from kerascxr.serving import loaded_run


@pytest.fixture(scope="module")
def classifier(runs):
    return kerascxr.load_run(runs[0])


@pytest.fixture(scope="module")
def unet(runs):
    return kerascxr.load_run(str(runs[1]))


@pytest.fixture(scope="module")
def table(served, runs, tmp_path_factory):
    """What the command predicts for all images: path to probabilities and class."""
    to = tmp_path_factory.mktemp("table") / "table.csv"
    assert verbs.main(["predict", str(runs[0]), str(served / "set"), "--to", str(to)]) == 0
    with to.open(newline="") as file:
        return {
            row["path"]: (
                [float(row[f"probability {n}"]) for n in ("bright", "dark", "middle")],
                row,
            )
            for row in csv.DictReader(file)
        }


def test_it_has_the_runs_record(classifier, unet, runs):
    assert classifier.task == "classification" and unet.task == "segmentation"
    assert classifier.path == runs[0]
    assert classifier.metrics["test"]["classes"] == ["bright", "dark", "middle"]
    assert classifier.config["backbone"] == "tiny"
    assert classifier.model.output.shape == (None, 3)
    assert unet.model.output.shape == (None, 32, 32, 1)
    assert classifier.model is classifier.model


def test_its_models_parameters_are_those_of_its_record(classifier, unet):
    assert "linear_probe" in classifier.metrics
    for run in (classifier, unet):
        assert kerascxr.models.parameter_summary(run.model) == run.metrics["parameters"]


def test_documented_lines_give_calibrated_probabilities_of_a_loaded_model(classifier, runs):
    page = Path(__file__).parents[2] / "docs/how-to/use-it-from-python.md"
    after = page.read_text(encoding="utf-8").partition('/model.keras")\n')[2].partition("```")[0]
    model = keras.models.load_model(runs[0] / "model.keras")
    names = {"keras": keras, "run": classifier, "model": model}
    exec(after, names)
    assert names["batch"].shape == (2, 32, 32, 3)
    grey = np.rint(names["batch"][..., :1])
    logits = model(np.repeat(grey, 3, axis=-1)) / names["temperature"]
    expected = classifier.predict(list(grey)).probabilities
    np.testing.assert_allclose(keras.ops.softmax(logits), expected, atol=1e-5)
    np.testing.assert_allclose(names["probabilities"].numpy().sum(axis=1), 1, atol=1e-5)


def test_paths_give_the_commands_numbers(classifier, served, table):
    found = classifier.predict(served / "set")
    assert list(found.ids) == list(table)
    assert found.classes == ("bright", "dark", "middle")
    for name, label, row in zip(found.ids, found.labels, found.probabilities, strict=True):
        np.testing.assert_allclose(row, table[name][0], atol=1e-6)
        assert label == table[name][1]["predicted"]
    one = classifier.predict(found.ids[3])
    np.testing.assert_allclose(one.probabilities[0], found.probabilities[3], atol=1e-6)


def test_arrays_of_any_size_give_what_files_give(classifier, served, tmp_path):
    random = np.random.default_rng(0)
    arrays = [
        random.integers(0, 256, (40, 60), dtype=np.uint8),
        random.integers(0, 256, (33, 70, 3), dtype=np.uint8),
        random.integers(0, 256, (32, 32, 1), dtype=np.uint8),
    ]
    for index, array in enumerate(arrays):
        Image.fromarray(array.squeeze()).save(tmp_path / f"{index}.png")
    files = classifier.predict([tmp_path / f"{index}.png" for index in range(3)])
    found = classifier.predict(arrays)
    assert found.ids == ("0", "1", "2")
    np.testing.assert_array_equal(found.probabilities, files.probabilities)
    floats = classifier.predict([array.astype(np.float64) for array in arrays])
    np.testing.assert_array_equal(floats.probabilities, files.probabilities)
    batch = classifier.predict(np.stack([arrays[2]] * 40))  # more than one batch
    assert batch.probabilities.shape == (40, 3)
    np.testing.assert_allclose(batch.probabilities, files.probabilities[[2] * 40], atol=1e-6)


def test_masks_have_the_images_own_size(unet, served, tmp_path):
    files = sorted((served / "lungs" / "images").glob("*.png"))[:3]
    found = unet.predict(files)
    sizes = [Image.open(path).size[::-1] for path in files]
    assert [mask.shape for mask in found.masks] == sizes
    assert all(mask.dtype == bool for mask in found.masks)
    np.testing.assert_allclose(found.lung_fractions, [mask.mean() for mask in found.masks])
    assert found.lung_fractions.max() > 0
    again = unet.predict([np.array(Image.open(path)) for path in files])
    assert all(np.array_equal(a, b) for a, b in zip(found.masks, again.masks, strict=True))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "at least one path or array. Got none"),
        (np.zeros((3, 4), np.uint8), r"Got images\[0\] of shape \(4,\)"),
        ([np.zeros((4, 4, 4), np.uint8)], r"of shape \(4, 4, 4\)"),
        (np.zeros((40, 30, 3), np.uint8), r"of shape \(40, 30, 3\), which is one image: give"),
        (np.zeros((40, 30, 1), np.uint8), "which is one image: give"),
        ([np.full((4, 4), 256)], r"from 0 to 255. Got images\[0\] with 256"),
        ([np.zeros((4, 4)), np.full((4, 4), np.nan)], r"Got images\[1\] with nan"),
        ([np.full((4, 4), 0.5)], "multiply images of 0..1 by 255"),
        ([np.zeros((0, 4), np.uint8)], "from 0 to 255"),
        (["x.png", np.zeros((4, 4))], "Got both"),
        ("/no/such/file.png", "there are none"),
    ],
)
def test_other_input_is_refused_in_one_line(classifier, images, words):
    with pytest.raises(ValueError, match=words) as caught:
        classifier.predict(images)
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_named(classifier, tmp_path):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"cut\.png"):
        classifier.predict(tmp_path / "cut.png")


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="must be the folder of a finished run"):
        kerascxr.load_run(tmp_path)


def test_a_file_that_is_named_twice_has_two_rows(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("L", (1, 1)).save(tmp_path / name)
    paths = [tmp_path / name for name in ("b.png", "a.png", "b.png")]
    assert [name for name, _ in loaded_run._read(paths)] == [str(path) for path in paths]
