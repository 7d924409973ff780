"""Errors of commands: one line on standard error, and an exit code."""

import errno
import subprocess
import sys

import pytest

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
