"""Shared by all tests: no network, no TensorFlow chatter, small stores made once."""

import gc
import logging
import os
import socket
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands do
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Small tensors, and a worker of pytest-xdist for each core: more threads only wait for each other.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock
from hypothesis import settings

gc.disable()  # until all tests are imported, see short_preparations
settings.register_profile("kerascxr", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("kerascxr")

# Files that take longest, in this order: or one worker would end with them alone.
_LONG = (
    "test_cluster.py",
    "test_several_workers.py",
    "test_classifier.py",
    "test_input_ablations.py",
    "test_train_cls.py",
    "test_lungs.py",
    "test_ensemble.py",
    "test_web_page.py",
    "test_sharing.py",
    "test_precision.py",
    "test_roi_export.py",
    "test_train_seg.py",
    "test_start.py",
    "test_export.py",
    "test_weights.py",
    "test_ways_of_training.py",
    "test_predict.py",
    "test_extending.py",
    "test_pretraining.py",
    "test_documented_commands.py",
    "test_robustness.py",
    "test_faults.py",
    "test_public_api.py",
    "test_engines.py",
    "test_callbacks.py",
    "test_repeats.py",
    "test_export_masks.py",
    "test_notebooks.py",
    "test_app.py",
    "test_graph.py",
    "test_phantom.py",
    "test_store.py",
)

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def pytest_collection_modifyitems(items):
    """Puts the longest files first; pytest-xdist gives them out whole, in this order."""
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_sessionfinish():
    """Keeps what the tests have made out of pytest's last collections of garbage."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Lays out and draws figures only for tests marked ``figures``: that takes 30 % of a training.

    The hook holds for the fixtures too that a test is the first to need.
    """
    if item.get_closest_marker("figures"):
        return (yield)
    from tests.support.no_figures import without_figures

    with without_figures():
        return (yield)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Leaves out what only a power failure would show."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture(autouse=True)
def few_buckets():
    """Lets TFDS name 10 temporary files a split in place of 1,000; small splits need none."""
    if "tensorflow_datasets.core.shuffle" in sys.modules:
        sys.modules["tensorflow_datasets.core.shuffle"].BUCKETS_NUMBER = 10


@pytest.fixture(autouse=True)
def messages_of_the_package(caplog):
    """Gives ``caplog`` what the package logs, which a command keeps from the root logger."""
    package = logging.getLogger("kerascxr")
    caplog.set_level(logging.INFO, "kerascxr")
    package.propagate = False
    package.addHandler(caplog.handler)
    yield
    package.removeHandler(caplog.handler)


class _Messages:
    """What the package has logged since the last ``clear``."""

    def __init__(self, caplog):
        self._caplog = caplog

    def __call__(self):
        records = self._caplog.records
        return [item.getMessage() for item in records if item.name.startswith("kerascxr")]

    def clear(self):
        self._caplog.clear()


@pytest.fixture
def messages(caplog):
    """``messages()`` lists what the package has logged."""
    return _Messages(caplog)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Lets no test reach anything but this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != socket.AF_UNIX and address[0] not in _LOOPBACK:
            raise OSError(f"tests must not use the network, and {address} is on it")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder that all workers of pytest-xdist share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def phantom_store(shared_folder):
    """A store of 160 small drawings, shared by tests that only read it."""
    from kerascxr.data.ingest.store import open_store
    from kerascxr.data.sources.open import open_source

    source = open_source("phantom", phantom_images=160, phantom_seed=0)
    return open_store(source, shared_folder / "stores")


@pytest.fixture(scope="session", autouse=True)
def tiny_backbone():
    """Adds a backbone that trains in a moment; tests of all backbones are collected before."""
    from kerascxr.models.backbones import BACKBONES
    from tests.support.tiny_backbone import TINY

    BACKBONES["tiny"] = TINY


@pytest.fixture(scope="session", autouse=True)
def shallow_unet():
    """Gives U-Nets one stage; tests of the U-Net itself take ``whole_unet``."""
    from tests.support.unet_stages import set_stages

    with pytest.MonkeyPatch.context() as patched:
        set_stages(patched, 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def float32_on_every_cpu():
    """Lets no test depend on this CPU: some compute in bfloat16, and training would choose it."""
    from kerascxr.training import processor

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(processor, "computes_bfloat16", lambda: False)
        yield


@pytest.fixture(scope="module")
def whole_unet():
    """Gives U-Nets the four stages that users' U-Nets have."""
    from tests.support.unet_stages import WHOLE, set_stages

    with pytest.MonkeyPatch.context() as patched:
        set_stages(patched, WHOLE)
        yield


@pytest.fixture(scope="session", autouse=True)
def few_trees():
    """Lets an audit's forests of histograms have 50 trees; 500 take as long as a training."""
    if "kerascxr.audits.input_ablations" in sys.modules:
        sys.modules["kerascxr.audits.input_ablations"]._TREES = 50


@pytest.fixture(scope="session", autouse=True)
def short_preparations(tiny_backbone):
    """Leaves out what pays only in long processes and with large models."""
    from tests.support.short_preparations import (
        leave_garbage_to_python,
        leave_graphs_as_they_are,
        leave_modules_alone,
        leave_stacks_alone,
    )

    leave_graphs_as_they_are()
    leave_modules_alone()
    leave_garbage_to_python()
    leave_stacks_alone()


@pytest.fixture(scope="session", autouse=True)
def files_read_once():
    """Lets commands that read the same images of the same store, or the same model, share them."""
    if "kerascxr.training.inputs" not in sys.modules:
        yield
        return
    from tests.support import images_read_once, models_read_once

    with pytest.MonkeyPatch.context() as patched:
        images_read_once.read_once(patched)
        models_read_once.read_once(patched)
        yield


@pytest.fixture(scope="session", autouse=True)
def phantoms_drawn_once(shared_folder):
    """Lets tests of all workers share the phantom's drawings; tests of the phantom draw anew."""
    from tests.support.drawn_once import draw_once

    with pytest.MonkeyPatch.context() as patched:
        draw_once(patched, shared_folder / "drawings")
        yield


@pytest.fixture(scope="module")
def any_lung_masks():
    """Accepts masks that cannot be lungs: of small U-Nets, or in images of no chest."""
    from kerascxr.evaluation import lung_masks

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lung_masks, "MOST_IMPLAUSIBLE", 1.0)
        yield


@pytest.fixture(scope="session")
def served(shared_folder):
    """A folder with images in set/ and pairs in lungs/, and a run of each in runs/, all read-only.

    The worker that needs it first makes it for all.
    """
    folder = shared_folder / "served"
    with FileLock(shared_folder / "served.lock"):
        if not (folder / "runs/segmentation/lungs/DONE").exists():
            _train_both(folder)
    return folder


def _train_both(folder):
    import train_cls
    import train_seg
    from tests.support.small_runs import SMALL_UNET, arguments, bright_and_dark, pairs

    bright_and_dark(folder / "set")
    argv = arguments(folder, "--data.source", f"{folder}/set", "--depth", "0")
    argv += ["--feature_engine", "auto"]  # as users' runs
    assert train_cls.main([*argv, "--epochs", "2", "--name", "first"]) == 0
    places = ["--runs", f"{folder}/runs", "--data.stores", f"{folder}/stores"]
    lungs = ["--data.source", pairs(folder / "lungs"), "--name", "lungs"]
    assert train_seg.main([*places, *SMALL_UNET, *lungs]) == 0


@pytest.fixture(scope="session")
def runs(served):
    """The two runs' folders."""
    return served / "runs/classification/first", served / "runs/segmentation/lungs"
