"""Finds out why TensorFlow does not use a GPU that the machine has."""

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

logger = logging.getLogger(__name__)

_PROBE = (
    "import tensorflow as tf\n"
    "assert tf.test.is_built_with_cuda(), 'built without CUDA'\n"
    "tf.config.list_physical_devices('GPU')\n"
)
_TIMEOUT_SECONDS = 120
_HINT = 'pip install "tensorflow[and-cuda]" installs CUDA and cuDNN.'


def warn_of_unused_gpu(root: Path = Path("/")) -> None:
    """Logs one line if the machine has an NVIDIA GPU; TensorFlow must have found that it has none.

    TensorFlow logs the reason at a level that is off in this process and cannot be changed any
    more, so another process imports it again. That takes seconds, on such a machine alone.

    Args:
        root: Where the system's files are.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not _has_gpu(root):
        return
    # TensorFlow names the libraries that it misses at this level only.
    levels = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"}
    try:
        found = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            errors="replace",
            env=os.environ | levels,
            timeout=_TIMEOUT_SECONDS,
        )
        text = found.stderr
    except subprocess.TimeoutExpired:
        text = f"The check took over {_TIMEOUT_SECONDS} seconds."
    logger.warning(
        f"This machine has a GPU, and TensorFlow cannot use it: {unused_because(text)} Everything "
        "runs on the CPU. (CUDA_VISIBLE_DEVICES=-1 stops this check.)"
    )


def unused_because(text: str) -> str:
    """Returns why TensorFlow uses no GPU, as one or two sentences.

    Args:
        text: What it printed to standard error while it looked for one.
    """
    libraries = sorted(set(re.findall(r"Could not load dynamic library '([^']+)'", text)))
    driver = re.search(r"failed call to cuInit: (.+)", text)
    if "libcuda.so.1" in libraries:
        return "the NVIDIA driver's library libcuda.so.1 cannot be loaded."
    if driver:
        return f"the NVIDIA driver does not start ({driver[1].strip()})."
    if libraries:
        return f"{', '.join(libraries)} cannot be loaded. {_HINT}"
    if "Cannot dlopen some GPU libraries" in text:
        return f"libraries of CUDA or cuDNN cannot be loaded. {_HINT}"
    if "built without CUDA" in text:
        return f"this TensorFlow is built without CUDA. {_HINT}"
    last = text.strip().splitlines()[-1:]
    return f"the reason is unknown. Its last message: {last[0]}" if last else "it gives no reason."


def _has_gpu(root: Path) -> bool:
    cards = (*root.glob("dev/nvidia[0-9]*"), *root.glob("proc/driver/nvidia/gpus/*"))
    in_wsl = (root / "dev/dxg").exists() and shutil.which("nvidia-smi") is not None
    return bool(cards) or in_wsl
