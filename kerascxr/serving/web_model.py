"""What a browser page is made of: a finished run, or an ensemble, with what finds the lungs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kerascxr.config import ClassificationConfig
from kerascxr.data.ingest.store import Store
from kerascxr.data.roi import ROIS
from kerascxr.evaluation.ensembles import read_members
from kerascxr.models.decision_rule import FILE, DecisionRule
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.models.graphs import traced
from kerascxr.models.saved import computes_in_16_bits, load_saved
from kerascxr.models.segmenter import Segmenter
from kerascxr.names import look_up
from kerascxr.parsing import load_config
from kerascxr.runs.inflated_scores import require_fair_scores
from kerascxr.runs.reading import Run, read_run
from kerascxr.serving.ensemble import build_ensemble, ensemble_name
from kerascxr.serving.export import (
    check_lung_masks,
    expected_of_keras,
    expected_of_test,
    other_lungs_note,
)
from kerascxr.serving.export_ensemble import expected_of_ensemble, graphs_of
from kerascxr.serving.graph import Classifier, from_bytes
from kerascxr.serving.publishing import files_spec
from kerascxr.serving.read_back import Expected
from kerascxr.serving.web_graphs import Member
from kerascxr.training.inputs import open_run_store
from kerascxr.training.lungs import choose_lungs, load_segmenter, require_same_lungs

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""Of a probability: the weights are stored in 16 bits."""


@dataclass(frozen=True)
class Lungs:
    """What finds the lungs.

    Attributes:
        path: A segmentation run or ``PACKAGED``.
        segmenter: Its U-Net.
    """

    path: Path
    segmenter: Segmenter


@dataclass(frozen=True)
class PageModel:
    """What a page's model is made of.

    Attributes:
        runs: The run; several are an ensemble's members.
        config: Of the first run.
        store: Its images.
        members: The runs' classifiers.
        together: The ensemble's rule; None for one run.
        lungs: What finds the lungs, or None.
        expected: What the model must answer for some test images.
        note: What must be said beside the test's scores, or "".
    """

    runs: list[Run]
    config: ClassificationConfig
    store: Store
    members: list[Member]
    together: EnsembleRule | None
    lungs: Lungs | None
    expected: Expected
    note: str

    @property
    def rule(self) -> DecisionRule | EnsembleRule:
        """What decides."""
        return self.members[0].rule if self.together is None else self.together

    @property
    def name(self) -> str:
        """What to call it."""
        return self.runs[0].name if self.together is None else ensemble_name(self.runs)

    @property
    def classes(self) -> list[str]:
        """The class names."""
        return list(self.runs[0].metrics["test"]["classes"])


def read_page_model(paths: Sequence[Path], segmentation: Path | None) -> PageModel:
    """Reads one finished classification run, or several as an ensemble.

    Args:
        paths: The runs.
        segmentation: What finds the lungs, a segmentation run or ``PACKAGED``; None for nothing, or
            where the region of interest needs the lungs for what the run was trained with.

    Raises:
        ValueError: See ``export_web``.
    """
    together = len(paths) > 1
    runs = read_members(paths) if together else [read_run(paths[0], "classification")]
    run = runs[0]
    config = load_config(ClassificationConfig, run.path / "config.yaml")
    if not together:
        require_fair_scores(run)
    needed = look_up(ROIS, config.roi, "roi").needs_lungs
    if needed:
        if segmentation is None:
            require_same_lungs(run)
        segmentation = segmentation or config.lungs
    ensemble = build_ensemble(runs) if together else None
    models = ensemble.models if ensemble else [load_saved(run.path / "model.keras")]
    rules = [DecisionRule.load(one.path / FILE) for one in runs]
    members = [
        Member(model, rule, one.temperature)
        for one, model, rule in zip(runs, models, rules, strict=True)
    ]
    for one, member in zip(runs, members, strict=True):
        if computes_in_16_bits(member.model):
            raise ValueError(
                f"the browser page computes in float32. Got {one.path}, whose model does not."
            )
    store = open_run_store(run, config.data)
    lungs = None
    if segmentation is not None or needed:
        segmentation = choose_lungs(segmentation)
        lungs = Lungs(segmentation, load_segmenter(segmentation))
        check_lung_masks(segmentation, config, store)
    note = other_lungs_note(config, segmentation).get("test_metrics_note", "")
    if note:
        logger.warning(note)
    segmenter = lungs.segmenter if lungs else None
    size = (config.image_size[0], config.image_size[1])

    asked = segmenter if needed else None

    if ensemble:
        make_graphs = partial(graphs_of, ensemble, size, asked)
        expected = expected_of_ensemble(
            ensemble, config, store, segmentation, make_graphs, TOLERANCE
        )
    else:
        expected = expected_of_test(run, config, store, rules[0], TOLERANCE)
        if note:
            classes = run.metrics["test"]["classes"]
            classifier = Classifier(models[0], classes, rules[0], run.temperature, config.roi)
            graph = traced(from_bytes(classifier, size, asked), files_spec())
            expected = expected_of_keras(run, graph, expected, rules[0], TOLERANCE)
    rule = ensemble.rule if ensemble else None
    return PageModel(runs, config, store, members, rule, lungs, expected, note)
