"""The processor: its name, and whether it computes in bfloat16."""

import os
import platform
import re
from pathlib import Path

_INFO = Path("/proc/cpuinfo")
_NUMBER_TYPES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def processor_name(info: Path = _INFO) -> str:
    """Returns the processor's name, the number of its cores that may be used, and number types.

    Args:
        info: What Linux states of its processors; other systems have no such file.
    """
    fields = _fields(info)
    name = fields.get("model name") or platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = fields.get("flags", "").split()
    return ", ".join([name, f"{cores} cores", *(flag for flag in _NUMBER_TYPES if flag in flags)])


def computes_bfloat16(info: Path = _INFO) -> bool:
    """Returns whether matrix products in bfloat16 are faster than in float32.

    They are with AVX512_BF16 or AMX, by oneDNN's kernels. Elsewhere TensorFlow emulates them.

    Args:
        info: See ``processor_name``.
    """
    flags = _fields(info).get("flags", "").split()
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
    return onednn and ("avx512_bf16" in flags or "amx_bf16" in flags)


def _fields(info: Path) -> dict[str, str]:
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    return dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, re.MULTILINE))
