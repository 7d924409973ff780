"""The phantom: the same everywhere, lungs where the mask says, and no short cut to the class."""

import collections
import os
import re
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kerascxr.data.phantom import drawing
from kerascxr.data.phantom.drawing import SHARES, Drawing, phantom_source

CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
SHORTCUT_SLACK = 0.12  # above the majority's rate; 160 images scatter by about 0.04


@pytest.fixture(scope="module", autouse=True)
def drawn_anew():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Drawing, "draw", Drawing.draw.anew)
        yield


@cache
def drawn(images=160, seed=7):
    examples = phantom_source(images, seed).examples
    pairs = [example.image.draw() for example in examples]
    labels = np.array([example.label for example in examples])
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs]), labels


# ---- the source


def test_source():
    source = phantom_source(100, 0)
    assert (source.name, source.layout, source.root) == ("phantom", "phantom", None)
    assert source.classes == CLASSES
    assert len({example.id for example in source.examples}) == 100
    assert [e.id for e in source.examples if e.label == "COVID"][:2] == [
        "phantom/COVID-0001",
        "phantom/COVID-0002",
    ]
    counts = collections.Counter(example.label for example in source.examples)
    assert counts == {"COVID": 20, "Lung_Opacity": 30, "Normal": 35, "Viral Pneumonia": 15}


@settings(derandomize=True, deadline=None, max_examples=30)
@given(images=st.integers(8, 400), more=st.integers(0, 50))
def test_larger_phantom_contains_the_smaller(images, more):
    few, many = phantom_source(images, 3).examples, phantom_source(images + more, 3).examples
    assert set(few) <= set(many)
    counts = collections.Counter(example.label for example in few)
    assert all(abs(counts[label] - share * images) <= 1 for label, share in SHARES.items())


@pytest.mark.parametrize(
    ("images", "seed", "message"),
    [
        (7, 0, "phantom_images must be at least 8. Got phantom_images=7."),
        (100, -1, "phantom_seed must be 0 or more. Got phantom_seed=-1."),
    ],
)
def test_wrong_settings(images, seed, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        phantom_source(images, seed)


def test_unknown_class():
    with pytest.raises(ValueError, match="unknown phantom class 'Norml', did you mean 'Normal'"):
        Drawing(0, 0, "Norml").draw()


def test_signature_tells_settings_apart(monkeypatch):
    first = phantom_source(100, 0).signature()
    assert first == phantom_source(100, 0).signature()
    assert first != phantom_source(101, 0).signature()
    assert first != phantom_source(100, 1).signature()
    monkeypatch.setattr(drawing, "VERSION", drawing.VERSION + 1)
    assert first != phantom_source(100, 0).signature()


# ---- the drawing


@pytest.mark.parametrize("size", [(256, 256), (128, 160), (225, 201)])
def test_shape_and_values(size):
    image, mask = Drawing(0, 0, "COVID", size).draw()
    assert image.shape == mask.shape == size
    assert image.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}


# Attenuations, which are float32: of an image's levels a difference in the last digit changes few.
DIGESTS = """
import hashlib
from kerascxr.data.phantom.chest import Chest
from kerascxr.data.phantom.drawing import SHARES, Drawing
films = [Drawing(5, 1, label).draw() for label in SHARES]
Chest._film = lambda self, dense: dense
films += [Drawing(5, 1, label).draw() for label in SHARES]
print([hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest() for image, mask in films])
"""


def test_same_seed_same_drawing_in_another_process_and_on_other_processors():
    """An older processor is one of whose vector instructions NumPy uses none."""

    def digests(**environment):
        command = [sys.executable, "-c", DIGESTS]
        environment = os.environ | environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    older = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F AVX512_SKX"
    here = digests().stdout
    assert len(here) > 8 * 64
    assert digests(NPY_DISABLE_CPU_FEATURES=older).stdout == here


def test_index_and_seed_change_the_drawing():
    first, _ = Drawing(0, 0, "Normal").draw()
    for other in (Drawing(1, 0, "Normal"), Drawing(0, 1, "Normal")):
        assert np.abs(other.draw()[0].astype(int) - first).mean() > 5


