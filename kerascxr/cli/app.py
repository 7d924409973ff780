"""Read X-rays with a run in the browser; nothing leaves this machine."""

import logging
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.config import PACKAGED
from kerascxr.runs.cache import use
from kerascxr.runs.reading import read_run
from kerascxr.serving.model_folder import check_lungs
from kerascxr.serving.web_names import find_page
from kerascxr.serving.web_server import HOST, make_server

logger = logging.getLogger(__name__)


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument(
        "model",
        type=Path,
        help="The folder of a finished classification run, or of an export --format web.",
    )
    made.add_argument(
        "--segmentation",
        type=Path | None,
        default=PACKAGED,
        help="For a run: a finished segmentation run for the lungs' outlines, null for none. By "
        "default the lung model that comes with kerascxr, where its masks are plausible; for a run "
        "with a roi that of its training.",
    )
    made.add_argument(
        "--port", type=int | None, help="The port. By default the first free one from 8765 on."
    )
    made.add_argument("--browser", type=bool, default=True, help="Whether to open the browser.")
    made.add_argument(
        "--onnxruntime",
        type=Path | None,
        help="The file that `npm pack onnxruntime-web` wrote, for a machine without a network.",
    )
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command until Ctrl-C."""
    values = read_options(parser(prog), argv)
    place, kept = find_page(values.model), False
    if place is not None:
        for name, default in (("segmentation", PACKAGED), ("onnxruntime", None)):
            if values[name] != default:
                raise ValueError(
                    f"--{name} must be left out for a page, which was exported with its own. "
                    f"Got {values.model}, which is one."
                )
    if place is None:
        read_run(values.model, "classification")
        check_lungs(values.segmentation)
        start_tensorflow()
        from kerascxr.cli.web_pages import kept_page

        place, was_there = kept_page(values.model, values.segmentation, values.onnxruntime)
        kept = True
        if was_there:
            logger.info("The run's page is as it was exported before.")
    with make_server(place, values.port) as server:
        if kept:
            use(place.parent, server)
        address = f"http://{HOST}:{server.server_port}/"
        logger.warning(f"Serving {address} on this machine alone. Ctrl-C ends it.")
        if values.browser and not webbrowser.open(address):
            logger.info("No browser could be opened; open the address yourself.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            logger.info("Ended.")
