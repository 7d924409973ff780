"""Messages of the commands: what the package logs, printed to standard output."""

import logging
import sys
from typing import TextIO


class ConsoleHandler(logging.StreamHandler):
    """Prints to whatever ``sys.stdout`` is at that moment, so that redirection works."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The current standard output."""
        return sys.stdout

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Lets ``run_command`` end the command where nobody reads on, as after "| head"."""
        if isinstance(sys.exception(), BrokenPipeError):
            raise
        super().handleError(record)


def set_up_logging(level: int = logging.INFO) -> None:
    """Prints the package's messages; calling it again changes the level.

    Args:
        level: The lowest level printed: ``logging.WARNING`` for --quiet, ``logging.DEBUG`` for
            --verbose.
    """
    package = logging.getLogger("kerascxr")
    package.setLevel(logging.DEBUG)
    package.propagate = False  # TensorFlow's libraries may print the root logger's messages again
    for handler in package.handlers:
        if isinstance(handler, ConsoleHandler):
            handler.setLevel(level)
            return
    handler = ConsoleHandler()
    handler.setLevel(level)
    package.addHandler(handler)


def level_flags() -> list[str]:
    """Returns the options that give another command this one's level."""
    for handler in logging.getLogger("kerascxr").handlers:
        if isinstance(handler, ConsoleHandler):
            flags = {logging.WARNING: ["--quiet"], logging.DEBUG: ["--verbose"]}
            return flags.get(handler.level, [])
    return []
