"""Figures: a real PNG of a fitting size, the same bytes each time, and the right content."""

import ast
import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from kerascxr import evaluation, report
from kerascxr.evaluation.classification import precision_recall_curves, roc_curves
from kerascxr.plots import style
from kerascxr.plots.classification import confusion_matrix, roc_and_pr, sample_predictions
from kerascxr.plots.curves import training_curves
from kerascxr.plots.segmentation import OVERLAY, overlay, overlay_grid
from kerascxr.plots.style import GREEN, VERMILLION, wrapped

pytestmark = pytest.mark.figures

CLASSES = ["COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"]
LONG = [f"Pleural_thickening with effusion {index}" for index in range(15)]


def texts(figure):
    """All that is written in a figure, line breaks as spaces."""
    found = figure.findobj(matplotlib.text.Text)
    return {" ".join(text.get_text().split()) for text in found if text.get_visible()}


def check_png(path, width_inches=None):
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert "Software" not in image.info
        width, height = image.size
        assert 200 <= width <= 2000
        assert 150 <= height <= 3000
        if width_inches:
            assert width == width_inches * style.DPI
        grey = np.asarray(image.convert("L"))
    assert grey.std() > 5  # something is drawn
    assert np.unique(grey).size > 8
    # What is cut off would reach the edge.
    assert all((edge == 255).all() for edge in (grey[0], grey[-1], grey[:, 0], grey[:, -1]))


def history(epochs, gap=()):
    return [
        {
            "epoch": epoch,
            "accuracy": 1 - 0.5 / epoch,
            "val_accuracy": None if epoch in gap else 0.9 - 0.01 * abs(epoch - 5),
            "loss": 2 / epoch,
            "val_loss": math.nan if epoch in gap else 0.3 + 0.01 * abs(epoch - 7),
        }
        for epoch in range(1, epochs + 1)
    ]


@pytest.mark.parametrize(
    ("rows", "what", "best"),
    [
        (history(12), "accuracy", "◯ best epoch 5: 0.9000"),
        (history(12), "loss", "◯ best epoch 7: 0.3000"),
        (history(12, gap=[1, 4, 5, 7, 12]), "accuracy", "◯ best epoch 6: 0.8900"),
        (history(1), "accuracy", "◯ best epoch 1: 0.8600"),
        (history(300), "loss", "◯ best epoch 7: 0.3000"),
        ([{"epoch": 3, "dice": 0.5}, {"epoch": 4, "dice": 0.6}], "dice", "◯ best epoch 4: 0.6000"),
    ],
)
def test_training_curves(tmp_path, rows, what, best):
    figure = training_curves(rows, tmp_path / "curve.png", what)
    check_png(tmp_path / "curve.png", style.WIDTH_INCHES)
    written = texts(figure)
    assert best in written
    assert "training" in written
    assert ("validation" in written) == (f"val_{what}" in rows[0])
    [axes] = figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert not any("." in label for label in labels)  # no half epochs
    drawn = {tuple(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == len(rows)}
    assert tuple(row[what] for row in rows) in drawn


def test_training_curves_leave_gaps(tmp_path):
    figure = training_curves(history(8, gap=[3, 5]), tmp_path / "gap.png")
    validation = figure.axes[0].lines[0].get_ydata()
    assert np.flatnonzero(np.isnan(validation)).tolist() == [2, 4]


def test_an_epoch_chosen_by_other_means_is_marked(tmp_path):
    figure = training_curves(history(9), tmp_path / "best.png", best_epoch=8)
    assert "◯ best epoch 8: 0.8700" in texts(figure)


def test_labels_of_equal_ends_do_not_overlap(tmp_path):
    rows = [{"epoch": epoch, "dice": 0.9, "val_dice": 0.9} for epoch in (1, 2)]
    figure = training_curves(rows, tmp_path / "same.png", "dice")
    renderer = figure.canvas.get_renderer()
    one, other = (
        text.get_window_extent(renderer)
        for text in figure.axes[0].texts
        if text.get_text() in ("training", "validation")
    )
    assert not one.overlaps(other)


def test_a_loss_that_dwarfs_the_rest_gets_a_log_scale(tmp_path):
    rows = [{"epoch": epoch, "loss": 1000 / epoch**3} for epoch in range(1, 20)]
    figure = training_curves(rows, tmp_path / "log.png", "loss")
    assert "loss (log scale)" in texts(figure)
    assert "100" in texts(figure)


def test_no_finite_value_is_said(tmp_path):
    figure = training_curves([{"epoch": 1, "loss": math.nan}], tmp_path / "nan.png", "loss")
    assert "no finite value" in texts(figure)
    check_png(tmp_path / "nan.png")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "at least one epoch"),
        ([{"loss": 1.0}], {}, "each row's epoch"),
        ([{"epoch": 1, "loss": 1.0}], {}, "columns: epoch, loss. Got what='accuracy'"),
        (history(3), {"best_epoch": 9}, "Got best_epoch=9"),
    ],
)
def test_wrong_histories_are_refused(tmp_path, rows, options, message):
    with pytest.raises(ValueError, match=message):
        training_curves(rows, tmp_path / "no.png", **options)
    assert not (tmp_path / "no.png").exists()


