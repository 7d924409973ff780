"""The control markers: what is planted, and where each input ablation shows it."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.data.control_markers import CONTROL_MARKERS, check_control_marker
from kerascxr.data.phantom.drawing import SHARES, Drawing
from kerascxr.data.pipeline import read_images
from kerascxr.data.roi import ROIS, Region


def planted(name, image, lungs, label, classes=4):
    marked = CONTROL_MARKERS[name].plant(image, lungs, tf.constant(label, tf.int64), classes)
    return tuple(np.asarray(one) for one in marked)


@pytest.mark.parametrize("label", range(4))
def test_the_corner_bar_is_that_of_the_marked_phantom(label):
    drawing = Drawing(3, 0, list(SHARES)[label], size=(96, 110))
    image, lungs = (one[..., None] for one in drawing.draw())
    marked, same = planted("corner_bar", image, lungs, label)
    expected, _ = dataclasses.replace(drawing, marked=True).draw()
    np.testing.assert_array_equal(marked[..., 0], expected)
    np.testing.assert_array_equal(same, lungs)


def test_bars_of_many_classes_differ_and_stay_in_the_left_half():
    black = np.zeros((200, 200, 1), np.uint8)
    lengths = [int((planted("corner_bar", black, black, i, 25)[0] > 0).sum()) for i in range(25)]
    assert np.all(np.diff(lengths) > 0)
    assert lengths[-1] == 10 * 100  # the bar's height times half of the width


@pytest.mark.parametrize(
    "roi", [name for name, roi in ROIS.items() if roi.ablation and not roi.ablation.lungs_visible]
)
def test_an_ablation_without_the_lungs_shows_its_marker_and_its_length(roi):
    image, lungs = (one[..., None] for one in Drawing(1, 0, "Normal").draw())
    marker = ROIS[roi].ablation.control_marker

    def shown(label):
        return ROIS[roi].apply(*planted(marker, image, lungs, label), (64, 64)).numpy().astype(int)

    bars = [shown(label) for label in range(4)]
    differences = [np.abs(after - before).sum() for before, after in itertools.pairwise(bars)]
    assert min(differences) > 100, differences
    unmarked = ROIS[roi].apply(image, lungs, (64, 64)).numpy().astype(int)
    changed = np.abs(bars[3] - unmarked)[..., 0] > 0
    assert changed.any() and not changed[16:].any() and not changed[:, 24:].any()


def test_images_are_read_with_the_marker_of_their_class(phantom_store):
    plain = read_images(phantom_store, [0, 1], (64, 64))
    marked = read_images(
        phantom_store, [0, 1], (64, 64), region=Region(control_marker="corner_bar")
    )
    changed = (plain.pixels != marked.pixels).sum(axis=(1, 2, 3))
    assert plain.ids == marked.ids
    for one, other in ((0, 1), (1, 2), (2, 3)):
        assert changed[plain.labels == one].mean() < changed[plain.labels == other].mean()


def test_an_unknown_marker_is_one_line():
    check_control_marker(None)
    with pytest.raises(ValueError, match="unknown control marker 'corner', did you mean"):
        check_control_marker("corner")
