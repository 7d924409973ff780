"""The served computation, by value, on models whose answers can be worked out by hand."""

import contextlib
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.python.autograph.pyct import transpiler

from kerascxr.data.images import resize_image
from kerascxr.data.roi import ROIS
from kerascxr.models.input_checks import ASPECT
from kerascxr.models.layer_statistics import LayerStatistics
from kerascxr.models.segmenter import Segmenter
from kerascxr.serving import graph

SIZE, LUNG_SIZE = (8, 12), (64, 96)
RANDOM = np.random.default_rng(0)
WEIGHTS = np.array([[0.02, -0.01], [-0.005, 0.01], [0.01, 0.005]], np.float32)
BIASES = np.array([-1.4, 0.0], np.float32)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def chest(height, width):
    """Two bright lungs on a dark ground, a bright speck, and noise."""
    pixels = RANDOM.integers(0, 60, (height, width))
    for left, right in ((0.15, 0.4), (0.6, 0.85)):
        pixels[height // 4 : height * 3 // 4, int(left * width) : int(right * width)] += 170
    pixels[: height // 10, : width // 10] = 250
    return pixels.astype(np.uint8)


IMAGES = [chest(64, 96), chest(40, 30) // 8 * 7, chest(20, 80)]
FILES = tf.constant([png(pixels) for pixels in IMAGES])
GREY = [tf.constant(pixels[..., None]) for pixels in IMAGES]


@pytest.fixture(scope="module")
def model():
    """Logits are a linear function of the three channels' means."""
    image = keras.Input((*SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name="head_pool")(
        keras.layers.Activation("linear")(image)
    )
    logits = keras.layers.Dense(2, name="head_logits")
    model = keras.Model(image, logits(pooled))
    logits.set_weights([WEIGHTS, BIASES])
    return model


@pytest.fixture(scope="module")
def segmenter():
    """A pixel's probability grows with its grey value, 0.5 at 128; the threshold is at 139."""
    unet = keras.Sequential(
        [keras.Input((*LUNG_SIZE, 1)), keras.layers.Rescaling(0.1, offset=-12.8)]
    )
    return Segmenter(unet, float(tf.sigmoid(1.1)))


def expected(channels, temperature=1.0):
    """Probabilities for images (n, height, width, 3)."""
    logits = (np.mean(channels, axis=(1, 2)) @ WEIGHTS + BIASES) / temperature
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


def at(size):
    return tf.stack([resize_image(grey, size) for grey in GREY])


def test_the_answer_is_the_softmax_of_the_tempered_logits(model):
    images = tf.cast(at(SIZE), tf.float32)
    found = graph.Classifier(model, ["first", "second"], temperature=2.5).answer({"none": images})
    assert set(found) == {"probabilities", "label", "labels"}
    wanted = expected(np.repeat(images, 3, axis=-1), 2.5)
    np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)
    assert found["label"].numpy().tolist() == [b"first", b"second", b"first"]
    assert found["labels"].numpy().tolist() == [[b"first", b"second"]] * 3
    plain = graph.Classifier(model, ["first", "second"]).answer({"none": images})
    wanted = expected(np.repeat(images, 3, axis=-1))
    np.testing.assert_allclose(plain["probabilities"], wanted, atol=1e-5)


def test_the_rule_gets_images_statistics_probabilities_and_sizes(model, monkeypatch):
    class Rule:
        def apply(self, *given):
            self.given = given
            return {"decision": tf.constant(["a", "not decided", "b"])}

    twice = LayerStatistics(model.get_layer("head_pool").output * 2, (3,))
    monkeypatch.setattr(graph, "layer_statistics", lambda given: twice)
    rule, sizes = Rule(), tf.constant([[1, 2], [3, 4], [5, 6]])
    images = tf.cast(at(SIZE), tf.float32)
    found = graph.Classifier(model, "ab", rule, 2.5).answer({"none": images}, sizes)
    assert found["decision"].numpy().tolist() == [b"a", b"not decided", b"b"]
    shown, statistics, probabilities, classes, own_sizes = rule.given
    assert shown is images and own_sizes is sizes and classes == ["a", "b"]
    np.testing.assert_allclose(probabilities, found["probabilities"])
    means = np.repeat(np.mean(images, axis=(1, 2)), 3, axis=1)
    np.testing.assert_allclose(statistics, 2 * means, rtol=1e-5)


def test_files_are_decoded_to_each_size_and_their_own_is_told():
    (small, large), own = graph.decode_batch(FILES, (SIZE, LUNG_SIZE))
    np.testing.assert_array_equal(small, at(SIZE))
    np.testing.assert_array_equal(large, at(LUNG_SIZE))
    assert own.numpy().tolist() == [[64, 96], [40, 30], [20, 80]]
    # TensorFlow's kernels fail on a batch of none, each in its own words.
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"at least one file\. Got none"):
        graph.decode_batch(FILES[:0], (SIZE,))


@pytest.mark.parametrize("broken", [[0], [2], [1, 2]])
def test_the_first_broken_file_of_a_batch_is_named(broken):
    files = [b"no image" if place in broken else file for place, file in enumerate(FILES.numpy())]
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"at place.*\s{broken[0]}\b"):
        graph.decode_batch(tf.constant(files), (SIZE,))


def masks_of(segmenter):
    """Each image's mask at its own size, bool, by the definition of a mask."""
    lungs = segmenter.of_lungs(segmenter.probabilities(at(LUNG_SIZE)))
    return [
        segmenter.mask_at(lungs[place], tf.constant(IMAGES[place].shape)).numpy() > 0
        for place in range(len(IMAGES))
    ]


def test_the_lungs_are_masks_at_the_files_own_sizes_and_their_shares(segmenter):
    found = graph.masks_from_bytes(segmenter)(FILES)
    assert set(found) == {"mask_bytes", "lung_fraction", "components", "warnings"}
    masks = masks_of(segmenter)
    for file, mask in zip(found["mask_bytes"].numpy(), masks, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), 255 * mask[..., 0])
    shares = [mask.mean() for mask in masks]
    assert 0.1 < min(shares) < max(shares) < 0.6
    np.testing.assert_allclose(found["lung_fraction"], shares, atol=1e-6)
    assert found["components"].numpy()[0] == 3  # two lungs and the speck
    assert found["warnings"].numpy().tolist() == [b"", b"", ASPECT.encode()]


