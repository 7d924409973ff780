"""Segmentation metrics: definitions, the rule for empty masks, means, and the threshold search."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kerascxr.evaluation.segmentation import (
    MEASURES,
    THRESHOLDS,
    ThresholdSearch,
    best_median_worst,
    evaluate,
    score_image,
    summarise,
)

MASKS = arrays(bool, (6, 5))
OVERLAPS = ("dice", "iou", "sensitivity", "precision")
EMPTY, FULL = np.zeros((4, 4), bool), np.ones((4, 4), bool)
LEFT = np.repeat([[True, True, False, False]], 4, axis=0)


def test_a_case_worked_out_by_hand():
    prediction = np.repeat([[False, True, False, False]], 4, axis=0)
    row = score_image(LEFT, prediction)  # 8 true pixels, 4 predicted, 4 common
    assert row["dice"] == pytest.approx(2 * 4 / 12)
    assert row["iou"] == pytest.approx(4 / 8)
    assert row["sensitivity"] == pytest.approx(4 / 8)
    assert row["precision"] == 1.0
    assert row["hd95"] == 1.0
    assert row["assd"] == pytest.approx(4 / 12)  # 4 of 12 surface points are 1 away
    counts = (row["truth_pixels"], row["predicted_pixels"], row["overlap_pixels"])
    assert counts == (8, 4, 4)


@settings(max_examples=80)
@given(MASKS, MASKS)
def test_overlap_measures_hold_together(truth, prediction):
    row, mirrored = score_image(truth, prediction), score_image(prediction, truth)
    for measure in OVERLAPS:
        assert 0 <= row[measure] <= 1
    assert row["dice"] == mirrored["dice"]
    assert row["sensitivity"] == mirrored["precision"]
    assert row["iou"] == pytest.approx(row["dice"] / (2 - row["dice"]))
    assert (row["dice"] == 1) == np.array_equal(truth, prediction)
    assert (row["hd95"] is None) == (truth.any() != prediction.any())


@settings(max_examples=40)
@given(MASKS, MASKS, st.permutations(range(6)))
def test_dice_does_not_depend_on_the_order_of_pixels(truth, prediction, order):
    order = list(order)
    assert (
        score_image(truth[order], prediction[order])["dice"]
        == (score_image(truth, prediction)["dice"])
    )


def test_the_rule_for_empty_masks():
    rows, summary = evaluate([EMPTY, EMPTY, LEFT, LEFT], [EMPTY, LEFT, EMPTY, LEFT])
    assert [row["dice"] for row in rows] == [1, 0, 0, 1]
    assert [row["iou"] for row in rows] == [1, 0, 0, 1]
    assert [row["hd95"] for row in rows] == [0, None, None, 0]
    assert [row["assd"] for row in rows] == [0, None, None, 0]
    assert summary["empty_pairs"] == 1
    assert summary["undefined_distances"] == 2
    assert summary["dice"] == 0.5
    assert summary["hd95"] == 0.0  # over the two where it is defined
    assert summary["pooled_dice"] == pytest.approx(2 * 8 / 32)
    assert summary["pooled_iou"] == pytest.approx(8 / 24)


def test_means_deviations_and_pooled_figures():
    rng = np.random.default_rng(0)
    truths, predictions = rng.random((2, 9, 16, 16)) < 0.4
    rows, summary = evaluate(truths, predictions)
    for measure in MEASURES:
        values = [row[measure] for row in rows]
        assert summary[measure] == pytest.approx(np.mean(values))
        assert summary[f"{measure}_std"] == pytest.approx(np.std(values, ddof=1))
    both = np.sum(truths & predictions)
    assert summary["pooled_dice"] == pytest.approx(2 * both / (truths.sum() + predictions.sum()))
    assert summary["pooled_sensitivity"] == pytest.approx(both / truths.sum())
    assert summary["pooled_precision"] == pytest.approx(both / predictions.sum())
    assert summary["pooled_dice"] != pytest.approx(summary["dice"], abs=1e-9)
    assert summary["n"] == 9
    json.dumps([rows, summary], allow_nan=False)


def test_distances_in_mm_where_the_spacing_is_known():
    truth = np.zeros((20, 20), bool)
    truth[4:12, 4:12] = True
    empty = np.zeros_like(truth)
    rows = [
        score_image(truth, np.roll(truth, 2, axis=0), (0.5, 3.0)),
        score_image(truth, np.roll(truth, 2, axis=1), (0.5, 3.0)),
        score_image(truth, np.roll(truth, 5, axis=1)),
        score_image(truth, empty, (0.5, 3.0)),
    ]
    assert [row.get("hd95_mm") for row in rows] == [1.0, 6.0, None, None]
    assert [row["hd95"] for row in rows] == [2.0, 2.0, 5.0, None]
    summary = summarise(rows)
    assert (summary["hd95_mm"], summary["n_mm"]) == (3.5, 2)
    assert summary["hd95_mm_std"] == pytest.approx(5 / np.sqrt(2))
    assert rows[0]["assd_mm"] < rows[1]["assd_mm"] < 6
    assert not {"hd95_mm", "assd_mm", "n_mm"} & set(summarise(rows[2:]))


def test_all_distances_undefined():
    _, summary = evaluate([LEFT], [EMPTY])
    assert summary["hd95"] is None
    assert summary["hd95_std"] is None
    assert summary["dice_std"] is None  # of one image


def test_means_by_class():
    rows, summary = evaluate(
        [LEFT, LEFT, FULL], [LEFT, EMPTY, LEFT], labels=["b", "a", "b"], ids=["x", "y", "z"]
    )
    assert [row["id"] for row in rows] == ["x", "y", "z"]
    assert list(summary["per_class"]) == ["b", "a"]
    assert summary["per_class"]["b"]["n"] == 2
    assert summary["per_class"]["b"]["dice"] == pytest.approx((1 + 2 * 8 / 24) / 2)
    assert summary["per_class"]["a"]["hd95"] is None


def test_truths_and_predictions_are_met_in_step():
    met = []

    def stream(what, images):
        for index, image in enumerate(images):
            met.append(f"{what}{index}")
            yield image

    evaluate(stream("t", [LEFT] * 3), stream("p", [FULL] * 3))
    assert met == ["t0", "p0", "t1", "p1", "t2", "p2"]


@pytest.mark.parametrize(
    ("truths", "predictions", "extra", "message"),
    [
        ([LEFT, LEFT], [LEFT], {}, "equally many. Got one sequence that ends after 1"),
        ([LEFT], [LEFT], {"ids": []}, "ends after 0"),
        ([LEFT], [FULL[:3]], {"ids": ["im7"]}, r"prediction im7 must be of the truth's shape"),
        ([LEFT * 7], [LEFT], {}, "truth 0 must hold only 0 and 1.*value=7"),
        ([], [], {}, "at least one image"),
    ],
)
def test_wrong_input_is_refused(truths, predictions, extra, message):
    with pytest.raises(ValueError, match=message):
        evaluate(truths, predictions, **extra)


def test_score_image_refuses_other_sizes():
    with pytest.raises(ValueError, match=r"truth's shape \(4, 4\)\. Got shape=\(3, 4\)"):
        score_image(LEFT, FULL[:3])


def choice_of(truths, probabilities):
    search = ThresholdSearch()
    for truth, image in zip(truths, probabilities, strict=True):
        search.add(truth, masks_of(image))
    return search.choose()


def masks_of(image):
    return np.stack([image >= image.dtype.type(threshold) for threshold in THRESHOLDS])


def brute_force_curve(truths, probabilities):
    return [
        np.mean(
            [
                score_image(truth, image >= image.dtype.type(threshold))["dice"]
                for truth, image in zip(truths, probabilities, strict=True)
            ]
        )
        for threshold in THRESHOLDS
    ]


@settings(max_examples=40)
@given(
    arrays(bool, (3, 4, 4)),
    arrays(np.float32, (3, 4, 4), elements=st.sampled_from([0, 0.05, 0.3, 0.5, 0.7, 0.95, 1])),
)
def test_the_threshold_is_that_of_brute_force(truths, probabilities):
    choice = choice_of(truths, iter(probabilities))
    expected = brute_force_curve(truths, probabilities)
    assert [threshold for threshold, _ in choice.curve] == list(THRESHOLDS)
    assert [dice for _, dice in choice.curve] == pytest.approx(expected)
    assert choice.dice == pytest.approx(max(expected))
    best = [t for t, dice in zip(THRESHOLDS, expected, strict=True) if dice > max(expected) - 1e-9]
    assert choice.threshold == min(best, key=lambda t: (round(abs(t - 0.5), 6), t))


def test_the_chosen_threshold_gives_its_dice_in_evaluation():
    rng = np.random.default_rng(1)
    truths = rng.random((4, 32, 32)) < 0.3
    noise = rng.normal(0, 0.15, truths.shape)
    probabilities = np.clip(0.15 + 0.2 * truths + noise, 0, 1).astype(np.float32)
    choice = choice_of(truths, probabilities)
    assert choice.threshold < 0.5
    _, summary = evaluate(truths, probabilities >= np.float32(choice.threshold))
    assert summary["dice"] == pytest.approx(choice.dice)


def test_a_tie_goes_to_the_middle():
    assert choice_of([LEFT], [LEFT.astype(np.float32)]).threshold == 0.5


def test_threshold_search_wants_images_of_one_size():
    with pytest.raises(ValueError, match="Got images=0"):
        ThresholdSearch().choose()
    with pytest.raises(ValueError, match=r"masks 0 must be bool of shape \(19, 4, 4\)\. Got"):
        choice_of([LEFT], [np.zeros((4, 5), np.float32)])
    with pytest.raises(ValueError, match="Got float32"):
        ThresholdSearch().add(LEFT, masks_of(FULL).astype(np.float32))


def rows_of(dices):
    return [{"id": f"im{index}", "dice": dice} for index, dice in enumerate(dices)]


def test_best_median_and_worst():
    assert best_median_worst(rows_of([0.5, 0.9, 0.1, 0.7, 0.6])) == (
        {"best": 1, "median": 4, "worst": 2}
    )
    assert list(best_median_worst(rows_of([0.5, 0.9, 0.1]))) == ["best", "median", "worst"]
    assert best_median_worst(rows_of([0.5, 0.9])) == {"best": 1, "worst": 0}
    assert best_median_worst(rows_of([0.5])) == {"best": 0}
    assert best_median_worst(rows_of([0.5, 0.5, 0.5])) == {"best": 0, "median": 1, "worst": 2}
    with pytest.raises(ValueError, match="at least one image"):
        best_median_worst([])


def test_summarise_does_not_depend_on_the_order():
    rows, _ = evaluate([LEFT, FULL, EMPTY], [FULL, FULL, LEFT])
    summary, reversed_summary = summarise(rows), summarise(rows[::-1])
    assert summary.pop("per_class") == reversed_summary.pop("per_class") == {}
    assert reversed_summary == pytest.approx(summary)