@pytest.mark.parametrize("classes", [["no", "yes"], CLASSES, LONG], ids=len)
def test_confusion_matrix(tmp_path, classes):
    k = len(classes)
    matrix = np.arange(1, k * k + 1).reshape(k, k)
    figure = confusion_matrix(matrix.tolist(), classes, tmp_path / "confusion.png")
    check_png(tmp_path / "confusion.png")
    written = texts(figure)
    assert set(classes) <= written
    assert {str(count) for count in matrix.ravel()} <= written
    [axes] = figure.axes
    assert axes.get_xlabel() == "predicted"
    assert axes.get_ylabel() == "truth"
    at = {
        (round(text.xy[0] if hasattr(text, "xy") else text.get_position()[0]), text.get_text())
        for text in axes.texts
    }
    assert (k - 1, str(k)) in at  # the first row's last count stands in the last column
    shares = axes.images[0].get_array()
    assert np.allclose(shares.sum(axis=1), 1)


def test_confusion_matrix_percentages_are_of_the_truth(tmp_path):
    matrix = [[2999, 1], [30, 10]]
    written = texts(confusion_matrix(matrix, ["a", "b"], tmp_path / "m.png"))
    # One in 3,000 is not "0", and all but one not "100".
    assert {"2,999", "<0.1%", ">99.9%", "75.0%", "25.0%"} <= written


def test_confusion_matrix_of_an_absent_class(tmp_path):
    written = texts(confusion_matrix([[0, 0], [1, 2]], ["a", "b"], tmp_path / "m.png"))
    assert {"–", "66.7%"} <= written
    assert "0.0%" not in written


def test_confusion_matrix_text_stands_out_from_every_shade(tmp_path):
    shares = np.linspace(0, 1, 11)
    matrix = np.zeros((11, 11), int)
    matrix[:, 0], matrix[:, 1] = 1 + 100 * shares, 1 + 100 * (1 - shares)
    figure = confusion_matrix(matrix, LONG[:11], tmp_path / "m.png")

    def luminance(colour):
        channels = [
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            for value in to_rgb(colour)
        ]
        return np.dot([0.2126, 0.7152, 0.0722], channels)

    [image] = figure.axes[0].images
    checked = 0
    for text in figure.axes[0].texts:
        if text.get_text()[:1].isdigit() or text.get_text()[:1] in "<>":
            column, row = (round(place) for place in text.get_position())
            shade = luminance(image.to_rgba(image.get_array())[row, column][:3])
            dark, light = sorted([shade, luminance(text.get_color())])
            assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("matrix", [[[1, 2]], [[1, 2], [3, -1]]])
