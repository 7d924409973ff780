"""Models for prediction, read from a run's folder or from an export."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerascxr.data.images import resize_image
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.ensembles import VALIDATION, read_members
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.download import file_digest
from kerascxr.models.graphs import traced
from kerascxr.models.saved import load_saved
from kerascxr.runs.reading import Run, read_run
from kerascxr.serving.ensemble import build_ensemble
from kerascxr.serving.graph import DECIDING, Answering, Classifier, Outputs, from_bytes
from kerascxr.serving.model_folder import find_model
from kerascxr.serving.publishing import IN_EVERY_SET, files_spec, pixels_spec
from kerascxr.training.ensembles import member_with_lungs
from kerascxr.training.lungs import choose_lungs, load_segmenter, lungs_digest, require_same_lungs

Answer = Mapping[str, np.ndarray]
"""``probabilities`` float (n, n_classes), after the temperature, and what ``extras`` names."""

EXTRAS = (*DECIDING, "lung_fraction")
"""What a model may return beside probabilities, each (n,): the same names are columns."""


@dataclass(frozen=True)
class Predictor:
    """A model that returns class probabilities.

    Attributes:
        name: The folder that it was read from.
        identity: A digest of what decides its answers: the weights, the temperature, the decision
            rule, the lung model and its threshold.
        classes: Its class names.
        size: The (height, width) of its input, in pixels.
        answer: Float32 (n, *size, 1), 0..255, and the images' own (height, width), int32 (n, 2), to
            the answer.
        extras: Which of ``EXTRAS`` the answer has.
        keras_model: The Keras model, where Grad-CAM can be computed.
        takes_files: Whether ``answer`` takes PNG files at their own size, string (n,), instead of
            pixels, as a region of interest needs them.
        in_every_set: The classes that every prediction set has, since there were too few validation
            images to exclude them.
    """

    name: str
    identity: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    answer: Callable[[tf.Tensor, tf.Tensor], Answer]
    extras: tuple[str, ...] = ()
    keras_model: keras.Model | None = None
    takes_files: bool = False
    in_every_set: tuple[str, ...] = ()

    def prepare(self, image: tf.Tensor) -> tf.Tensor:
        """Turns a grey image, uint8 (height, width, 1), into one item of ``answer``'s batch."""
        if self.takes_files:
            return tf.io.encode_png(image, compression=1)
        return resize_image(image, self.size)

    def predict(self, items: tf.Tensor, own_sizes: tf.Tensor) -> Answer:
        """Returns the answer for a batch of items from ``prepare``.

        Args:
            items: The batch.
            own_sizes: int32 (batch, 2), the (height, width) of the images before ``prepare``.
        """
        return self.answer(tf.cast(items, tf.string if self.takes_files else tf.float32), own_sizes)


@dataclass(frozen=True)
class LungFinder:
    """A U-Net that measures the share of lung in an image.

    Attributes:
        name: The folder that it was read from.
        identity: A digest of its weights and its threshold.
        size: The (height, width) of its input, in pixels.
        fractions: Float32 (n, *size, 1), 0..255, to float32 (n,), 0..1.
    """

    name: str
    identity: str
    size: tuple[int, int]
    fractions: Callable[[tf.Tensor], np.ndarray]


def load_predictor(path: Path) -> Predictor:
    """Reads a finished classification run, or an export (its folder or one version of it).

    Raises:
        ValueError: If it is neither.
    """
    task, place = find_model(path)
    if task != "classification":
        raise ValueError(f"{path} must be a classifier. Got a {task} model.")
    return _from_runs([read_run(place)]) if (place / "DONE").exists() else _from_export(place)


def load_ensemble_predictor(paths: Sequence[Path]) -> Predictor:
    """Reads several finished classification runs as one model.

    Raises:
        ValueError: If they are none or do not fit together, see ``check_members``.
    """
    return _from_runs(read_members(paths))


