"""Progress bars: on a terminal, and not with --quiet."""

from typing import Any, ClassVar

from tqdm import tqdm


class ProgressBar(tqdm):
    """tqdm's bar on standard error, where that is a terminal and bars are shown.

    Attributes:
        shown: Whether bars are shown at all.

    Args:
        iterable: What to go through, or None.
        options: tqdm's.
    """

    shown: ClassVar[bool] = True

    def __init__(self, iterable: Any = None, **options: Any):
        disable = None if ProgressBar.shown else True  # None: unless it is a terminal
        super().__init__(iterable, **({"mininterval": 0.5, "disable": disable} | options))
