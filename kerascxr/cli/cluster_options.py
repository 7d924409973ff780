"""The options of commands that run on a cluster and have no config."""

from jsonargparse import ArgumentParser

from kerascxr.config import ResourcesConfig


def add_cluster(parser: ArgumentParser, does: str) -> None:
    """Adds the cluster, and what each of its workers takes.

    Args:
        parser: The command's parser.
        does: What is done there.
    """
    parser.add_argument(
        "--cluster",
        type=str | None,
        help=f'{does}: "local" on this machine, an address on a Ray cluster. It needs pip install '
        "'kerascxr[cluster]'.",
    )
    parser.add_class_arguments(ResourcesConfig, "resources")
