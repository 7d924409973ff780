"""Export of an ensemble of finished runs as one SavedModel that answers as one run's does."""

import functools
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerascxr.config import ClassificationConfig
from kerascxr.data.ingest.folds import split_folds
from kerascxr.data.ingest.store import Store
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.ensembles import TEST, CommonPredictions, common_predictions, read_members
from kerascxr.evaluation.lung_masks import LungMaskCheck
from kerascxr.models.decision_rule import FILE
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.models.graphs import traced
from kerascxr.models.segmenter import Segmenter
from kerascxr.parsing import load_config
from kerascxr.runs.atomic import write_json
from kerascxr.runs.reading import Run, read_predictions
from kerascxr.serving.ensemble import (
    Ensemble,
    build_ensemble,
    describe_ensemble,
    divide_records,
    ensemble_name,
    log_ensemble,
)
from kerascxr.serving.export import (
    LUNG_OUTPUTS,
    check_lung_masks,
    describe_outputs,
    other_lungs_note,
)
from kerascxr.serving.graph import Answering, Outputs, from_bytes, from_pixels
from kerascxr.serving.publishing import (
    IN_EVERY_SET,
    describe,
    examples_of,
    files_spec,
    pixels_spec,
    publish,
    record_of,
    some_of,
    write_model,
    write_warm_up,
)
from kerascxr.serving.read_back import (
    SCORE_TOLERANCE,
    Expected,
    allowed_at,
    answers_of,
    compare_reloaded,
)
from kerascxr.serving.rounding import require_near_runs, tolerance_of_runs, without_tf32
from kerascxr.training.ensembles import decide_together, member_with_lungs
from kerascxr.training.inputs import open_run_store
from kerascxr.training.lungs import choose_lungs, load_segmenter

logger = logging.getLogger(__name__)

Graph = Callable[[tf.Tensor], Outputs]
"""What ``traced`` makes of a function from files' bytes to the answer."""

_REPEATS = 11


