"""Fits a run's linear probe at the end of its training."""

from typing import Any

import keras
import numpy as np

from kerascxr.config import ClassificationConfig
from kerascxr.data.pipeline import Images
from kerascxr.evaluation.calibration import fit_temperature
from kerascxr.evaluation.metrics import METRICS
from kerascxr.models.backbones import Backbone
from kerascxr.models.layer_statistics import require_finite
from kerascxr.models.linear_probe import StatisticsRegression, add_linear_probe
from kerascxr.training.features import BackboneFeatures
from kerascxr.training.learner import Learner, softmax
from kerascxr.training.sharing import shared


def check_linear_probe(config: ClassificationConfig, backbone: Backbone) -> None:
    """Checks that a linear probe can be had where it is asked for.

    Raises:
        ValueError: If the backbone names no stages.
    """
    if config.linear_probe is True and not backbone.stage_outputs:
        raise ValueError(
            f"linear_probe must be false or auto for the backbone {backbone.name}, which names "
            "no stages."
        )


def uses_linear_probe(config: ClassificationConfig, features: BackboneFeatures | None) -> bool:
    """Returns whether a classifier gets a linear probe: "auto" means where it costs no pass."""
    possible = features is not None and features.sizes is not None
    return possible and config.linear_probe is not False


def with_linear_probe(
    model: keras.Model,
    splits: dict[str, Images],
    config: ClassificationConfig,
    learner: Learner,
) -> tuple[keras.Model, dict[str, Any]]:
    """Adds a linear probe, fitted to training images, to a trained classifier.

    The temperatures of the head and of the probe are fitted to validation images.

    Args:
        model: The classifier.
        splits: Its images.
        config: How it was trained.
        learner: What it was trained by, with cached features.

    Returns:
        The classifier with the probe, and what metrics.json says of it: the number of statistics
        and of parameters, the temperatures, and the accuracy and the macro F1 of head and probe
        alone on validation images.

    Raises:
        NonFiniteStatisticsError: If statistics are NaN or infinite.
    """
    training, validation = splits["train"], splits["validation"]
    features = learner.features
    assert features is not None and learner.feature_logits is not None
    views = [features.statistics(training, view) for view in range(learner.cached_copies)]
    known = features.statistics(validation)
    for view in views:
        require_finite(model, view, "training images")
    require_finite(model, known, "validation images")
    balanced = config.class_balance != "none"
    computed_as = map(features.computed_as, range(len(views)))
    images = (training.digest, training.labels.tobytes(), *computed_as)
    regression = shared(
        "linear probe",
        (features.identity, *images, balanced),
        lambda: StatisticsRegression.fit(views, training.labels, balanced),
    )
    alone = {
        "head": softmax(learner.feature_logits(features.of(validation))),
        "probe": regression.probabilities(known),
    }
    temperatures = {name: fit_temperature(validation.labels, of) for name, of in alone.items()}
    whole = add_linear_probe(model, regression, (temperatures["head"], temperatures["probe"]))
    return whole, {
        "statistics": len(regression.kernel),
        "parameters": regression.kernel.size + regression.bias.size,
        "temperatures": temperatures,
        "validation": {
            name: accuracy_and_f1(validation, probabilities)
            for name, probabilities in alone.items()
        },
    }


def accuracy_and_f1(images: Images, probabilities: np.ndarray) -> dict[str, float | None]:
    """Returns both scores of n images' probabilities, float (n, k)."""
    of = (images.labels, probabilities)
    return {name: METRICS[name].function(*of) for name in ("accuracy", "f1")}
