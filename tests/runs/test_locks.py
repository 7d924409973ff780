"""Locks: one process at a time, and a killed process holds none."""

import subprocess
import sys
import threading

from kerascxr.runs.locks import locked

HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from kerascxr.runs.locks import locked\n"
    "with locked(Path(sys.argv[1]), 'waiting'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def test_a_second_process_waits_until_the_first_is_gone(tmp_path, messages):
    path = tmp_path / "new" / ".lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        entered = threading.Event()

        def wait():
            with locked(path, "Somebody else is at it."):
                entered.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert not entered.wait(0.3)
        assert messages() == ["Somebody else is at it."]
        process.kill()
        assert entered.wait(10)
        thread.join()


def test_a_free_lock_is_taken_without_a_word(tmp_path, messages):
    for _ in range(2):
        with locked(tmp_path / ".lock", "waiting"):
            pass
    assert messages() == []
