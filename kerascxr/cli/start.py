"""How every command starts and ends: verbosity, TensorFlow, and errors as one line."""

import contextlib
import errno
import functools
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from kerascxr.cli.gpu import warn_of_unused_gpu
from kerascxr.cli.logs import set_up_logging
from kerascxr.cluster.several_workers import LostWorkerError
from kerascxr.progress import ProgressBar

_HINTS = {
    errno.ENOSPC: ". Free some space, then give the same command again.",
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        ". Give another folder, or change the permissions of this one.",
    ),
}
_START_MESSAGE = re.compile(
    rb"I0000 |WARNING: All log messages before absl::InitializeLog|To enable the following instr"
    rb"|[EW]0000 .*(failed call to cuInit|Unable to register cu|computation placer already)"
    rb"|[EW]0000 .*Cannot dlopen some GPU libraries|Skipping registering GPU devices"
)
_LEVELS = {"--quiet": logging.WARNING, "--verbose": logging.DEBUG}


def run_command(
    run: Callable[[Sequence[str], str], int | None], argv: Sequence[str] | None, prog: str
) -> int:
    """Runs a command.

    Args:
        run: The command; it gets its arguments, without --quiet and --verbose, and ``prog``.
        argv: Arguments, or None for the process's own.
        prog: The command's name, for messages.

    Returns:
        0 or what the command returns; 1 if training broke down or lost a worker, 2 for wrong
        input, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    levels = [_LEVELS[item] for item in arguments if item in _LEVELS]
    level = levels[-1] if levels else logging.INFO
    set_up_logging(level)
    ProgressBar.shown = level <= logging.INFO
    if level == logging.DEBUG:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0")
    try:
        return run([item for item in arguments if item not in _LEVELS], prog) or 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # such as "| head": nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (ValueError, OSError) as error:
        return print_error(prog, error, 2)
    except (ArithmeticError, LostWorkerError) as error:
        return print_error(prog, error, 1)


def print_error(prog: str, error: Exception, code: int) -> int:
    """Prints an error as one line, whole with KERASCXR_TRACEBACK=1; returns the exit code."""
    if os.environ.get("KERASCXR_TRACEBACK"):
        raise error
    hint = _HINTS.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    print(f"{prog}: error: {' '.join(str(error).split())}{hint}", file=sys.stderr)
    return code


def set_tensorflow_variables() -> None:
    """Sets what TensorFlow reads when it is imported, here or in a worker: see below."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def start_tensorflow() -> None:
    """Imports TensorFlow with oneDNN's kernels and without its start-up messages.

    TensorFlow leaves oneDNN off on CPUs without AVX-512, where a training step of the U-Net was
    about twice as fast with it. The user's own TF_ENABLE_ONEDNN_OPTS and TF_CPP_MIN_LOG_LEVEL win;
    0 shows all messages, as --verbose does. The level is 3 otherwise: at 2, kernels that fall back
    to others log that as an error. TensorFlow's errors are exceptions.

    Some messages ignore that variable, so standard error is captured during the import. What is no
    known message of the start is printed afterwards, and all of it if the import fails. A GPU that
    the machine has and TensorFlow does not use is one line, whatever that variable says.
    """
    set_tensorflow_variables()
    if os.environ["TF_CPP_MIN_LOG_LEVEL"] != "0":
        with _without_start_messages():
            import tensorflow_datasets  # noqa: F401  (its TensorFlow part prints messages too)

            _has_gpu()
        # Each of an audit's models is traced once; TensorFlow counts them as one function's.
        logging.getLogger("tensorflow").addFilter(_is_no_retracing)
    _look_for_gpu()


def _is_no_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in str(record.msg)


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@functools.cache  # a process says it once
def _look_for_gpu() -> None:
    if not _has_gpu():
        warn_of_unused_gpu()


@contextlib.contextmanager
def _without_start_messages() -> Iterator[None]:
    """Holds standard error back; then prints its lines that are not TensorFlow's usual ones.

    If the block fails, all of it is printed.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException:
            caught.seek(0)
            os.write(kept, caught.read())
            raise
        else:
            caught.seek(0)
            lines = caught.read().splitlines(keepends=True)
            os.write(kept, b"".join(line for line in lines if not _START_MESSAGE.match(line)))
        finally:
            os.dup2(kept, 2)
            os.close(kept)
