"""Search a data set for duplicates, leaks and shortcuts."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.config import DataConfig
from kerascxr.data.sources.open import check_source, open_source


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("source", help="What --data.source takes.")
    made.add_argument("--to", type=Path, default=Path("audit"), help="Folder of the audit.")
    made.add_class_arguments(DataConfig, skip={"source", "features", "features_gb", "cache"})
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv).as_dict()
    to = values.pop("to")
    data = DataConfig(**values)
    from kerascxr.report.leakage import KIND, headlines, write_audit
    from kerascxr.runs.atomic import check_replaceable

    check_replaceable(to, KIND)
    check_source(data.source)
    start_tensorflow()
    from kerascxr.audits.leakage import audit
    from kerascxr.data.ingest.store import open_store

    source = open_source(
        data.source, phantom_images=data.phantom_images, phantom_seed=data.phantom_seed
    )
    store = open_store(source, data.stores, data.stores_gb)
    store.require_folds()
    found = audit(source, store)
    page = write_audit(found, to)
    print("\n".join(headlines(found.summary)))
    print(f"Written: {page}")
