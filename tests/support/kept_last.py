"""What was used last, a few of it."""

from collections import OrderedDict


class KeptLast(OrderedDict):
    """A dictionary of the values that were set or got last; the others are forgotten.

    Args:
        most: How many there are at most.
    """

    def __init__(self, most):
        super().__init__()
        self._most = most

    def __getitem__(self, key):
        value = super().__getitem__(key)
        self.move_to_end(key)
        return value

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self._most:
            del self[next(iter(self))]