def _from_runs(runs: Sequence[Run]) -> Predictor:
    """Makes a predictor of a run, or of an ensemble."""
    run, together = runs[0], len(runs) > 1
    for one in runs:
        require_same_lungs(one)
    rois = tuple(one.roi for one in runs)
    lungs = None
    finding = member_with_lungs(runs)
    if ROIS[finding.roi].needs_lungs:
        given = finding.config.get("lungs")
        lungs = choose_lungs(Path(given) if given else None)
    segmenter = load_segmenter(lungs) if lungs else None
    classes = tuple(run.metrics["test"]["classes"])
    classifier: Answering
    model = None
    if together:
        ensemble = build_ensemble(runs)
        classifier, has_rule = ensemble.whole, ensemble.rule is not None
        always = ensemble.rule.in_every_set if ensemble.rule else ()
        size = ensemble.models[0].input_shape[1:3]
    else:
        model = load_saved(run.path / "model.keras")
        file = run.path / FILE
        rule = DecisionRule.load(file) if file.exists() else None
        classifier = Classifier(model, classes, rule, run.temperature, run.roi)
        has_rule = rule is not None
        always = rule.in_every_set if rule else ()
        size = model.input_shape[1:3]
    extras = DECIDING if has_rule else ()
    whole = set(rois) == {"none"}
    if whole:

        def of_pixels(images: tf.Tensor, own_sizes: tf.Tensor) -> Outputs:
            return classifier.answer({"none": images}, own_sizes)

        compute = traced(of_pixels, pixels_spec(size), tf.TensorSpec((None, 2), tf.int32))
    else:
        compute = traced(from_bytes(classifier, size, segmenter), files_spec())

    def answer(items: tf.Tensor, own_sizes: tf.Tensor) -> Answer:
        outputs = compute(items, own_sizes) if whole else compute(items)
        return {key: outputs[key].numpy() for key in ("probabilities", *extras)}

    threshold = segmenter and segmenter.threshold
    known = [classes, rois, lungs_digest(lungs), threshold, [_decides(one) for one in runs]]
    return Predictor(
        ", ".join(str(one.path) for one in runs),
        digest_of(known),
        classes,
        size,
        answer,
        extras=extras,
        keras_model=model if whole else None,
        takes_files=not whole,
        in_every_set=tuple(classes[place] for place in always),
    )


def _decides(run: Run) -> list[Any]:
    """Returns what of a run decides its answers, and an ensemble's with its threshold."""
    files = ("model.keras", FILE, VALIDATION)
    digests = [file_digest(run.path / file) for file in files if (run.path / file).exists()]
    return [*digests, run.temperature]


def _from_export(place: Path) -> Predictor:
    loaded = tf.saved_model.load(str(place))
    size = loaded.signatures["pixels"].structured_input_signature[1]["images"].shape[1:3]
    signature = loaded.signatures["serving_default"]
    extras = tuple(name for name in EXTRAS if name in signature.structured_outputs)

    def answer(images: tf.Tensor, own_sizes: tf.Tensor, keep: Any = loaded) -> Answer:
        del own_sizes  # it decodes the files itself
        del keep  # without a reference to it, the signature's variables would be freed
        outputs = signature(images=images)
        return {name: outputs[name].numpy() for name in ("probabilities", *extras)}

    about = json.loads((place / "metadata.json").read_text(encoding="utf-8"))
    return Predictor(
        str(place),
        export_digest(place),
        tuple(about["classes"]),
        (size[0], size[1]),
        answer,
        extras=extras,
        takes_files=True,
        in_every_set=tuple(about.get(IN_EVERY_SET, ())),
    )


def load_lung_finder(path: Path) -> LungFinder:
    """Reads a finished segmentation run.

    Raises:
        ValueError: If it is none.
    """
    segmenter = load_segmenter(path)

    def lung_shares(images: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.cast(segmenter.masks(images) > 0, tf.float32), axis=(1, 2, 3))

    fractions = traced(lung_shares, pixels_spec(segmenter.size))
    identity = digest_of([lungs_digest(path), segmenter.threshold])
    return LungFinder(str(path), identity, segmenter.size, lambda images: fractions(images).numpy())


def export_digest(place: Path) -> str:
    """Returns a digest of all files of one version of an export."""
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return digest_of([[str(path.relative_to(place)), file_digest(path)] for path in files])


def digest_of(known: Any) -> str:
    """Returns the SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()
