"""What a command predicts with: named here, loaded by this process or by workers of a cluster."""

from dataclasses import dataclass
from pathlib import Path

from kerascxr.serving.predicted_rows import PredictedRows


@dataclass(frozen=True)
class ChosenClassifier:
    """A classifier, or an ensemble.

    Attributes:
        paths: A finished run's folder or an export; several runs are an ensemble.
        segmentation: A finished segmentation run for ``lung_fraction``; None for none.
        overlays: A folder for pictures; None for none.
    """

    paths: tuple[Path, ...]
    segmentation: Path | None
    overlays: Path | None

    @property
    def folders(self) -> tuple[Path, ...]:
        """What is written to, besides the table."""
        return (self.overlays,) if self.overlays else ()

    def load(self) -> PredictedRows:
        """Loads it; logs how good an ensemble is.

        Raises:
            ValueError: If a model is none of these, or has no Grad-CAM for overlays.
        """
        from kerascxr.serving.ensemble import ensemble_metrics, log_ensemble
        from kerascxr.serving.predict import classifier_rows
        from kerascxr.serving.predictors import (
            load_ensemble_predictor,
            load_lung_finder,
            load_predictor,
        )

        if len(self.paths) > 1:
            log_ensemble(ensemble_metrics(self.paths))
            predictor = load_ensemble_predictor(self.paths)
        else:
            predictor = load_predictor(self.paths[0])
        lungs = load_lung_finder(self.segmentation) if self.segmentation else None
        return classifier_rows(predictor, lungs, self.overlays)


@dataclass(frozen=True)
class ChosenUNet:
    """A U-Net.

    Attributes:
        path: A finished run's folder, an export, or ``PACKAGED``; None for a lung model that is
            found as for training.
        to: The folder for masks.
        overlays: A folder for pictures; None for none.
    """

    path: Path | None
    to: Path
    overlays: Path | None

    @property
    def folders(self) -> tuple[Path, ...]:
        """What is written to, besides the table."""
        return (self.to, self.overlays) if self.overlays else (self.to,)

    def load(self) -> PredictedRows:
        """Loads it.

        Raises:
            ValueError: If it is none of these.
        """
        from kerascxr.serving.mask_predictors import load_mask_predictor
        from kerascxr.serving.predict_masks import mask_rows
        from kerascxr.training.lungs import choose_lungs

        return mask_rows(load_mask_predictor(choose_lungs(self.path)), self.to, self.overlays)


Chosen = ChosenClassifier | ChosenUNet
