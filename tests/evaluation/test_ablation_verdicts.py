"""Verdicts of input ablations: an interval that touches chance excludes nothing."""

import pytest

from kerascxr.evaluation.ablation_verdicts import (
    overall_verdict,
    verdict_with_lungs,
    verdict_without_lungs,
    with_control,
)


def auc(value, low, high):
    return {"value": value, "interval": [low, high]}


@pytest.mark.parametrize(
    ("scores", "verdict", "size"),
    [
        (auc(0.95, 0.90, 0.97), "shown", "large"),
        (auc(0.65, 0.55, 0.75), "shown", "some"),
        (auc(0.51, 0.47, 0.55), "excluded", None),
        (auc(0.80, 0.49, 0.95), "not_decided", None),  # not an all-clear
        (auc(0.62, 0.38, 0.81), "not_decided", None),
        (auc(0.55, 0.49, 0.60), "not_decided", None),
        (auc(0.54, 0.51, 0.58), "not_decided", None),  # over chance, perhaps over the margin
        (auc(0.30, 0.20, 0.45), "excluded", None),
    ],
)
def test_without_the_lungs_there_are_three_verdicts(scores, verdict, size):
    found = verdict_without_lungs(scores, full=0.98, images=100)
    assert found["verdict"] == verdict
    assert found.get("size") == size
    assert found["share"] == pytest.approx((scores["value"] - 0.5) / 0.48)


def test_the_images_needed_would_decide():
    value, low, high, images = 0.80, 0.49, 0.95, 18
    needed = verdict_without_lungs(auc(value, low, high), 0.98, images)["images_needed"]
    assert images < needed < 2 * images

    def with_images(n):
        shrunk = (images / n) ** 0.5
        ends = value - (value - low) * shrunk, value + (high - value) * shrunk
        return verdict_without_lungs(auc(value, *ends), 0.98, n)["verdict"]

    assert with_images(needed) == "shown"
    assert with_images(images + 1) == "not_decided"
    # An AUC at chance needs enough images to fall below the margin.
    needed = verdict_without_lungs(auc(0.5, 0.4, 0.6), 0.98, 100)["images_needed"]
    assert pytest.approx(needed, abs=2) == 100 * (0.1 / 0.072) ** 2


def test_an_undefined_interval_decides_nothing():
    found = verdict_without_lungs({"value": 0.9, "interval": None}, 0.98, 10)
    assert found["verdict"] == "not_decided" and found["images_needed"] is None


@pytest.mark.parametrize(
    ("difference", "ends", "verdict"),
    [
        (-0.1, (-0.15, -0.05), "lower"),
        (0.1, (0.05, 0.15), "higher"),
        (0.0, (-0.01, 0.01), "equivalent"),
        (0.0, (-0.1, 0.1), "not_decided"),
        (None, None, "not_decided"),
    ],
)
def test_with_the_lungs_equality_needs_a_narrow_interval(difference, ends, verdict):
    found = verdict_with_lungs({"difference": difference, "difference_interval": ends})
    assert found["verdict"] == verdict


def test_the_overall_verdict_excludes_only_what_every_ablation_excludes():
    def of(verdict, size=None):
        return {"lungs_visible": False, "verdict": verdict} | ({"size": size} if size else {})

    full = {"none": {"lungs_visible": True}}
    excluded = full | {"border_only": of("excluded")}
    assert overall_verdict(excluded)["verdict"] == "excluded"
    undecided = excluded | {"thumbnail": of("not_decided")}
    assert overall_verdict(undecided)["verdict"] == "not_decided"
    shown = overall_verdict(undecided | {"histogram": of("shown", "large")})
    assert shown == {
        "verdict": "shown",
        "large": ["histogram"],
        "some": [],
        "not_decided": ["thumbnail"],
        "control_missed": [],
    }


def test_a_missed_control_marker_leaves_nothing_excluded():
    excluded = {"lungs_visible": False} | verdict_without_lungs(auc(0.50, 0.47, 0.53), 0.98, 400)
    assert excluded["verdict"] == "excluded"

    def controlled(scores):
        return with_control(excluded, {"marker": "bar", "auc": scores}, 0.98, 400)

    found = controlled(auc(0.90, 0.85, 0.95))
    assert found == excluded | {
        "control": {"marker": "bar", "auc": auc(0.90, 0.85, 0.95), "found": True}
    }
    # Chance; above chance, but below the margin; an interval that touches chance.
    for scores in (auc(0.50, 0.45, 0.55), auc(0.54, 0.51, 0.58), auc(0.80, 0.49, 0.95)):
        missed = controlled(scores)
        assert missed["verdict"] == "not_decided" and missed["images_needed"] is None
        assert not missed["control"]["found"]
        overall = overall_verdict({"border_only": missed, "thumbnail": found})
        assert overall["verdict"] == "not_decided"
        assert overall["not_decided"] == overall["control_missed"] == ["border_only"]
