"""What GPUs change in the comparison of an export with its run.

GPUs since NVIDIA's 8.0 round the factors of float32 products to 10 bits (TF32) unless told not to.
A run that was tested on one has probabilities that no other device, and no other batch size,
reproduces to the rounding errors of float32. Its export is compared in two steps: with what Keras
computes now, in float32 without TF32, as exactly as on a CPU; and Keras with the run, nearly.
"""

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from kerascxr.runs.reading import Run

TF32_TOLERANCE = 0.02
"""Of a probability. Not measured: TF32 rounds a factor by 5e-4 of it, which a network adds up and
averages out. Other weights or other images differ by much more."""

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


def require_near_run(run: Run, difference: float, temperature: float) -> None:
    """Checks probabilities that Keras computes against those of a run that a GPU computed.

    Args:
        run: The run, for the message.
        difference: The largest one.
        temperature: The lowest one of the models.

    Raises:
        ValueError: If it is over ``TF32_TOLERANCE``.
    """
    allowed = TF32_TOLERANCE * max(1.0, 1 / temperature)
    if not difference <= allowed:
        raise ValueError(
            f"Keras must reproduce the probabilities of {run.path} to {allowed:g}, since a GPU "
            f"computed one of the two. Got a difference of {difference:.2g}; {HINT}."
        )