def test_wrong_matrices_are_refused(tmp_path, matrix):
    with pytest.raises(ValueError, match="matrix must"):
        confusion_matrix(matrix, ["a", "b"], tmp_path / "m.png")


@pytest.mark.parametrize("classes", [["no", "yes"], CLASSES, LONG], ids=len)
def test_roc_and_pr(tmp_path, classes):
    rng = np.random.default_rng(0)
    k = len(classes)
    truth = np.concatenate([np.arange(k), rng.integers(0, k, 100)])
    scores = np.exp(rng.standard_normal((len(truth), k)) + 2 * np.eye(k)[truth])
    scores /= scores.sum(axis=1, keepdims=True)
    roc = roc_curves(truth, scores, classes)
    pr = precision_recall_curves(truth, scores, classes)
    figure = roc_and_pr(roc, pr, tmp_path / "roc.png")
    check_png(tmp_path / "roc.png", style.WIDTH_INCHES)
    written = texts(figure)
    for name in classes:
        assert f"{name}: AUC {roc[name].area:.3f}, AP {pr[name].area:.3f}" in written
    left, right = figure.axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("false positive rate", "true positive rate")
    assert (right.get_xlabel(), right.get_ylabel()) == ("recall", "precision")
    assert any(np.array_equal(line.get_ydata(), [0, 1]) for line in left.lines)  # chance
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in left.lines[:k]}
    assert len(looks) == k  # no two classes look alike
    steps = {line.get_drawstyle() for line in right.lines if len(line.get_xdata()) > 2}
    assert steps == {"steps-post"}


def test_roc_without_curves_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one curve"):
        roc_and_pr({}, {}, tmp_path / "roc.png")


def pictures(n, shape=(24, 24)):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def test_sample_predictions(tmp_path):
    truth = ["COVID", "Normal", "Normal", "Lung_Opacity", "Viral Pneumonia"]
    predicted = ["COVID", "Normal", "COVID", "Lung_Opacity", "Viral Pneumonia"]
    confidence = [0.91, 0.999, 0.55, 1.0, 0.4]
    path = tmp_path / "samples.png"
    figure = sample_predictions(pictures(5), truth, predicted, confidence, path)
    check_png(path, style.WIDTH_INCHES)
    written = texts(figure)
    expected = {"✓ COVID 91%", "✓ Normal >99%", "✗ wrong: COVID 55%", "truth: Normal"}
    assert expected | {"✓ Lung_Opacity 100%"} <= written
    frames = [axes.patches[0] for axes in figure.axes]
    wide = [frame.get_linewidth() > 2 for frame in frames]
    assert wide == [False, False, True, False, False]
    colours = [to_rgb(frame.get_edgecolor()) for frame in frames]
    assert colours == [to_rgb(VERMILLION if is_wide else GREEN) for is_wide in wide]


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("n", [1, 6])
def test_sample_predictions_all_right_or_all_wrong(tmp_path, n, right):
    figure = sample_predictions(
        pictures(n, (12, 30, 3)), LONG[:n], LONG[:n] if right else LONG[6 : 6 + n], [0.5] * n,
        tmp_path / "samples.png",
    )  # fmt: skip
    check_png(tmp_path / "samples.png")
    assert sum("✗" in text for text in texts(figure)) == (0 if right else 1)
    whole = " ".join(text.get_text() for text in figure.texts)
    assert "effusion 0" in whole


def test_samples_must_be_equally_many(tmp_path):
    with pytest.raises(ValueError, match=r"equally many, at least one\. Got 2, 1, 2, 2"):
        sample_predictions(pictures(2), ["a"], ["a"] * 2, [1, 1], tmp_path / "no.png")
    with pytest.raises(ValueError, match="at least one"):
        sample_predictions(pictures(0), [], [], [], tmp_path / "no.png")


