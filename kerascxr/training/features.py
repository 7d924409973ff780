"""Features: outputs of the frozen part of a backbone, computed once and cached on disk.

At depth 0, 1 and 2 most of the backbone never changes, so no epoch runs it again. Features are kept
at depth 2's boundary, and those of depth 1 and 0 derived from them: one pass serves all three. The
same pass gives the layer statistics, of which the decision rule's score is made.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerascxr.config import AugmentConfig
from kerascxr.data.arrays import gathered
from kerascxr.data.graphs import do_not_convert
from kerascxr.data.pipeline import Images, evaluation_batches
from kerascxr.models.backbones import Backbone
from kerascxr.models.classifier import Depth, backbone_of, cut_at_depth
from kerascxr.models.graphs import traced
from kerascxr.models.layer_statistics import layer_statistics
from kerascxr.progress import ProgressBar
from kerascxr.runs.locks import locked
from kerascxr.training.engines import (
    Engine,
    EngineName,
    Precision,
    build_bfloat16_engine,
    build_engine,
    computed_by,
)
from kerascxr.training.feature_files import FeatureFolder, Stored
from kerascxr.training.sharing import shared

logger = logging.getLogger(__name__)

_FORMAT = 3
_BATCH = 32
_STORED_AT: Depth = 2
_SHARED_BYTES = 2**26  # of full-precision features, which are shared by runs in memory
_IN_TRAINING = {"trainable", "update_statistics", "shared_object_id"}  # of a layer's config


class BackboneFeatures:
    """Gives the tensor at a depth's boundary for images, computing it if it is not kept yet.

    The frozen part runs in inference mode, so this is what it would give in training as well. Files
    are found by a digest of the images, the frozen layers and their weights, the number types, the
    augmentation, the engine, its device and the packages' versions: another image, layer, weight or
    size is another file. A file is used only if it has the digest of what was computed. Processes
    that need the same features at once compute them once. Files that this object has given are not
    pruned while it exists.

    Attributes:
        sizes: How many statistics each layer has, see ``LayerStatistics``; None for a backbone that
            names no stages.
        copies_precision: The number type in which augmented copies are computed.

    Args:
        model: A classifier with its weights.
        depth: 0, 1 or 2.
        folder: Where files are kept.
        augment: How images change in views after the first.
        seed: Seed of the changes.
        engine: What runs the frozen part; Keras where that turns out not to work.
        copies_precision: In what the features of augmented copies are computed: images as they are
            always are in float32. float32 where bfloat16 turns out not to work.

    Raises:
        ValueError: If the backbone names a layer behind depth 2's boundary as a stage's output: its
            statistics would be those from before the training.
    """

    def __init__(
        self,
        model: keras.Model,
        depth: Depth,
        folder: FeatureFolder,
        *,
        augment: AugmentConfig | None = None,
        seed: int = 0,
        engine: EngineName = "keras",
        copies_precision: Precision = "float32",
    ):
        boundary = cut_at_depth(model, _STORED_AT)
        frozen = keras.Model(model.input, boundary)
        self._frozen = frozen
        self._running = frozen
        self.sizes: tuple[int, ...] | None = None
        backbone = backbone_of(model)
        if backbone.stage_outputs:
            _require_frozen(backbone, frozen)
            found = layer_statistics(model)
            self.sizes = found.sizes
            self._running = keras.Model(model.input, [boundary, found.output])
        self._layers = _layers_of(self._running)
        self._backbone = model.name
        self._depth = depth
        self._folder = folder
        self._augment = augment
        self._seed = seed
        self._engine_name = engine
        self._engine: Engine | None = None
        self._copies_engine: Engine | None = None
        self.copies_precision = copies_precision if engine == "openvino" else "float32"
        if depth != _STORED_AT:
            between = keras.Model(boundary, cut_at_depth(model, depth))
            self._derive = traced(
                lambda stored: between(stored, training=False),
                tf.TensorSpec((None, *frozen.output_shape[1:])),
            )

    def bytes_for(self, n_images: int) -> int:
        """Returns how many bytes the features of so many images take on disk."""
        return 2 * n_images * int(np.prod(self._frozen.output_shape[1:]))

    def missing_bytes(self, images: Images, views: int = 1) -> int:
        """Returns how many bytes the features of images take that are not kept yet.

        Args:
            images: The images.
            views: How many views of each, from 0.
        """
        kept = sum(self._folder.has(self._key(images, view)) for view in range(views))
        return (views - kept) * self.bytes_for(len(images))

    def of(self, images: Images, view: int = 0) -> np.ndarray:
        """Returns the features of images.

        Args:
            images: The images.
            view: 0 for the images as they are; 1, 2, ... for so many different changes of each.

        Returns:
            float16 (n, *boundary): at depth 2 mapped from the file, below it in memory, or in a
            file without a name where it takes a quarter of the free memory.
        """
        stored = self._stored(images, view).features
        if self._depth == _STORED_AT:
            return stored
        # Cast here: TensorFlow's own cast complains of CPUs without float16 instructions.
        derived = (
            np.asarray(self._derive(stored[begin : begin + _BATCH].astype(np.float32)), np.float16)
            for begin in range(0, len(stored), _BATCH)
        )
        return gathered(derived, len(stored), "auto", self._folder.path)

    def statistics(self, images: Images, view: int = 0) -> np.ndarray:
        """Returns the layer statistics of images, computing them with the features.

        Args:
            images: The images.
            view: See ``of``.

        Returns:
            float32 (n, m), mapped from the file.

        Raises:
            ValueError: If the backbone names no stages.
        """
        stored = self._stored(images, view).statistics
        if stored is None:
            raise ValueError(f"{self._backbone} must name its stage_outputs, and names none.")
        return stored

    def _stored(self, images: Images, view: int) -> Stored:
        stored = self._folder.open(self._key(images, view), self)
        if stored is None:
            engine = self._engine_of(images, view)
            key = self._key(images, view)  # another one if another engine had to stand in
            waiting = "Another process is computing the same features; waiting for it."
            with locked(self._folder.lock(key), waiting):
                stored = self._folder.open(key, self)
                if stored is None:
                    stored = self._compute(images, key, view, engine)
            self._folder.enforce_limit()
        return stored

    def stream(self, images: Images) -> Iterator[tuple[np.ndarray, ...]]:
        """Gives the features at depth 2's boundary in full precision, without keeping them.

        Args:
            images: The images.

        Yields:
            float32 (batch, *boundary at depth 2), in order, and the layer statistics, float32
            (batch, m), if the backbone names its stages.
        """
        engine = self._running_engine(images)
        batches = evaluation_batches(images, engine.batch_size).as_numpy_iterator()
        outputs = engine.run(batch["image"].astype(np.float32) for batch in batches)
        if 2 * self.bytes_for(len(images)) > _SHARED_BYTES:
            yield from outputs
            return
        yield from shared("stream", (self.identity, images.digest), lambda: list(outputs), most=2)

    def engine_for(self, images: Images) -> Engine:
        """Returns what computes features and, if there are any, statistics; tried on the images."""
        return self._running_engine(images)

    @property
    def engine_name(self) -> EngineName:
        """The name of the engine: the one wanted, until it was tried."""
        return self._engine_name

    def change(self, view: int) -> tuple[AugmentConfig, int, int] | None:
        """Returns how a view's images are augmented: by what, seed, view; None if they are not."""
        if self._augment is None or not self._augment.enabled or view == 0:
            return None
        return self._augment, self._seed, view

    def computed_as(self, view: int) -> tuple[tuple[AugmentConfig, int, int] | None, Precision]:
        """Returns what a view's features depend on, besides the images and ``identity``.

        Returns:
            How the images are augmented, see ``change``, and the number type.
        """
        change = self.change(view)
        return change, self.copies_precision if change else "float32"

    def _running_engine(self, images: Images) -> Engine:
        if self._engine is None:
            sample = images.pixels[:2].astype(np.float32)
            self._engine = shared(
                "engine",
                (self.identity, sample.tobytes()),
                lambda: build_engine(self._running, self._engine_name, sample),
            )
            self._engine_name = self._engine.name  # features of another engine are another file
        return self._engine

    def _engine_of(self, images: Images, view: int) -> Engine:
        """Returns what computes a view. Whether bfloat16 works is known after the first copy."""
        engine = self._running_engine(images)
        if self.computed_as(view)[1] == "float32":
            return engine
        if self._copies_engine is None:
            sample = images.pixels[:2].astype(np.float32)
            self._copies_engine = shared(
                "engine of copies",
                (self.identity, sample.tobytes()),
                lambda: build_bfloat16_engine(engine, sample),
            )
            self.copies_precision = self._copies_engine.precision
        return self._copies_engine

    @property
    def identity(self) -> str:
        """A digest of the frozen layers, their weights, the engine, its device and the packages."""
        by = computed_by(self._engine_name)
        return hashlib.sha256(f"{by} {self._frozen_identity}".encode()).hexdigest()

    @cached_property
    def _frozen_identity(self) -> str:
        policies = sorted({layer.dtype_policy.name for layer in self._frozen.layers})
        known = (_FORMAT, policies, self._frozen.input_shape, self.sizes, self._layers)
        digest = hashlib.sha256(f"{known}".encode())
        for weight in self._frozen.weights:
            digest.update(f"{weight.path} {weight.shape}".encode())
            digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()

    def _key(self, images: Images, view: int) -> str:
        # The pixels themselves: ids could be reused.
        known = f"{self.identity} {self.computed_as(view)} {images.digest}"
        return hashlib.sha256(known.encode()).hexdigest()[:32]

    def _compute(self, images: Images, key: str, view: int, engine: Engine) -> Stored:
        """Computes and keeps features. Its caller holds the key's lock.

        Raises:
            OSError: If the disk does not give back what was written.
        """
        logger.info(
            f"Computing backbone features of {len(images)} images, "
            f"{self.bytes_for(len(images)) / 2**20:.0f} MB in {self._folder.path}, "
            f"with {'OpenVINO' if engine.name == 'openvino' else 'Keras'}"
            f"{'' if engine.precision == 'float32' else ' in bfloat16'}."
        )
        height, width = self._frozen.input_shape[1:3]
        about = {
            "backbone": self._backbone,
            "source": images.source,
            "images": len(images),
            "size": f"{height}x{width}",
        }
        with ProgressBar(total=len(images), desc="Backbone features", unit="image") as bar:
            shape = (len(images), *self._frozen.output_shape[1:])
            self._folder.write(key, self._rows(images, view, engine, bar), shape, about)
        stored = self._folder.open(key, self)
        if stored is None:
            raise OSError(
                f"{self._folder.path} must hold what was written to {key}.f16 in it, and does not: "
                "check the disk."
            )
        return stored

    def _rows(
        self, images: Images, view: int, engine: Engine, bar: ProgressBar
    ) -> Iterator[tuple[np.ndarray, ...]]:
        size = engine.batch_size
        if self.change(view):
            batches = self._changed(images, view, size)
        else:
            batches = evaluation_batches(images, size)
        pixels = (batch["image"].astype(np.float32) for batch in batches.as_numpy_iterator())
        limit = np.finfo(np.float16).max
        for features, *statistics in engine.run(pixels):
            yield np.clip(features, -limit, limit).astype(np.float16), *statistics
            bar.update(len(features))

    def _changed(self, images: Images, view: int, batch_size: int) -> tf.data.Dataset:
        stream = tf.constant(self._seed + view * 2**32, tf.int64)

        @do_not_convert
        def prepare(step: tf.Tensor, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            image, _ = self._augmentation(batch["image"], tf.stack([stream, step]))
            return batch | {"image": tf.round(image)}  # as a file would have it

        # An image's changes hang on its place in the batch, so batches are alike for all engines.
        batches = evaluation_batches(images, _BATCH).enumerate().map(prepare)
        return batches.rebatch(batch_size).prefetch(2)

    @cached_property
    def _augmentation(self) -> Callable[..., tuple[tf.Tensor, None]]:
        from kerascxr.data.augment import Augment  # keras-cv takes seconds to import

        assert self._augment is not None
        changed = Augment(self._augment)
        return tf.function(changed, reduce_retracing=True, autograph=False)  # once for all views


def _require_frozen(backbone: Backbone, frozen: keras.Model) -> None:
    names = {layer.name for layer in frozen.layers}
    behind = [name for name in backbone.stage_outputs if name not in names]
    if behind:
        raise ValueError(
            f"stage_outputs of the backbone {backbone.name} must be layers before its last_stage, "
            f"which depth 2 trains. Got {', '.join(behind)}."
        )


def _layers_of(model: keras.Model) -> str:
    """Returns a model's layers, their settings and how they are connected.

    Layers have numbers for names, which differ from one model to the next. What only training uses
    is left out.
    """
    config = model.get_config()
    places = {layer["name"]: place for place, layer in enumerate(config["layers"])}

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cleaned(item) for key, item in value.items() if key not in _IN_TRAINING}
        if isinstance(value, list | tuple):
            return [cleaned(item) for item in value]
        return places.get(value, value) if isinstance(value, str) else value

    return json.dumps(cleaned([config["layers"], config["output_layers"]]), default=str)