def export_ensemble(paths: Sequence[Path], to: Path, segmentation: Path | None = None) -> Path:
    """Exports several classifiers, with a U-Net if there is one, as one model.

    Args:
        paths: Finished classification runs that fit together; see ``check_members``.
        to: The model's folder; the version is the next number there, from 1.
        segmentation: See ``export_run``.

    Returns:
        The version's folder. It is written only if the reloaded SavedModel gives, for test images
        of the first run, the mean of the members' calibrated probabilities and their decisions:
        those of their tests, or those that Keras computes if they were tested on other images or
        with other lungs. See ``compare_reloaded``.

    Raises:
        ValueError: If the runs do not fit together, one has no decision rule, images are missing or
            have changed, too many lung masks are implausible, or the answers differ.
    """
    runs = read_members(paths)
    for path in paths:
        if not (path / FILE).exists():
            raise ValueError(f"{path} must have a decision rule ({FILE}). Train it again.")
    run = runs[0]
    config = load_config(ClassificationConfig, member_with_lungs(runs).path / "config.yaml")
    store = open_run_store(run, config.data)
    if ROIS[config.roi].needs_lungs:
        segmentation = choose_lungs(segmentation or config.lungs)
    segmenter = load_segmenter(segmentation) if segmentation else None
    lung_masks = check_lung_masks(segmentation, config, store) if segmentation else None
    classes = run.metrics["test"]["classes"]
    ensemble = build_ensemble(runs)
    rule = ensemble.rule
    assert rule is not None  # every member has one
    size = (config.image_size[0], config.image_size[1])

    pixels = pixels_spec(size)
    graphs = functools.cache(functools.partial(graphs_of, ensemble, size, segmenter))
    common = common_predictions(runs, TEST)
    lowest = min(one.temperature for one in runs)
    expected = expected_of_ensemble(ensemble, config, store, segmentation, graphs)
    files = expected.files

    def fill(folder: Path) -> None:
        tracked = [*ensemble.models, *([segmenter.model] if segmenter else [])]
        signatures = {
            "serving_default": (graphs()[-1], files_spec()),
            "pixels": (traced(from_pixels(ensemble.whole, size, segmenter), pixels), pixels),
        }
        write_model(folder, tracked, signatures)
        (folder / "labels.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
        difference = compare_reloaded(folder, expected, classes, lowest)
        about = describe_ensemble(runs, rule, common)
        about["cost"] = _cost(graphs(), files[0])
        logger.info(
            f"The reloaded export gives the mean of the {len(runs)} members' probabilities, and "
            f"their decisions, for {len(files)} images: largest difference {difference:.1e}."
        )
        log_ensemble(about)
        for note in other_lungs_note(config, segmentation).values():
            logger.warning(note)
        description = _describe(runs, rule, config, segmentation, lung_masks, about)
        write_json(folder / "metadata.json", description)
        write_warm_up(folder, to.name, files)

    return publish(run, to, fill)


def graphs_of(
    ensemble: Ensemble, size: tuple[int, int], segmenter: Segmenter | None
) -> list[Graph]:
    """Returns the graphs from files' bytes to the answers of each member and, last, of all.

    Args:
        ensemble: The ensemble.
        size: The (height, width) of its input, in pixels.
        segmenter: Finds the lungs, if the answers need them or have their share.
    """
    answering: list[Answering] = [*ensemble.classifiers, ensemble.whole]
    return [traced(from_bytes(one, size, segmenter), files_spec()) for one in answering]


def expected_of_ensemble(
    ensemble: Ensemble,
    config: ClassificationConfig,
    store: Store,
    segmentation: Path | None,
    make_graphs: Callable[[], Sequence[Graph]],
    tolerance: float | None = None,
) -> Expected:
    """Returns what an export of an ensemble must answer for test images of the first run.

    Args:
        ensemble: The ensemble, whose members have rules.
        config: Of the first run, or of the first whose region of interest needs the lungs.
        store: Its images.
        segmentation: What finds the lungs in the export, or None.
        make_graphs: Calls ``graphs_of``; is called only where the runs' own tests do not say what
            is expected.
        tolerance: How far probabilities may differ, for what is borderline; None for what
            ``allowed_at`` gives.

    Raises:
        ValueError: If a GPU computed the runs, or OpenVINO a region of interest, and Keras does not
            nearly reproduce them.
    """
    runs, rule = ensemble.runs, ensemble.rule
    assert rule is not None
    run, classes = runs[0], runs[0].metrics["test"]["classes"]
    tested = [row["id"] for row in read_predictions(run.path / TEST)]
    examples = examples_of(store, split_folds(config.split)["test"], some_of(tested))
    files = [example["image"] for example in examples]
    ids = [example["id"].decode() for example in examples]
    common = common_predictions(runs, TEST)
    lowest = min(one.temperature for one in runs)
    other_lungs = bool(other_lungs_note(config, segmentation))
    if common is None or other_lungs or tolerance_of_runs(runs) is not None:
        with without_tf32():
            given = [graph(tf.constant(files)) for graph in make_graphs()]
        each = np.stack([one["probabilities"].numpy() for one in given[:-1]]).astype(np.float64)
        if common is not None and not other_lungs:
            difference = float(np.abs(each - _of_images(common, ids).probabilities).max())
            require_near_runs(runs, difference, lowest)
        answers: dict[str, Sequence[Any]] = {**answers_of(given[-1])}
    else:
        found = _of_images(common, ids)
        each = found.probabilities
        answers = decide_together(rule, found, classes).columns(classes)
    scores = np.array(answers["ood_score"], float)
    allowed = allowed_at(lowest) if tolerance is None else tolerance
    near = rule.borderline(each, scores, allowed, SCORE_TOLERANCE)
    return Expected(ids, files, each.mean(axis=0), answers, near)


def _of_images(found: CommonPredictions, ids: Sequence[str]) -> CommonPredictions:
    """Returns what is known of some images, in their order."""
    places = {row["id"]: place for place, row in enumerate(found.rows[0])}
    chosen = [places[image] for image in ids]
    rows = [[of[place] for place in chosen] for of in found.rows]
    return CommonPredictions(rows, found.truth[chosen], found.probabilities[:, chosen])


def _cost(graphs: Sequence[Graph], file: bytes) -> dict[str, Any]:
    """Measures the time for one image file, of each member and of the ensemble by turns."""
    image = tf.constant([file])
    times: list[list[float]] = [[] for _ in graphs]
    for _ in range(1 + _REPEATS):
        for graph, taken in zip(graphs, times, strict=True):
            started = time.perf_counter()
            graph(image)["probabilities"].numpy()
            taken.append(1000 * (time.perf_counter() - started))
    *members, whole = (statistics.median(taken[1:]) for taken in times)  # the first ones begin cold
    return {"milliseconds_of_members": members, "milliseconds": whole}


def _describe(
    runs: Sequence[Run],
    rule: EnsembleRule,
    config: ClassificationConfig,
    segmentation: Path | None,
    lung_masks: LungMaskCheck | None,
    about: dict[str, Any],
) -> dict[str, Any]:
    run = runs[0]
    classes = run.metrics["test"]["classes"]
    outputs = describe_outputs(
        len(classes),
        "the mean of the members', each after its temperature",
        about["decisions"],
        "over 0 if it is unlike the training images",
        rule.kinds,
    )
    described = describe(
        run,
        config.image_size,
        {
            "serving_default": outputs | (LUNG_OUTPUTS if segmentation else {}),
            "pixels": outputs,
        },
        (),
        {
            "classes": classes,
            IN_EVERY_SET: [classes[place] for place in rule.in_every_set],
            "ensemble": about,
            "segmentation": str(segmentation) if segmentation else None,
            "lung_masks": lung_masks and lung_masks.to_dict(),
            "input_region": "; ".join(dict.fromkeys(ROIS[one.roi].description for one in runs)),
            **other_lungs_note(config, segmentation),
        },
    )
    same, _ = divide_records([record_of(one) for one in runs])
    return described | same | {"name": ensemble_name(runs), "test_metrics": about["test"]}