def test_overlay_colours_what_is_missed_and_what_is_extra():
    image = np.full((2, 2), 100, np.uint8)
    truth = np.array([[True, True], [False, False]])
    prediction = np.array([[True, False], [True, False]])
    picture = overlay(image, truth, prediction)
    assert picture.dtype == np.uint8
    places = {"agreement": (0, 0), "missed (truth only)": (0, 1), "extra (prediction only)": (1, 0)}
    for name, place in places.items():
        colour, alpha = OVERLAY[name]
        expected = (1 - alpha) * 100 + alpha * 255 * np.array(to_rgb(colour))
        assert np.abs(picture[place] - expected).max() <= 0.5
    assert picture[1, 1].tolist() == [100, 100, 100]


@pytest.mark.parametrize("n", [1, 3])
def test_overlay_grid(tmp_path, n):
    images = pictures(n, (32, 40))
    truths = images > 100
    predictions = 255 * (images > 120).astype(np.uint8)
    names = ["best: a, Dice 0.990", "median: " + "long name " * 12, "worst: $c_1$"][:n]
    figure = overlay_grid(images, truths, predictions, names, tmp_path / "grid.png")
    check_png(tmp_path / "grid.png", (4 * 240 + 5 * 9) / style.DPI)
    written = texts(figure)
    assert {"image", "truth", "prediction", "overlay", *OVERLAY} <= written
    assert {name.strip() for name in names} <= written
    assert not any(text.get_parse_math() for text in figure.texts)  # "$" is a "$"
    assert len(figure.axes) == 4 * n
    panels = [np.asarray(axes.images[0].get_array()) for axes in figure.axes[-4:]]
    assert np.array_equal(panels[0], images[-1])
    assert np.array_equal(panels[1], 255 * truths[-1])
    assert np.array_equal(panels[2], predictions[-1])
    assert np.array_equal(panels[3], overlay(images[-1], truths[-1], predictions[-1] != 0))


@pytest.mark.parametrize(("side", "times"), [(64, 4), (256, 1), (100, 3), (400, 1)])
def test_overlays_have_whole_pixels_of_their_images(tmp_path, side, times):
    image = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    mask = np.zeros((side, side), bool)
    figure = overlay_grid([image], [mask], [mask], ["best"], tmp_path / "grid.png")
    for axes in figure.axes:
        box = axes.get_window_extent()
        assert (box.width, box.height) == pytest.approx((times * side, times * side))


def test_overlay_grid_refuses_what_does_not_match(tmp_path):
    images = pictures(2)
    with pytest.raises(ValueError, match="equally many"):
        overlay_grid(images, images[:1], images, ["a", "b"], tmp_path / "no.png")
    with pytest.raises(ValueError, match=r"'b' must be of one shape.*\(24, 24\), \(24, 24\), \(20"):
        overlay_grid(
            images, images, [images[0], images[0][:20]], ["a", "b"], tmp_path / "no.png"
        )  # fmt: skip


def test_the_same_data_gives_the_same_bytes_whatever_the_users_settings(tmp_path):
    training_curves(history(5), tmp_path / "one.png")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.linewidth": 9}):
        training_curves(history(5), tmp_path / "two.png")
        assert matplotlib.rcParams["font.size"] == 20  # and these are left alone
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_wrapping_keeps_every_letter():
    assert wrapped("Viral Pneumonia", 20) == "Viral Pneumonia"
    assert wrapped("Viral Pneumonia", 10) == "Viral\nPneumonia"
    assert wrapped("Lung_Opacity", 8) == "Lung_\nOpacity"
    assert wrapped("abcdefghij", 4) == "abcd\nefgh\nij"
    assert wrapped("abcdefghij", 4, break_words=False) == "abcdefghij"


def test_neither_tensorflow_nor_pyplot_is_imported():
    paths = [
        path for package in (report, evaluation) for path in Path(package.__path__[0]).glob("*.py")
    ]
    assert len(paths) > 6
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", [])]
            names += [getattr(node, "module", None) or ""]
            for name in names:
                assert name.split(".")[0] not in ("tensorflow", "keras", "keras_cv"), path
                assert "pyplot" not in name, path
