"""Export a run for TensorFlow Serving, for other runtimes, and as a page for the browser."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.program import program
from kerascxr.cli.start import start_tensorflow
from kerascxr.runs.reading import read_run
from kerascxr.serving.formats import FORMATS, find_format
from kerascxr.serving.model_folder import check_lungs, warn_of_run

logger = logging.getLogger(__name__)

SAVED_MODEL, WEB = "saved_model", "web"


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument(
        "runs",
        type=Path,
        nargs="+",
        help="The folder of a finished run. Several classification runs become one model, whose "
        "probabilities are the mean of theirs.",
    )
    made.add_argument("--to", type=Path, required=True, help="The model's folder.")
    made.add_argument(
        "--segmentation",
        type=Path | None,
        help="For a classifier: a finished segmentation run; adds lung masks to the answers. "
        "'package' is the lung model that comes with kerascxr.",
    )
    made.add_argument(
        "--format",
        type=list[str],
        default=[SAVED_MODEL],
        help=f"One or several of {SAVED_MODEL}, {WEB}, {', '.join(FORMATS)}, as onnx,litert.",
    )
    made.add_argument(
        "--onnxruntime",
        type=Path | None,
        help="For web: the file that `npm pack onnxruntime-web` wrote, for a machine without a "
        "network.",
    )
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv)
    known = (SAVED_MODEL, WEB, *FORMATS)
    if not values.format or not set(values.format) <= set(known):
        raise ValueError(
            f"--format must be one or several of {', '.join(known)}, as onnx,litert. "
            f"Got format={','.join(values.format)}."
        )
    _check_used(values)
    others = [name for name in dict.fromkeys(values.format) if name not in (SAVED_MODEL, WEB)]
    for name in others:
        find_format(name)  # a missing package is known before anything is written
    first, together = values.runs[0], len(values.runs) > 1
    if together:
        from kerascxr.evaluation.ensembles import check_members  # slow: not before --help

        check_members([read_run(path) for path in values.runs])
    is_unet = read_run(first).task == "segmentation"
    if WEB in values.format and is_unet:
        raise ValueError(f"--format web must be of classification runs. Got the U-Net {first}.")
    if is_unet and values.segmentation:
        raise ValueError(
            f"--segmentation must be left out for a U-Net. Got {str(values.segmentation)!r}."
        )
    check_lungs(values.segmentation)
    warn_of_run(first if is_unet else values.segmentation or first)
    start_tensorflow()
    from kerascxr.serving.export import export_run
    from kerascxr.serving.export_ensemble import export_ensemble
    from kerascxr.serving.export_formats import export_formats
    from kerascxr.serving.export_masks import export_masks

    if SAVED_MODEL in values.format and is_unet:
        export_masks(first, values.to)
    elif SAVED_MODEL in values.format and together:
        export_ensemble(values.runs, values.to, values.segmentation)
    elif SAVED_MODEL in values.format:
        export_run(first, values.to, values.segmentation)
    if WEB in values.format:
        from kerascxr.cli.web_pages import findings_of
        from kerascxr.serving.export_web import export_web

        findings = findings_of(values.runs)
        export_web(values.runs, values.to, values.segmentation, findings, values.onnxruntime)
        command = f"{program()} app {shlex.quote(str(values.to))}"
        logger.info(f"\nNext:\n  {command}\n      opens it in the browser")
    if others:
        export_formats(values.runs, values.to, others)


def _check_used(values: Namespace) -> None:
    """Checks that no option was given that the formats do not use.

    Raises:
        ValueError: If one was.
    """
    formats = ",".join(values.format)
    if values.segmentation and not {SAVED_MODEL, WEB} & set(values.format):
        raise ValueError(
            f"--segmentation must come with --format {SAVED_MODEL} or {WEB}: the others have no "
            f"lung masks. Got format={formats}."
        )
    if values.onnxruntime and WEB not in values.format:
        raise ValueError(f"--onnxruntime must come with --format {WEB}. Got format={formats}.")
