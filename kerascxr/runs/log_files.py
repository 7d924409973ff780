"""The log file of a run, which must not end that run."""

import contextlib
import logging
import sys


class LogFile(logging.FileHandler):
    """A log file that leaves out what cannot be written, silently.

    On a full disk the files that matter fail as well, and their error is the one to report.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Prints a traceback, as logging does, but not for an error of the disk."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Closes the file; what is left to write may not fit."""
        with contextlib.suppress(OSError):
            super().close()
