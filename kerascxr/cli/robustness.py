"""Test a finished run, or several as one model, on corrupted copies of its test images."""

import logging
from collections.abc import Sequence

from jsonargparse import ArgumentParser

from kerascxr.cli.cluster_options import add_cluster
from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.cli.tested_runs import add_tested_runs, check_tested_runs
from kerascxr.cluster.ray_cluster import require_ray
from kerascxr.runs.folder import RunFolder

logger = logging.getLogger(__name__)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    add_tested_runs(made)
    add_cluster(made, "Makes several tests at once")
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv)
    require_ray(values.cluster)
    check_tested_runs(values.runs, values.to)
    start_tensorflow()
    from kerascxr.audits.robustness import measure_ensemble, measure_robustness
    from kerascxr.report.robustness import robustness_markdown, robustness_text

    place = values.to or values.runs[0]
    at_once = (values.cluster, values.resources) if values.cluster else None
    if values.to:
        result = measure_ensemble(values.runs, place, at_once)
    else:
        result = measure_robustness(place, at_once)
    folder = RunFolder(place)
    folder.write_text("robustness/robustness.md", robustness_markdown(result))
    logger.info(f"\n{result['title']}\n\n{robustness_text(result)}\n")
    logger.info(f"Written to {place / 'robustness'}")
