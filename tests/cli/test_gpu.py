"""A GPU that TensorFlow cannot use is one line with the reason."""

import subprocess

import pytest
import tensorflow as tf

from kerascxr.cli import gpu, start
from kerascxr.cli.gpu import unused_because, warn_of_unused_gpu

# What TensorFlow 2.21 prints; the first two were taken from it.
NO_DRIVER = """\
I0000 00:00:1795520735.651075 dso_loader.cc:144] Could not load dynamic library 'libcuda.so.1'; \
dlerror: libcuda.so.1: cannot open shared object file: No such file or directory
E0000 00:00:1795520735.651145 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: \
Failed call to cuInit: UNKNOWN ERROR (303)
"""
DRIVER_FAILS = NO_DRIVER.splitlines()[1]
NO_LIBRARIES = """\
I0000 00:00:1.5 dso_loader.cc:144] Could not load dynamic library 'libcudnn.so.9'; dlerror: x
I0000 00:00:1.5 dso_loader.cc:144] Could not load dynamic library 'libcublas.so.12'; dlerror: x
W0000 00:00:1.6 gpu_device.cc:2342] Cannot dlopen some GPU libraries. Please make sure the missing
Skipping registering GPU devices...
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (NO_DRIVER, "the NVIDIA driver's library libcuda.so.1 cannot be loaded."),
        (DRIVER_FAILS, "does not start (INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN"),
        (NO_LIBRARIES, "libcublas.so.12, libcudnn.so.9 cannot be loaded. pip install"),
        (NO_LIBRARIES.splitlines()[2], "libraries of CUDA or cuDNN cannot be loaded."),
        ("AssertionError: built without CUDA", "this TensorFlow is built without CUDA."),
        ("a\nSegmentation fault", "Its last message: Segmentation fault"),
        ("", "it gives no reason."),
    ],
)
def test_the_reason_is_what_tensorflow_printed(text, reason):
    assert reason in unused_because(text)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with a GPU, where TensorFlow prints ``NO_LIBRARIES``."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def run(command, **options):
        assert options["env"]["TF_CPP_MIN_LOG_LEVEL"] == "0"
        return subprocess.CompletedProcess(command, 0, "", NO_LIBRARIES)

    monkeypatch.setattr(gpu.subprocess, "run", run)
    return tmp_path


def test_a_gpu_without_its_libraries_is_one_line(machine, messages):
    warn_of_unused_gpu(machine)
    (line,) = messages()
    assert "has a GPU" in line and "libcudnn.so.9" in line and "on the CPU" in line


def test_no_gpu_or_one_that_is_hidden_on_purpose_is_no_line(
    machine, tmp_path, monkeypatch, messages
):
    warn_of_unused_gpu(tmp_path / "elsewhere")
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        warn_of_unused_gpu(machine)
    assert messages() == []


def test_a_check_that_hangs_does_not_stop_the_command(machine, monkeypatch, messages):
    def run(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(gpu.subprocess, "run", run)
    warn_of_unused_gpu(machine)
    assert "The check took over 120 seconds." in messages()[0]


@pytest.fixture
def checks(monkeypatch):
    """The GPU checks that ``start_tensorflow`` makes, as those of a new process."""
    calls = []
    monkeypatch.setattr(start, "warn_of_unused_gpu", lambda: calls.append(1))
    start._look_for_gpu.cache_clear()
    yield calls
    start._look_for_gpu.cache_clear()


@pytest.mark.parametrize("level", [None, "0", "3"])
def test_start_checks_once_whatever_the_level_of_tensorflows_messages(checks, monkeypatch, level):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    if level:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    start.start_tensorflow()
    start.start_tensorflow()
    assert checks == [1]


def test_start_checks_only_where_tensorflow_finds_no_gpu(checks, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    start.start_tensorflow()
    assert checks == []