@pytest.mark.parametrize("label", [c for c in CLASSES if c != "Normal"])
def test_class_is_inside_the_lungs_only(label):
    for index in range(6):
        normal, mask = Drawing(index, 0, "Normal").draw()
        ill, same_mask = Drawing(index, 0, label).draw()
        np.testing.assert_array_equal(mask, same_mask)
        changed = np.abs(ill.astype(int) - normal)
        inside = ndimage.binary_dilation(mask > 0, iterations=6)
        assert changed[~inside].max() <= 1
        assert changed[mask > 0].max() >= 8


def test_masks_are_two_lungs():
    _, masks, _ = drawn()
    for mask in masks[:40]:
        parts, count = ndimage.label(mask)
        assert count == 2
        right, left = (
            parts == parts[:, side].max(1).max() for side in (slice(128), slice(128, None))
        )
        for lung in (right, left):
            rows, columns = (np.ptp(np.nonzero(lung)[axis]) for axis in (0, 1))
            assert rows > columns  # taller than wide
    right, left = masks[:, :, :128].mean(), masks[:, :, 128:].mean()
    assert left < 0.97 * right  # the heart takes its room on the left
    assert 0.15 < (masks > 0).mean() < 0.3


def test_lungs_are_darker_than_what_is_round_them():
    images, masks, _ = drawn()
    for image, mask in zip(images[:40], masks[:40], strict=True):
        inside = mask > 0
        rim = ndimage.binary_dilation(inside, iterations=12) & ~inside
        assert image[inside].mean() < image[rim].mean() - 25


def test_poses_and_exposures_vary():
    images, masks, _ = drawn()
    assert images.mean((1, 2)).std() > 8
    centres = np.array([ndimage.center_of_mass(mask) for mask in masks])
    assert (centres.std(0) > 3).all()
    assert masks.mean((1, 2)).std() / masks.mean() > 0.06


# ---- no short cut


def accuracy(features, labels):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return cross_val_score(model, features.reshape(len(labels), -1), labels, cv=5).mean()


def thumbnails(images):
    box = Image.Resampling.BOX
    return np.stack([np.asarray(Image.fromarray(image).resize((8, 8), box)) for image in images])


def borders(images):
    """The outermost four pixels of each side, as 32 means along it."""
    sides = (images[:, :4], images[:, -4:], images[:, :, :4], images[:, :, -4:])
    lines = [side.mean(axis) for side, axis in zip(sides, (1, 1, 2, 2), strict=True)]
    return np.concatenate([line.reshape(len(images), 32, -1).mean(2) for line in lines], 1)


def brightness(images):
    return np.stack([np.histogram(image, 32, (0, 256))[0] for image in images])


@pytest.mark.parametrize("look", [thumbnails, borders, brightness])
def test_no_short_cut_to_the_class(look):
    images, _, labels = drawn()
    majority = max(collections.Counter(labels).values()) / len(labels)
    assert accuracy(look(images), labels) < majority + SHORTCUT_SLACK


def test_short_cut_test_would_notice():
    images, _, labels = drawn()
    marked = images.copy()
    marked[labels == "COVID", :3] = 255  # a bright edge on one class
    assert accuracy(borders(marked), labels) > max(SHARES.values()) + SHORTCUT_SLACK


def test_findings_are_there_to_be_learned():
    # With the anatomy taken away (the same chest without findings) the class must be plain.
    features, labels = [], []
    for index in range(40):
        label = CLASSES[index % 4]
        image, mask = Drawing(index, 11, label).draw()
        normal, _ = Drawing(index, 11, "Normal").draw()
        finding = (image.astype(float) - normal)[mask > 0]
        full = np.where(mask > 0, image.astype(float) - normal, 0)
        fine = full - ndimage.gaussian_filter(full, 4)
        sides = [np.abs(full[:, :128]).sum(), np.abs(full[:, 128:]).sum()]
        features.append(
            [
                finding.std(),
                fine[mask > 0].std() / (finding.std() + 1),
                min(sides) / (max(sides) + 1),
            ]
        )
        labels.append(label)
    features = np.array(features)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=100, max_iter=1000))
    assert cross_val_score(model, features, labels, cv=4).mean() > 0.85
