"""Accuracy of simple properties alone in predicting the class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from kerascxr.data.ingest.properties import KINDS

_PARTS = 5


def class_from_properties(
    values: Mapping[str, Sequence[float]],
    labels: Sequence[str],
    folds: np.ndarray,
    groups: Sequence[str],
) -> list[dict[str, Any]]:
    """Predicts the class from each kind of property, and from all, with a small decision tree.

    The tree has at most four levels and at least five images per leaf. It is cross-validated in
    five parts, each of every fifth fold. A group that the source's own split spreads over several
    folds is in the part of its first image, so no group is in training and test.

    Args:
        values: Property -> its value in each image; see ``properties.KINDS``.
        labels: Each image's class.
        folds: int64 (n,), 0..19.
        groups: Each image's group.

    Returns:
        One row per kind: ``from``, ``accuracy`` and its chance (the largest class' share),
        ``balanced_accuracy`` and its chance, ``auc`` (macro, one against the rest; 0.5 by chance).
        Empty if there is one class only, or if a part would be trained without some class.
    """
    truth = np.array(labels)
    _, first, number = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    parts = (np.asarray(folds) % _PARTS)[first][number]
    classes, counts = np.unique(truth, return_counts=True)
    everywhere = [set(truth[parts != part]) == set(classes) for part in np.unique(parts)]
    if len(classes) < 2 or not all(everywhere) or len(everywhere) < 2:
        return []
    rows = []
    for kind, names in {**KINDS, "all of these": tuple(values)}.items():
        tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=5, random_state=0)
        inputs = np.array([values[name] for name in names]).T
        predicted = cross_val_predict(
            tree, inputs, truth, cv=PredefinedSplit(parts), method="predict_proba"
        )
        chosen = classes[predicted.argmax(axis=1)]
        auc = np.mean(
            [
                roc_auc_score(truth == name, predicted[:, index])
                for index, name in enumerate(classes)
            ]
        )
        rows.append(
            {
                "from": kind,
                "accuracy": float((chosen == truth).mean()),
                "chance_accuracy": float(counts.max() / counts.sum()),
                "balanced_accuracy": float(balanced_accuracy_score(truth, chosen)),
                "chance_balanced_accuracy": 1 / len(classes),
                "auc": float(auc),
            }
        )
    return rows
