"""Two calls of a function at once, for tests of locks."""

import contextlib
import threading
import time


class StoppedError(Exception):
    """Ends a call where the test has seen enough of it."""


class Busy:
    """Stands for a function that takes a while; notes how many calls are in it at once.

    Attributes:
        calls: How many calls there were.
        most: The largest number of calls that were in it at the same time.
    """

    def __init__(self):
        self.calls = self.most = self._inside = 0
        self._lock = threading.Lock()

    def __call__(self, *arguments):
        with self._lock:
            self.calls += 1
            self._inside += 1
            self.most = max(self.most, self._inside)
        time.sleep(0.2)
        with self._lock:
            self._inside -= 1
        raise StoppedError


def call_twice_at_once(function):
    """Calls a function in two threads, and waits for both."""

    def call():
        with contextlib.suppress(StoppedError):
            function()

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