def test_pixels_give_probabilities_with_and_without_small_components(segmenter):
    images = tf.cast(at(LUNG_SIZE), tf.float32)
    found = graph.masks_from_pixels(segmenter)(images)
    plain = 1 / (1 + np.exp(12.8 - 0.1 * images.numpy()))
    np.testing.assert_allclose(found["probabilities"], plain, atol=1e-5)
    lungs, components = segmenter.lungs_and_components(found["probabilities"])
    np.testing.assert_array_equal(found["lung_probabilities"], lungs)
    np.testing.assert_array_equal(found["components"], components)
    assert (found["lung_probabilities"].numpy() != plain).any()


def test_the_whole_image_is_classified_and_its_lungs_come_beside(model, segmenter):
    classifier = graph.Classifier(model, "ab")
    wanted = expected(np.repeat(at(SIZE), 3, axis=-1))
    alone = graph.from_bytes(classifier, SIZE, None)(FILES)
    assert set(alone) == {"probabilities", "label", "labels"}
    np.testing.assert_allclose(alone["probabilities"], wanted, atol=1e-5)
    both = graph.from_bytes(classifier, SIZE, segmenter)(FILES)
    np.testing.assert_allclose(both["probabilities"], wanted, atol=1e-5)
    lungs = graph.masks_from_bytes(segmenter)(FILES)
    np.testing.assert_array_equal(both["lung_mask_bytes"], lungs["mask_bytes"])
    np.testing.assert_array_equal(both["lung_fraction"], lungs["lung_fraction"])


def test_no_function_is_rewritten_for_its_graph(model, segmenter, monkeypatch):
    """That takes a second of each export and each prediction."""
    rewritten = []
    monkeypatch.setattr(
        transpiler.PyToPy,
        "transform_function",
        lambda self, function, _: rewritten.append(function),
    )
    classifier = graph.Classifier(model, "ab", roi="lung_crop")
    with contextlib.suppress(TypeError):  # of a function that is rewritten to None
        graph.from_bytes(classifier, SIZE, segmenter)(FILES)
    assert not rewritten


@pytest.mark.parametrize("roi", ["lung_crop", "lung_channel", "border_only"])
def test_a_region_is_cut_from_the_file_at_its_own_size(model, segmenter, roi):
    lungs = segmenter.masks(at(LUNG_SIZE))
    inputs = [ROIS[roi].apply(*item, SIZE).numpy() for item in zip(GREY, lungs, strict=True)]
    channels = [np.concatenate([x[..., :1], x[..., :1], x[..., -1:]], axis=-1) for x in inputs]
    needed = segmenter if ROIS[roi].needs_lungs else None
    classifier = graph.Classifier(model, "ab", roi=roi)
    found = graph.from_bytes(classifier, SIZE, needed)(FILES)
    np.testing.assert_allclose(found["probabilities"], expected(channels), atol=1e-5)
    pixels = tf.cast(at((64, 96)), tf.float32)
    lungs = segmenter.masks(resize_image(at((64, 96)), LUNG_SIZE))
    inputs = [
        ROIS[roi].apply(*item, SIZE).numpy() for item in zip(at((64, 96)), lungs, strict=True)
    ]
    channels = [np.concatenate([x[..., :1], x[..., :1], x[..., -1:]], axis=-1) for x in inputs]
    found = graph.from_pixels(classifier, SIZE, needed)(pixels)
    np.testing.assert_allclose(found["probabilities"], expected(channels), atol=1e-5)


def test_grey_values_are_rounded_and_clipped_for_a_region_and_taken_as_they_are_without(model):
    classifier = graph.Classifier(model, "ab")
    given = np.full((1, *SIZE, 1), 100.4, np.float32)
    given[0, 0] = 300
    given[0, -1] = -40
    plain = graph.from_pixels(classifier, SIZE, None)(tf.constant(given))
    np.testing.assert_allclose(
        plain["probabilities"], expected(np.repeat(given, 3, axis=-1)), atol=1e-5
    )
    rounded = np.clip(np.rint(given), 0, 255).astype(np.uint8)
    inside = ROIS["border_only"].apply(tf.constant(rounded[0]), None, SIZE).numpy()[None]
    of_border = graph.Classifier(model, "ab", roi="border_only")
    found = graph.from_pixels(of_border, SIZE, None)(tf.constant(given))
    wanted = expected(np.repeat(inside, 3, axis=-1))
    np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-6)
