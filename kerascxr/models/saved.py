"""Models read from a run's model.keras."""

from pathlib import Path

import keras

# Imported for its layers, which Keras finds by their registered names.
import kerascxr.models.layers  # noqa: F401


def load_saved(path: Path) -> keras.Model:
    """Reads the classifier or the U-Net of a run.

    Args:
        path: A model.keras.

    Returns:
        The Keras model, not compiled.

    Raises:
        ValueError: If the file is missing, damaged or not from kerascxr.
    """
    if not path.exists():
        raise ValueError(f"{path.parent} must hold the run's model. It has no {path.name}.")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # on damaged files, Keras raises errors of any type
        reason = " ".join(str(error).split())[:150]
        raise ValueError(
            f"{path} must be a model that kerascxr wrote. It cannot be read ({reason}); train "
            "again with --overwrite true."
        ) from error


def computes_in_16_bits(model: keras.Model) -> bool:
    """Returns whether a layer of a model computes with 16-bit numbers.

    One that was only trained with them does not: see docs/design/mixed-precision.md.
    """
    return any(layer.compute_dtype in ("float16", "bfloat16") for layer in model.layers)
