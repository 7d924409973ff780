"""Seeds, precision, devices: chosen once, before anything is built."""

import contextlib
import dataclasses
import importlib.metadata
import logging
import os
import platform
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from kerascxr import __version__
from kerascxr.config import RuntimeConfig
from kerascxr.config.checks import check
from kerascxr.data.order import WHOLE, Share
from kerascxr.runs.reading import PACKAGES
from kerascxr.training import processor
from kerascxr.training.workers import Workers, workers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """What was set.

    Attributes:
        precision: The Keras dtype policy's name of the training step.
        strategy: The distribution strategy; None means one device.
        jit_compile: Whether XLA compiles.
        devices: The devices' names.
        on_gpu: Whether there is a GPU.
        workers: The workers that train together; None where this process trains alone.
    """

    precision: str
    strategy: tf.distribute.Strategy | None
    jit_compile: bool
    devices: tuple[str, ...]
    on_gpu: bool
    workers: Workers | None = None

    @property
    def share(self) -> Share:
        """The part of each training batch that this process computes."""
        return self.workers.share if self.workers else WHOLE

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run folder and tests the model."""
        return self.workers is None or self.workers.is_chief

    def scope(self) -> contextlib.AbstractContextManager:
        """The scope in which models are built and compiled."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()


def set_up(config: RuntimeConfig, bfloat16_pays: bool = False) -> Runtime:
    """Sets seeds and picks devices and a precision. Models are built in float32 under any.

    Args:
        config: What is wanted.
        bfloat16_pays: Whether a CPU that computes in bfloat16 trains this model faster with it.

    Returns:
        What was set.

    Raises:
        ValueError: If a strategy is asked for that this machine or several workers cannot offer.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = tf.config.get_visible_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):  # already started in this process
            tf.config.experimental.set_memory_growth(gpu, True)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    precision: str = config.precision
    if precision == "auto":
        precision = _best_precision([item.get("compute_capability", (0, 0)) for item in details])
        if not gpus and bfloat16_pays and processor.computes_bfloat16():
            precision = "mixed_bfloat16"
    keras.config.set_dtype_policy("float32")
    together = workers()
    if together is not None:
        check(
            config.device_strategy != "mirrored" and config.xla is not True,
            "runtime.device_strategy must be single or auto, and runtime.xla false or auto, with "
            "several workers",
            device_strategy=config.device_strategy,
            xla=config.xla,
        )
    xla = bool(gpus and together is None) if config.xla == "auto" else config.xla
    names = tuple(item.get("device_name", "GPU") for item in details)
    names = names or (f"CPU ({os.cpu_count()} cores)",)
    strategy = None
    if config.device_strategy == "mirrored" or (config.device_strategy == "auto" and len(gpus) > 1):
        strategy = tf.distribute.MirroredStrategy()
    logger.info(f"Running on {', '.join(names)}, {precision}, seed {config.seed}.")
    return Runtime(precision, strategy, xla, names, bool(gpus), together)


def _best_precision(capabilities: list[tuple[int, int]]) -> str:
    """bfloat16 needs no loss scaling and runs fast from NVIDIA's 8.0 on, float16 from 7.0 on."""
    if not capabilities or min(capabilities) < (7, 0):
        return "float32"
    return "mixed_bfloat16" if min(capabilities) >= (8, 0) else "mixed_float16"


def as_set(config: RuntimeConfig, runtime: Runtime) -> RuntimeConfig:
    """Returns a config with what ``set_up`` chose in place of "auto"."""
    chosen: dict[str, Any] = {
        "precision": runtime.precision,
        "device_strategy": "mirrored" if runtime.strategy else "single",
        "xla": runtime.jit_compile,
    }
    return dataclasses.replace(config, **chosen)


def versions() -> dict[str, str]:
    """Returns the versions of the packages that decide numbers, by their names for people."""
    packages = {name: importlib.metadata.version(package) for name, package in PACKAGES.items()}
    return packages | {"kerascxr": __version__}


def regime_of(
    runtime: Runtime,
    augmented: bool,
    cached_copies: int = 0,
    engine: str | None = None,
    copies_precision: str | None = None,
) -> dict[str, Any]:
    """Returns how a model is trained, JSON-ready, for metrics.json and environment.json.

    Args:
        runtime: Precision and devices.
        augmented: Whether training images are augmented.
        cached_copies: Number of versions of each training image whose features are cached; 0 where
            the whole model runs on images in every epoch.
        engine: What computes the cached features.
        copies_precision: In what those of augmented copies were computed.
    """
    trained_on = "images"
    if cached_copies:
        trained_on = "cached augmented copies" if augmented else "cached features"
    return {
        "trained_on": trained_on,
        "augmentation": augmented,
        "augmented_copies": cached_copies if cached_copies > 1 else None,
        "feature_engine": engine,
        "copies_precision": copies_precision,
        "precision": runtime.precision,
        "device_strategy": "mirrored" if runtime.strategy else "single",
        "xla": runtime.jit_compile,
        "devices": list(runtime.devices),
        "workers": runtime.workers.place.count if runtime.workers else 1,
    }


def environment(regime: dict[str, Any], seed: int) -> dict[str, Any]:
    """Returns the versions, the machine and the regime, JSON-ready, for environment.json."""
    packages = [*PACKAGES.values(), "tensorflow-datasets"]
    if regime["feature_engine"] == "openvino":
        packages.append("openvino")
    return {
        "kerascxr": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "cpus": os.cpu_count(),
        "processor": processor.processor_name(),
        "regime": regime,
        "seed": seed,
    }
