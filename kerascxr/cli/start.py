"""From a command line to a run: what is wrong with the input comes out as one line, with code 2."""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from kerascxr.cli.logs import set_up_logging
from kerascxr.parsing import parse_config
from kerascxr.runs.folder import RunFolder
from kerascxr.tables import metrics_text

logger = logging.getLogger(__name__)


def run_trainer(
    task: str,
    config_class: type,
    argv: Sequence[str] | None,
    prog: str,
    default_name: Callable[[Any], str],
    trainer: Callable[[], Callable[[Any, RunFolder], Any]],
) -> int:
    """Parses a trainer's command line and runs it in its run folder.

    Args:
        task: "classification" or "segmentation".
        config_class: The config.
        argv: Arguments, or None for the process's own.
        prog: The command's name.
        default_name: The run's name where the config gives none.
        trainer: Imports and returns the train function; called only once the config is right, so
            that --help does not wait for TensorFlow.

    Returns:
        0 after a finished run, 1 if training broke down, 2 for wrong input, 130 after Ctrl-C.
    """
    config: Any = parse_config(config_class, argv, prog)
    set_up_logging()

    def load() -> Callable[[Any, RunFolder], Any]:
        start_tensorflow()
        return trainer()

    try:
        folder = RunFolder.start(config, task, default_name(config))
        if config.folds > 1 or config.seeds > 1:
            from kerascxr.training.repeats import run_repeats

            run_repeats(config, folder, load)
            return 0
        if folder.finished:
            when = (folder.path / "DONE").read_text(encoding="utf-8").strip()
            metrics = json.loads((folder.path / "metrics.json").read_text(encoding="utf-8"))
            logger.info(
                f"{folder.path} holds this run, finished {when}. Its results:\n\n"
                f"{metrics_text(metrics['test'])}\n\n"
                "To train again, give --overwrite true or another --name."
            )
            return 0
        with folder.log_file():
            load()(config, folder)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    except (ValueError, OSError, ArithmeticError) as error:
        return report(prog, error, 1 if isinstance(error, ArithmeticError) else 2)
    return 0


def report(prog: str, error: Exception, code: int) -> int:
    """Prints an error as one line, whole with KERASCXR_TRACEBACK=1; returns the exit code."""
    if os.environ.get("KERASCXR_TRACEBACK"):
        raise error
    print(f"{prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def start_tensorflow() -> None:
    """Imports TensorFlow with oneDNN's kernels and without its start-up chatter.

    TensorFlow leaves oneDNN off on CPUs without AVX-512, where a training step of the U-Net was
    about twice as fast with it. The user's own TF_ENABLE_ONEDNN_OPTS and TF_CPP_MIN_LOG_LEVEL win.

    Some of the chatter ignores that variable, so it is caught on its way to standard error, and let
    through if the import fails.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            import tensorflow as tf
            import tensorflow_datasets  # noqa: F401  (its TensorFlow part greets once more)

            tf.config.list_physical_devices()
        except BaseException:
            caught.seek(0)
            os.write(kept, caught.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
