"""Models read back from a run's model.keras."""

from pathlib import Path

import keras

# Imported for their layers, which Keras finds by name when it reads a file.
import kerascxr.models.layers
import kerascxr.models.unet  # noqa: F401


def load_saved(path: Path) -> keras.Model:
    """Reads a classifier or a U-Net that a run has written.

    Args:
        path: A model.keras.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: If the file is missing, damaged or none of ours.
    """
    if not path.exists():
        raise ValueError(f"{path.parent} must hold the run's model. It has no {path.name}.")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises of any kind on damaged files
        reason = " ".join(str(error).split())[:150]
        raise ValueError(
            f"{path} must be a model that kerascxr wrote. It cannot be read ({reason}); train "
            "again with --overwrite true."
        ) from error
