"""What another device or engine changes in the comparison of an export with its run.

GPUs since NVIDIA's 8.0 round the factors of float32 products to 10 bits (TF32) unless told not to.
A run that was tested on one has probabilities that no other device, and no other batch size,
reproduces to the rounding errors of float32. OpenVINO adds in another order than TensorFlow: for
whole images that changes a probability by 1e-6, but by up to 4e-4 for a region of interest that is
black around the lungs, where early channels hardly differ between images. Such a run's export is
compared in two steps: with what Keras computes now, in float32 without TF32, as exactly as any
other; and Keras with the run, nearly.
"""

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from kerascxr.runs.reading import Run

TF32_TOLERANCE = 0.02
"""Of a probability. Not measured: TF32 rounds a factor by 5e-4 of it, which a network adds up and
averages out. Other weights or other images differ by much more."""

OPENVINO_TOLERANCE = 1e-3
"""Of a probability. Measured: up to 3.6e-4 for 120 X-rays with the region ``lungs_equalized``."""

HINT = (
    "nothing was written. Export with the packages that the run's environment.json names, or train "
    "the run again here"
)


def computed_on_gpu(runs: Sequence[Run]) -> bool:
    """Returns whether answers of runs were computed on a GPU, or would be in this process."""
    devices = {name for run in runs for name in run.metrics["regime"]["devices"]}
    return any(not name.startswith("CPU ") for name in devices) or bool(
        tf.config.list_physical_devices("GPU")
    )


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Lets GPUs compute float32 products as CPUs do, while the block runs."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def tolerance_of_runs(runs: Sequence[Run]) -> float | None:
    """Returns how far from runs' probabilities Keras may be; None for rounding errors alone."""
    if computed_on_gpu(runs):
        return TF32_TOLERANCE
    if any(
        run.roi != "none" and run.metrics["regime"]["feature_engine"] == "openvino" for run in runs
    ):
        return OPENVINO_TOLERANCE
    return None


def require_near_runs(runs: Sequence[Run], difference: float, temperature: float) -> None:
    """Checks probabilities that Keras computes against those of runs.

    Args:
        runs: The runs, of which ``tolerance_of_runs`` is not None.
        difference: The largest one.
        temperature: The lowest one of the models.

    Raises:
        ValueError: If it is over the tolerance.
    """
    tolerance = tolerance_of_runs(runs)
    assert tolerance is not None
    allowed = tolerance * max(1.0, 1 / temperature)
    if not difference <= allowed:
        by = "a GPU" if tolerance == TF32_TOLERANCE else "OpenVINO"
        paths = ", ".join(str(run.path) for run in runs)
        raise ValueError(
            f"Keras must reproduce the probabilities of {paths} to {allowed:g}, since {by} "
            f"computed one of the two. Got a difference of {difference:.2g}; {HINT}."
        )
