"""Errors of commands: one line on standard error, and an exit code."""

import errno
import os
import subprocess
import sys

import pytest

from kerascxr.cli import start
from kerascxr.cli.start import run_command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("epochs must be\npositive"), 2, "epochs must be positive"),
        (ArithmeticError("the loss must stay finite"), 1, "the loss must stay finite"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a/model.keras"),
            2,
            "[Errno 28] No space left on device: 'runs/a/model.keras'. Free some space, then give "
            "the same command again.",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs"),
            2,
            "[Errno 13] Permission denied: 'runs'. Give another folder, or change the permissions "
            "of this one.",
        ),
    ],
)
def test_an_error_is_one_line(capsys, error, code, said):
    def fail(argv, prog):
        raise error

    assert run_command(fail, [], "kerascxr x") == code
    assert capsys.readouterr().err == f"kerascxr x: error: {said}\n"


def test_a_reader_that_stops_ends_a_command_without_a_traceback():
    script = (
        "import logging, sys\n"
        "from kerascxr.cli.start import run_command\n"
        "log = logging.getLogger('kerascxr.x')\n"
        "sys.stdout.reconfigure(line_buffering=True)\n"
        "sys.exit(run_command(lambda argv, prog: [log.info('line') for _ in range(9999)], [], 'x'))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout.readline() == "line\n"
        command.stdout.close()
        assert command.stderr.read() == ""
    assert command.returncode == 1


def in_a_new_process(body, level=None):
    """Runs a command's function in a new process; returns what it printed to standard error."""
    script = (
        "import sys\n"
        "from kerascxr.cli.start import run_command, start_tensorflow\n"
        "def run(argv, prog):\n"
        f"    start_tensorflow()\n{body}"
        "sys.exit(run_command(run, sys.argv[1:], 'x'))"
    )
    environment = {name: value for name, value in os.environ.items() if name != LEVEL}
    done = subprocess.run(
        [sys.executable, "-c", script, "--quiet"],
        capture_output=True,
        text=True,
        env=environment | ({LEVEL: level} if level else {}),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


LEVEL = "TF_CPP_MIN_LOG_LEVEL"
TRACES = """
    import keras, numpy as np
    for n in range(8):
        model = keras.Sequential([keras.Input((n + 1,)), keras.layers.Dense(1)])
        model.predict(np.zeros((2, n + 1)), verbose=0)
    import logging, os
    logging.getLogger("tensorflow").warning("a warning")
    os.write(2, b"an error")
"""


def test_a_quiet_command_prints_nothing_of_tensorflows_start_and_tracing():
    shown = in_a_new_process(TRACES)
    assert shown == "WARNING:tensorflow:a warning\nan error"


def test_whoever_asks_for_tensorflows_messages_gets_them():
    assert "I0000" in in_a_new_process("    pass\n", "0")


def test_what_is_no_message_of_a_start_is_not_held_back(capfd):
    with start._without_start_messages():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called ...\n")
        os.write(2, b"I0000 00:00:1.2  3 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"E0000 00:00:1.2  3 cuda_platform.cc:52] failed call to cuInit: INTERNAL\n")
        os.write(2, b"E0000 00:00:1.2  3 some.cc:52] the file system is damaged\n")
    assert capfd.readouterr().err == "E0000 00:00:1.2  3 some.cc:52] the file system is damaged\n"
    with pytest.raises(ImportError), start._without_start_messages():
        os.write(2, b"I0000 00:00:1.2  3 port.cc:153] all of it\n")
        raise ImportError
    assert "all of it" in capfd.readouterr().err
