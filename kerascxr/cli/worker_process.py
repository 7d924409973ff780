"""What ``--workers`` starts: a training command, as one of several workers on this machine."""

import sys
from collections.abc import Sequence

from kerascxr.cli.main import main
from kerascxr.cluster.local_workers import end_with_starter
from kerascxr.cluster.worker import load_script


def run(argv: Sequence[str]) -> int:
    """Runs a command; returns its exit code.

    Args:
        argv: The user's script, which may add entries to registries, or ""; then the command and
            its arguments.
    """
    script, *arguments = argv
    end_with_starter()
    if script:
        load_script(script)
    return main(arguments, script=script or None)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
