"""Check a data set and ingest it into a store; "data audit" searches it for leaks and shortcuts."""

import dataclasses
import logging
from collections.abc import Sequence

from jsonargparse import ArgumentParser

from kerascxr.cli import data_audit
from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.config import DataConfig
from kerascxr.data.sources.open import check_source

logger = logging.getLogger(__name__)

GROUPS = {"Your images": ("path", "source"), "The store": ("stores", "stores_gb")}


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("path", nargs="?", help="The data set; the same as --source.")
    made.add_class_arguments(DataConfig)
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command.

    Raises:
        ValueError: If the data set is given twice.
    """
    if argv and argv[0] == "audit":
        data_audit.run(argv[1:], f"{prog} audit")
        return
    values = read_options(parser(prog), argv, GROUPS).as_dict()
    path = values.pop("path")
    data = DataConfig(**values)
    if path is not None:
        if data.source not in (DataConfig.source, path):
            raise ValueError(
                f"the data set must be given once. Got path={path!r}, source={data.source!r}."
            )
        data = dataclasses.replace(data, source=path)
    check_source(data.source)
    start_tensorflow()
    from kerascxr.training.inputs import open_data

    store = open_data(data)
    logger.info(f"The store is in {store.path}.")
    try:
        store.require_folds()
    except ValueError as error:
        logger.warning(f"Enough for evaluate, not for a training: {error}")
