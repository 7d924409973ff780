"""Several runs at once: the numbers of one after the other, whatever fails or is killed.

The workers of Ray are processes of their own; ``tests/support/cluster_parts.py`` is what they call.
What needs none is in ``test_parts.py`` and ``test_workers.py``.
"""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kerascxr import __main__ as verbs
from kerascxr.cli import study_runs
from kerascxr.cluster.ray_cluster import connected
from kerascxr.serving import predict_on_cluster
from tests.support import cluster_parts
from tests.support.small_runs import bright_and_dark

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="pip install 'kerascxr[cluster]' lifts it"
)

# Each worker imports TensorFlow. One at a time is enough where being several is not tested.
ONE_AT_ONCE = ["--resources.cpus", str(os.cpu_count())]
ONE_WORKER = ["--cluster", "local", *ONE_AT_ONCE]
FILES = ("metrics.json", "predictions.csv", "validation_predictions.csv", "history.csv")

SCRIPT = """
import sys
from kerascxr.__main__ import main
from kerascxr.cli import study_runs
from kerascxr.models.backbones import BACKBONES
from kerascxr.training import processor
from tests.support import cluster_parts
from tests.support.short_preparations import leave_graphs_as_they_are
from tests.support.tiny_backbone import TINY

BACKBONES["tiny"] = TINY
leave_graphs_as_they_are()
processor.computes_bfloat16 = lambda: False
study_runs.train_in_worker = cluster_parts.train_in_study
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    bright_and_dark(folder / "set")
    return folder


@pytest.fixture(scope="module")
def cluster(workplace):
    """Ray on this machine; what fails in it is named by files in a folder."""
    faults = workplace / "faults"
    faults.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(cluster_parts.FAULTS, str(faults))
        patched.setenv("PYTHONPATH", str(ROOT))
        patched.setattr(study_runs, "train_in_worker", cluster_parts.train_in_study)
        patched.setattr(predict_on_cluster, "load_chosen", cluster_parts.load_chosen)
        with connected("local"):
            yield faults


def without_times(path):
    if path.suffix == ".csv" and path.name.startswith("history"):
        header, *rows = (line.split(",") for line in path.read_text().splitlines())
        place = header.index("seconds")
        return [row[:place] + row[place + 1 :] for row in rows]
    return path.read_bytes()


def same_runs(one, other):
    for name in FILES:
        assert without_times(one / name) == without_times(other / name), name
    return True


def study(workplace, name, *more):
    return [
        *("study", "--backbones", "tiny", "--depths", "0,1", "--segmentation", "false"),
        *("--weights.tiny", "none", "--classifier.image_size", "32,32"),
        *("--classifier.epochs", "4", "--classifier.augmented_copies", "1"),
        *("--classifier.feature_engine", "keras", "--runtime.tensorboard", "false"),
        *("--runtime.checkpoint_seconds", "0", "--data.source", f"{workplace}/set"),
        *("--data.stores", f"{workplace}/stores", "--runs", f"{workplace}/{name}"),
        *("--data.features", f"{workplace}/features-{name}", *more),
    ]


def test_a_study_loses_nothing_to_a_killed_worker_and_a_killed_driver(cluster, workplace, capsys):
    """The command that is killed is a user's script, whose entries the workers must know.

    It gives the address of the cluster that the other tests start.
    """
    import ray

    (cluster / "tiny-depth0").touch()
    hangs = cluster / "tiny-depth0-hangs"  # when it resumes, after the other run
    hangs.touch()
    script = workplace / "mine.py"
    script.write_text(SCRIPT)
    address = ray.get_runtime_context().gcs_address
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    with (workplace / "out.txt").open("w") as out:
        argv = study(workplace, "many", *ONE_AT_ONCE, "--cluster", address)
        command = [sys.executable, str(script), *argv]
        driver = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=workplace)
    runs = workplace / "many/classification"

    def works(process):
        with contextlib.suppress(psutil.Error):  # it has ended
            return "run_in_worker" in " ".join(process.cmdline())

    def at_work():
        return list(filter(works, psutil.Process().children(recursive=True)))

    wait_for(lambda: not hangs.exists() or driver.poll() is not None)
    working, shown = at_work(), (workplace / "out.txt").read_text()
    assert working, shown
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not any(process.is_running() for process in working))
    assert "2 runs to do, 1 at once." in shown
    assert "tiny-depth0: Its process or its machine was ended. It starts again." in shown
    assert "raylet" not in shown, "Ray's own lines are for its log"
    assert set((cluster / "entries").read_text().split()) == {"True"}, "the script was not run"
    [done] = runs.glob("*/DONE")
    before = done.stat().st_mtime_ns

    assert verbs.main(study(workplace, "many", *ONE_AT_ONCE, "--cluster", "local")) == 0
    assert done.stat().st_mtime_ns == before
    shown = capsys.readouterr().out
    assert "1 run to do, " in shown and shown[shown.rindex("\nrun  ") :].count("done before") == 1
    assert verbs.main(study(workplace, "one")) == 0
    for depth in (0, 1):
        run = f"classification/tiny-depth{depth}"
        assert same_runs(workplace / "many" / run, workplace / "one" / run)
    log = (runs / "tiny-depth0/log.txt").read_text()
    assert log.count("epoch 1/4") == 1, "it did not resume"
    assert log.count("Running on") > 1, "it was not killed"


def test_predictions_lose_nothing_to_a_killed_worker(
    cluster, runs, served, workplace, monkeypatch, capsys
):
    monkeypatch.setattr(predict_on_cluster, "_CHUNK", 32)
    (workplace / "cut.png").write_bytes(b"no image")
    argv = ["predict", str(runs[0]), str(workplace / "cut.png"), str(served / "set"), "--to"]
    (cluster / "chunk").touch()
    assert verbs.main([*argv, f"{workplace}/many.csv", *ONE_WORKER]) == 1
    shown, errors = capsys.readouterr()
    assert "raylet" not in shown + errors, "Ray's own lines are for its log"
    assert "91 files to do in 3 chunks, 1 at once." in shown
    assert shown.count("Its process or its machine was ended. Another one starts.") == 1
    assert verbs.main([*argv, f"{workplace}/one.csv"]) == 1
    for name in ("{}.csv", "{}.rejected.csv"):
        table, of_one = (workplace / name.format(of) for of in ("many", "one"))
        assert table.read_bytes() == of_one.read_bytes()


def test_what_no_machine_has_is_refused(cluster, workplace, capsys):
    argv = study(workplace, "big", "--cluster", "local", "--resources.cpus", "4000")
    assert verbs.main(argv) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "resources must fit on one machine of the cluster, which has" in line
    assert "Got cpus=4000, gpus=0, memory_gb=2." in line


def wait_for(condition, seconds=400):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)
