"""The segmentation command and the evaluation of finished runs on other sets."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image

import train_seg
from kerascxr import __main__ as verbs
from kerascxr.config import DataConfig, SegmentationConfig, SplitConfig
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.pipeline import Images, read_images
from kerascxr.evaluation.mean_intervals import LEAST_GROUPS
from kerascxr.evaluation.segmentation import evaluate, score_image
from kerascxr.models.segmenter import Segmenter
from kerascxr.models.unet import build_unet
from kerascxr.parsing import identity, load_config
from kerascxr.runs.folder import RunFolder
from kerascxr.serving.loaded_run import load_run
from kerascxr.training import segmentation
from kerascxr.training.feature_files import FeatureFolder
from kerascxr.training.inputs import open_data
from kerascxr.training.lungs import read_lungs
from tests.support.small_runs import pairs

SMALL = ["--base_filters", "4", "--image_size", "[32,32]", "--batch_size", "8"]
SMALL += ["--runtime.tensorboard", "false", "--save_masks", "true"]
SMALL += ["--runtime.checkpoint_seconds", "0"]


def arguments(folder, *more):
    return [*SMALL, "--runs", f"{folder}/runs", "--data.stores", f"{folder}/stores", *more]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    pairs(folder / "set")
    return folder


@pytest.fixture(scope="module")
def finished(workplace):
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--name", "first")
    argv += ["--coarse_epochs", "2", "--epochs", "5", "--optimizer.learning_rate", "0.01"]
    assert train_seg.main(argv) == 0
    return workplace / "runs" / "segmentation" / "first", argv


def rows_of(run):
    with (run / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.figures
def test_it_learns(finished):
    run, _ = finished
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["dice"] > 0.8
    assert 0.05 <= metrics["threshold"] <= 0.95
    assert metrics["regime"]["trained_on"] == "images"
    assert metrics["regime"]["precision"] == "float32"
    assert json.loads((run / "environment.json").read_text())["regime"] == metrics["regime"]
    assert metrics["test_all_components"]["n"] == metrics["test"]["n"]
    assert metrics["test"]["n"] < LEAST_GROUPS and metrics["test"]["intervals"]["dice"] is None
    assert "(too few images for an interval)" in (run / "metrics.md").read_text()


def test_the_run_folder_is_complete(finished):
    run, _ = finished
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file() and p.suffix != ".txt"}
    masks = {f"masks/{row['id']}.png" for row in rows_of(run)}
    histories = {
        f"{stage}history.{end}" for stage in ("", "coarse_") for end in ("csv", "json", "md")
    }
    assert names == masks | histories | {
        ".kerascxr",
        "DONE",
        "config.yaml",
        "request.yaml",
        "environment.json",
        "metrics.json",
        "metrics.md",
        "model.keras",
        "predictions.csv",
        "timing.json",
        "training_images.csv",
        "figures/dice.png",
        "figures/loss.png",
        "figures/sample_predictions.png",
    }


def test_images_that_differ_in_folders_alone_have_a_mask_each(tmp_path):
    ids = ("a/b_c", "a_b/c", "d/e")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1)).astype(np.uint8)
    masks = np.where(pixels > 99, 255, 0).astype(np.uint8)
    images = Images(pixels, masks, ids, ids, np.zeros(3, np.int64), ("unlabelled",))
    segmenter = Segmenter(build_unet((32, 32), base_filters=1), 0.5)
    config = SegmentationConfig(image_size=(32, 32), save_masks=True)
    segmentation.test(segmenter, images, config, RunFolder(tmp_path))
    written = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert len(written) == 3 and "d_e.png" in written
    assert all(name.startswith(("a_b_c-", "d_e.")) for name in written)


def test_the_written_masks_have_the_dice_of_the_table(finished, workplace):
    run, _ = finished
    for row in rows_of(run)[:4]:
        written = np.asarray(Image.open(run / "masks" / f"{row['id']}.png"))
        assert set(np.unique(written)) <= {0, 255}
        assert np.count_nonzero(written) == int(row["predicted_pixels"])
        truth = Image.open(workplace / "set" / "masks" / f"{row['id']}.png").convert("L")
        score = score_image(np.asarray(truth), written)
        assert score["dice"] == pytest.approx(float(row["dice"]), abs=1e-9)


def test_odd_pairs_are_left_out_by_name(finished):
    run, _ = finished
    log = (run / "log.txt").read_text()
    for reason, name in (
        ("no mask", "4"),
        ("an empty mask", "1"),
        ("a mask that is all lung", "2"),
        ("a mask of another shape", "3"),
    ):
        assert f"Left out, {reason}: 1 image ({name})." in log
    images = json.loads((run / "metrics.json").read_text())["data"]["images"]
    assert sum(images.values()) == 56


def test_killed_in_its_second_stage_it_ends_with_the_same_numbers(
    finished, workplace, tmp_path, monkeypatch
):
    from kerascxr.training import callbacks

    run, argv = finished
    argv = [item.replace(f"{workplace}/runs", f"{tmp_path}/runs") for item in argv]

    class Killed(BaseException):
        pass

    on_epoch_end = callbacks.Validate.on_epoch_end
    calls = []

    def die(self, epoch, logs=None):
        calls.append(epoch)
        if len(calls) == 4:  # two coarse epochs, then in the second fine one
            raise Killed
        on_epoch_end(self, epoch, logs)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(callbacks.Validate, "on_epoch_end", die)
        train_seg.main(argv)
    assert train_seg.main(argv) == 0
    again = tmp_path / "runs" / "segmentation" / "first"
    assert (again / "metrics.json").read_text() == (run / "metrics.json").read_text()
    assert (again / "predictions.csv").read_text() == (run / "predictions.csv").read_text()


def test_every_option_finishes(workplace):
    argv = arguments(workplace, "--data.source", f"{workplace}/set", "--name", "options")
    argv += ["--coarse_epochs", "0", "--epochs", "1", "--upsampling", "bilinear"]
    argv += ["--loss", "focal_tversky"]
    argv += ["--runtime.precision", "mixed_bfloat16", "--monitor", "loss"]
    assert train_seg.main(argv) == 0


class Enough(Exception):  # noqa: N818
    """Ends a training where a test has seen enough of it."""


def stop_at(monkeypatch, name):
    from kerascxr.training import segmentation

    def stop(*arguments):
        raise Enough

    monkeypatch.setattr(segmentation, name, stop)


def test_without_a_gpu_the_small_network_is_taken_and_said(workplace, capsys, monkeypatch):
    stop_at(monkeypatch, "open_data")
    argv = ["--runs", str(workplace / "runs"), "--name", "default"]
    with pytest.raises(Enough):
        train_seg.main(argv)
    assert "No GPU, so small: --base_filters 16" in capsys.readouterr().out


def test_what_the_machine_decided_is_in_the_config(workplace, tmp_path, monkeypatch):
    stop_at(monkeypatch, "_train_coarse")
    argv = ["--data.source", f"{workplace}/set", "--data.stores", f"{workplace}/stores"]
    argv += ["--image_size", "[32,32]", "--runs", str(tmp_path)]
    with pytest.raises(Enough):
        train_seg.main(argv)
    run = tmp_path / "segmentation" / "unet"
    asked = load_config(SegmentationConfig, run / "request.yaml")
    assert (asked.base_filters, asked.epochs, asked.runtime.precision) == (None, None, "auto")
    chosen = load_config(SegmentationConfig, run / "config.yaml")
    assert (chosen.base_filters, chosen.coarse_epochs, chosen.epochs) == (16, 10, 3)
    left = [name for name, value in identity(chosen).items() if value in (None, "auto")]
    assert not left and (chosen.name, chosen.data.cache) == ("unet", "memory")
    with pytest.raises(Enough):
        train_seg.main(["--config", str(run / "config.yaml")])
    with pytest.raises(Enough):
        train_seg.main(argv)
    assert [path.name for path in run.parent.iterdir() if path.is_dir()] == ["unet"]
    assert load_config(SegmentationConfig, run / "request.yaml") == asked


def test_a_size_that_does_not_divide_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        train_seg.main(["--image_size", "[100,100]"])
    assert stop.value.code == 2
    assert "multiples of 16" in capsys.readouterr().err


def test_the_headline_is_of_the_masks_that_are_used_afterwards(finished, workplace, tmp_path):
    run, _ = finished
    store = open_data(DataConfig(f"{workplace}/set", workplace / "stores"))
    metrics = json.loads((run / "metrics.json").read_text())
    for split, shown in (("test", "test"), ("validation", "validation")):
        folds = split_folds(SplitConfig())[split]
        images = read_images(store, folds, (32, 32), masks=True)
        used = read_lungs(store, folds, run, (32, 32), FeatureFolder(tmp_path))
        all_ids = read_images(store, folds, (32, 32)).ids
        used = [used[all_ids.index(name)][..., 0] for name in images.ids]
        _, scores = evaluate(images.masks[..., 0], used)
        assert metrics[shown]["dice"] == pytest.approx(scores["dice"], abs=1e-6)


def test_a_small_component_does_not_count_in_the_headline(tmp_path):
    truth = np.zeros((1, 32, 32, 1), np.uint8)
    truth[0, 8:24, 2:12] = truth[0, 8:24, 20:30] = 255
    pixels = truth.copy()
    pixels[0, :4, 14:18] = 255  # a third bright spot
    images = Images(pixels, truth, ("a",), ("a",), np.zeros(1, np.int64), ("unlabelled",))
    inputs = keras.Input((32, 32, 1))
    bright = Segmenter(keras.Model(inputs, keras.layers.Rescaling(1, -127)(inputs)), 0.5)
    found = segmentation.test(bright, images, SegmentationConfig(), RunFolder(tmp_path))
    (row,) = rows_of(tmp_path)
    assert found["test"]["dice"] == float(row["dice"]) == 1
    assert found["test_all_components"]["dice"] == pytest.approx(640 / (320 + 336))


@pytest.mark.figures
def test_a_finished_run_is_tested_on_another_set(finished, tmp_path, capsys):
    run, _ = finished
    other = pairs(tmp_path / "other", n=40, seed=9, size=32)
    for path in (tmp_path / "other/images").iterdir():
        pixels = np.array(Image.open(path))
        pixels[1:4, 1:4] = pixels[28:31, 28:31] = 190  # as bright as the lungs, and not lungs
        Image.fromarray(pixels).save(path)
    lines = ["path,mask,group,row_mm,column_mm"]
    for number in range(40):
        if number != 4:  # has no mask
            spacing = "0.5,0.25" if number % 2 else ","
            lines.append(f"images/{number}.png,masks/{number}.png,p{number},{spacing}")
    source = tmp_path / "other" / "other.csv"
    source.write_text("\n".join(lines))
    argv = ["evaluate", str(run), "--data.source", str(source)]
    argv += ["--data.stores", str(tmp_path / "stores")]
    assert verbs.main(argv) == 0
    (folder,) = (run / "external").glob("[!.]*")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test"]["n"] == 36 and metrics["data"]["left_out"] == 0
    assert metrics["data"]["without_usable_mask"] == 3
    assert len(rows_of(folder)) == 36
    for row in rows_of(folder):
        assert row["given_group"] == f"p{row['id']}"
    assert (folder / "figures" / "sample_predictions.png").exists()
    shown = capsys.readouterr().out
    assert "on other-" in shown and "Left out, an empty mask: 1 image (1)." in shown
    # The masks that predict gives have the Dice of the table; of all components it is lower.
    names = [row["id"] for row in rows_of(folder)]
    found = load_run(run).predict([f"{other}/images/{name}.png" for name in names])
    truths = [np.array(Image.open(f"{other}/masks/{name}.png").convert("L")) for name in names]
    _, scores = evaluate(truths, found.masks)
    assert metrics["test"] | scores == metrics["test"] | {"per_class": {}}
    assert metrics["test"]["dice"] > metrics["test_all_components"]["dice"] + 0.005
    # Distances in mm of the images of known spacing, at the model's 32x32 pixels.
    for row in rows_of(folder):
        assert bool(row["hd95_mm"]) == (int(row["id"]) % 2 == 1)
        if row["hd95_mm"]:
            assert 0.25 * float(row["hd95"]) <= float(row["hd95_mm"]) <= 0.5 * float(row["hd95"])
    assert metrics["test"]["n_mm"] == sum(bool(row["hd95_mm"]) for row in rows_of(folder)) > 10
    assert metrics["test"]["intervals"]["hd95_mm"] is None  # of too few images, unlike pixels'
    assert metrics["test"]["intervals"]["hd95"] is not None
    assert "HD95 (mm)" in (folder / "metrics.md").read_text()
    written = np.asarray(Image.open(folder / "masks" / f"{names[0]}.png"))
    np.testing.assert_array_equal(written > 0, found.masks[0])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["evaluate", "nowhere"], "must be the folder of a finished run"),
        (["fly"], "unknown command 'fly'"),
        (["data", "--source", "nowhere"], "nowhere"),
    ],
)
def test_wrong_verbs_end_in_one_line(argv, words, capsys):
    assert verbs.main(argv) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


def test_unknown_options_of_verbs_end_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        verbs.main(["evaluate", "x", "--dat.source", "y"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
