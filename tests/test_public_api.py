"""What ``import kerascxr`` promises: these names and no others, documented by examples that run."""

import doctest
import inspect
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

import kerascxr

ROOT = Path(__file__).parent.parent

PROMISED = {
    "kerascxr": ["load_ensemble", "load_run", "models"],
    "kerascxr.models": [
        "BACKBONES",
        "Backbone",
        "GradCAM",
        "build_classifier",
        "build_unet",
        "fine_tune",
        "load_weights",
        "parameter_summary",
    ],
}
DOCUMENTED = [
    (module, name)
    for module, names in PROMISED.items()
    for name in names
    if name not in ("models", "BACKBONES")
]


def run_python(script):
    """Runs a script in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def get(module, name):
    return getattr(sys.modules[module], name)


@pytest.mark.parametrize("module", PROMISED)
def test_nothing_else_is_promised(module):
    __import__(module)
    package = sys.modules[module]
    assert sorted(package.__all__) == PROMISED[module]
    assert sorted(dir(package)) == PROMISED[module]
    for name in PROMISED[module]:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError):
        package.no_such_name  # noqa: B018


@pytest.fixture
def place(runs, served, tmp_path, monkeypatch, whole_unet):
    """The folder that the examples describe: a run and two images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "classification").mkdir(parents=True)
    (tmp_path / "runs" / "classification" / "mine").symlink_to(runs[0])
    other = shutil.copytree(runs[0], tmp_path / "runs" / "classification" / "other")
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["runtime"]["seed"] = 1
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    for name, file in (("chest", "dark/0.png"), ("ward", "bright/1.png")):
        (tmp_path / f"{name}.png").symlink_to(served / "set" / file)


@pytest.mark.parametrize(("module", "name"), DOCUMENTED)
def test_every_public_name_is_documented_and_its_example_runs(module, name, place):
    value = get(module, name)
    text = inspect.getdoc(value)
    assert "Examples:" in text, f"{name} has no example"
    if inspect.isfunction(value):
        assert "Returns:" in text or value.__annotations__["return"] is None
        assert "Args:" in text and "Raises:" in text and "Source:" in text
        missing = [item for item in inspect.signature(value).parameters if f"{item}:" not in text]
        assert not missing, missing
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    examples = doctest.DocTestFinder(recurse=False).find(value, name, globs={})
    assert sum(len(item.examples) for item in examples) > 1
    for item in examples:
        runner.run(item)
    assert runner.summarize(verbose=False).failed == 0


def test_importing_it_imports_neither_tensorflow_nor_keras():
    heavy = ["tensorflow", "keras", "numpy", "matplotlib", "sklearn"]
    script = (
        f"import sys, kerascxr, kerascxr.models; print([n for n in {heavy} if n in sys.modules])"
    )
    assert run_python(script).strip() == "[]"


def test_keras_reads_a_runs_model_if_this_package_is_imported_first(runs):
    """The other order: ``test_a_fresh_process_with_tensorflow_alone_gives_the_same``."""
    script = f"""
import kerascxr, keras
for path in {[str(run / "model.keras") for run in runs]}:
    print(keras.models.load_model(path).output.shape)
"""
    assert run_python(script).splitlines() == ["(None, 3)", "(None, 32, 32, 1)"]


def test_a_runs_model_needs_no_loss_and_holds_no_optimizer(runs):
    for run in runs:
        with zipfile.ZipFile(run / "model.keras") as archive:
            assert not json.loads(archive.read("config.json")).get("compile_config")


def test_build_classifier_loads_weights_and_sets_depth(tmp_path, caplog):
    from kerascxr.models.backbones import BACKBONES

    tiny = BACKBONES["tiny"]
    model = kerascxr.models.build_classifier(tiny, 3)
    assert all(layer.trainable for layer in model.layers)
    assert model.get_layer("stem_conv_bn").update_statistics
    model.save_weights(tmp_path / "some.weights.h5")
    again = kerascxr.models.build_classifier(
        "tiny", 3, weights=tmp_path / "some.weights.h5", depth=1, update_statistics=False
    )
    for before, after in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    trained = {layer.name.split("_")[0] for layer in again.layers if layer.trainable_weights}
    assert trained == {"conv5", "head"}
    assert not again.get_layer("conv5_conv_bn").update_statistics
    other = kerascxr.models.build_classifier("tiny", 3)
    assert not np.array_equal(other.get_weights()[0], model.get_weights()[0])


def test_offline_imagenet_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(ConnectionError, match="imagenet") as caught:
        kerascxr.models.build_classifier("tiny", 3, weights="imagenet")
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
