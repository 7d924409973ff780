"""Around epochs: going on after a kill, the metric table, non-finite losses."""

import csv
import importlib.metadata
import json
import shutil
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerascxr.config import ClassificationConfig, OptimizerConfig, RuntimeConfig
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import PACKAGES
from kerascxr.training import callbacks
from kerascxr.training.callbacks import NonFiniteLossError, Progress
from kerascxr.training.fitting import (
    Fitting,
    Session,
    WarmupCosineDecay,
    build_optimizer,
    fit,
    identity_of,
)
from kerascxr.training.runtime import Runtime, regime_of

STEPS = 4
RUNTIME = Runtime("float32", None, False, ("CPU",), False)


class Killed(BaseException):
    """Stands for kill -9: nothing downstream catches it."""


def batches(first_epoch):
    """Four batches an epoch; which ones depends on the epoch alone."""

    def one(step):
        x = tf.random.stateless_normal((8, 5), tf.stack([step, 7]))
        return x, tf.reduce_sum(x[:, :2], axis=1, keepdims=True)

    return tf.data.Dataset.range(first_epoch * STEPS, 10**6).map(one)


def small_model():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )


def run(
    path,
    epochs=6,
    kill_at=None,
    patience=10,
    rate=0.05,
    values=None,
    data="same",
    weights="w",
    engine="keras",
    ema=0.0,
    folder=None,
):
    model = small_model()
    calls = {"n": 0}
    x, y = next(iter(batches(1000)))

    def validate():
        calls["n"] += 1
        if kill_at == calls["n"]:
            raise Killed
        if values is not None:
            return {"loss": values[len(progress_rows(path))], "f1": 0.0}
        return {"loss": float(keras.ops.mean((model(x) - y) ** 2)), "f1": 0.0}

    config = ClassificationConfig(
        epochs=epochs,
        monitor="loss",
        patience=patience,
        optimizer=OptimizerConfig(learning_rate=rate, ema=ema),
        runtime=RuntimeConfig(tensorboard=False, checkpoint_seconds=0),
    )
    fitting = Fitting(
        model, batches, STEPS, validate, "loss", keras.losses.MeanSquaredError(), [], ("loss",)
    )
    identity = identity_of(data, regime_of(RUNTIME, False, 1, engine), weights)
    path.mkdir(exist_ok=True)
    progress = fit(fitting, Session(config, RUNTIME, folder or RunFolder(path), identity))
    return model, progress


def progress_rows(path):
    table = path / "history.json"
    return json.loads(table.read_text()) if table.exists() else []


def without_time(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def unbroken_run(tmp_path_factory):
    """The model and the epochs of a run that nothing stopped."""
    return run(tmp_path_factory.mktemp("unbroken"))


@pytest.fixture(scope="module")
def unbroken_average(tmp_path_factory):
    """The same, with averaged weights."""
    return run(tmp_path_factory.mktemp("averaged"), ema=0.8)


@pytest.mark.parametrize("kill_at", [1, 3, 6])
def test_a_killed_run_ends_with_the_numbers_of_an_unbroken_one(tmp_path, unbroken_run, kill_at):
    whole, unbroken = unbroken_run
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=kill_at)
    resumed, progress = run(tmp_path / "killed")
    assert without_time(progress.rows) == without_time(unbroken.rows)
    assert progress.best_epoch == unbroken.best_epoch
    for one, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kill_at", [2, 6])
def test_a_killed_run_with_averaged_weights_ends_as_an_unbroken_one(
    tmp_path, unbroken_average, kill_at
):
    whole, unbroken = unbroken_average
    with pytest.raises(Killed):
        run(tmp_path / "killed", ema=0.8, kill_at=kill_at)
    resumed, progress = run(tmp_path / "killed", ema=0.8)
    assert without_time(progress.rows) == without_time(unbroken.rows)
    for one, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_average_of_the_weights_is_kept_and_training_goes_on_from_the_weights(tmp_path):
    values = [1.0, 0.5, 0.6]  # the second epoch is the best
    averaged, _ = run(tmp_path / "averaged", epochs=3, ema=0.5, values=values)
    steps = []
    plain = small_model()
    plain.compile(build_optimizer(OptimizerConfig(learning_rate=0.05), 3, STEPS), "mse")
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(plain.get_weights()[0])
    )
    plain.fit(batches(0), epochs=2, steps_per_epoch=STEPS, callbacks=[keep], verbose=0)
    average = steps[0]
    for step in steps[1:]:
        average = 0.5 * average + 0.5 * step
    np.testing.assert_allclose(averaged.get_weights()[0], average, rtol=1e-4, atol=1e-6)


def test_a_killed_table_has_one_header_and_every_epoch_once(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "r", kill_at=4)
    run(tmp_path / "r")
    with (tmp_path / "r" / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert len(json.loads((tmp_path / "r" / "history.json").read_text())) == 6
    assert (tmp_path / "r" / "history.md").read_text().count("epoch") == 1


def test_the_time_of_a_killed_process_counts(tmp_path):
    """The report's minutes would else be those since the last kill."""
    path, timing = tmp_path / "r", tmp_path / "r" / "timing.json"
    for kill_at, before in ((3, 1000), (None, 2000)):
        with RunFolder.start_at(ClassificationConfig(), path) as folder:
            if kill_at is None:
                run(path, folder=folder)
            else:
                with pytest.raises(Killed):
                    run(path, kill_at=kill_at, folder=folder)
        seconds = json.loads(timing.read_text())["seconds"]
        assert before - 1000 < seconds < before - 900
        timing.write_text(json.dumps({"seconds": before}))
    shutil.rmtree(path / "checkpoint")  # nothing of it is resumed
    with RunFolder.start_at(ClassificationConfig(), path) as folder:
        run(path, folder=folder)
    assert json.loads(timing.read_text())["seconds"] < 900


def test_a_finished_training_is_not_trained_again(tmp_path):
    _, first = run(tmp_path / "r")
    _, again = run(tmp_path / "r", kill_at=1)
    assert again.rows == first.rows


def test_the_best_epoch_is_kept_and_patience_stops(tmp_path):
    values = [0.9, 0.3, 0.5, 0.4, 0.6, 0.2]
    model, progress = run(tmp_path / "r", patience=3, values=values)
    assert len(progress.rows) == 5
    assert progress.best_epoch == 1
    two, _ = run(tmp_path / "two", epochs=6, patience=1, values=[0.9, 0.3, 0.5, 0.4, 0.6, 0.2])
    for one, other in zip(model.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_patience_survives_being_killed(tmp_path):
    values = [0.9, 0.3, 0.5, 0.4, 0.6, 0.2]
    with pytest.raises(Killed):
        run(tmp_path / "r", patience=3, values=values, kill_at=4)
    _, progress = run(tmp_path / "r", patience=3, values=values)
    assert len(progress.rows) == 5


def test_other_data_weights_engines_and_versions_are_refused(tmp_path, monkeypatch):
    with pytest.raises(Killed):
        run(tmp_path / "r", kill_at=3)
    with pytest.raises(ValueError, match=r"These have changed: data \(same -> other\)"):
        run(tmp_path / "r", data="other")
    with pytest.raises(ValueError, match=r"starting weights \(w -> none\)"):
        run(tmp_path / "r", weights="")
    with pytest.raises(ValueError, match=r"feature_engine \(keras -> openvino\)"):
        run(tmp_path / "r", engine="openvino")
    installed = importlib.metadata.version
    for name, package in PACKAGES.items():

        def version(of, changed=package):
            return "9.9" if of == changed else installed(of)

        monkeypatch.setattr(importlib.metadata, "version", version)
        with pytest.raises(ValueError, match=rf"changed: {name} \(.* -> 9\.9\)"):
            run(tmp_path / "r")


def test_the_best_weights_of_a_half_written_checkpoint_are_not_believed(tmp_path, monkeypatch):
    """A kill within the first checkpoint leaves weights that nothing describes."""
    write = callbacks._write_arrays

    def die(path, variables, **more):
        if path.name == "latest.npz":
            raise Killed
        write(path, variables, **more)

    values = [0.1, *[0.9] * 5]  # the first epoch is the best one
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(callbacks, "_write_arrays", die)
        run(tmp_path / "r", values=values, data="other", rate=0.5)
    assert [path.name for path in (tmp_path / "r").rglob("*.npz")] == ["best-0000.npz"]
    with pytest.raises(Killed):
        run(tmp_path / "r", values=values, kill_at=3)
    model, _ = run(tmp_path / "r", values=values)
    unbroken, _ = run(tmp_path / "unbroken", values=values)
    np.testing.assert_array_equal(model.get_weights()[0], unbroken.get_weights()[0])


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "r", kill_at=3)
    latest = tmp_path / "r" / "checkpoint" / "latest.npz"
    with np.load(latest) as arrays:
        kept = {name: arrays[name] for name in arrays if name != "v0"}
    np.savez(latest, **kept)
    with pytest.raises(ValueError, match="written by another model"):
        run(tmp_path / "r")


def test_validation_that_is_never_finite_is_a_clear_error(tmp_path):
    with pytest.raises(NonFiniteLossError, match="validation loss must be finite"):
        run(tmp_path / "r", values=[float("nan")] * 6)


def test_a_non_finite_loss_names_epoch_and_step(tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"at epoch 1, step \d"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])

        def poisoned(first):
            return batches(first).map(lambda x, y: (x, y / 0.0))

        (tmp_path / "r").mkdir()
        loss = keras.losses.MeanSquaredError()
        config = ClassificationConfig(
            monitor="loss", runtime=RuntimeConfig(tensorboard=False, checkpoint_seconds=0)
        )
        fit(
            Fitting(model, poisoned, STEPS, lambda: {"loss": 0.0}, "loss", loss, [], ()),
            Session(config, RUNTIME, RunFolder(tmp_path / "r"), {}),
        )
    assert not (tmp_path / "r" / "checkpoint" / "latest.npz").exists()


def test_a_nan_validation_figure_is_never_the_best(tmp_path):
    _, progress = run(tmp_path / "r", values=[float("nan"), 0.5, float("nan"), 0.4, 0.45, 0.6])
    assert progress.best_epoch == 3


def test_the_rate_rises_then_falls_to_zero():
    config = OptimizerConfig(learning_rate=0.1, warmup_epochs=2)
    schedule = build_optimizer(config, 10, 5)._learning_rate
    rates = [float(schedule(step)) for step in range(51)]
    assert rates[0] == 0
    assert rates[10] == pytest.approx(0.1)
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[50] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("warmup", [0, 10])
def test_the_rate_is_keras_own_without_a_branch_in_the_graph(warmup):
    own = WarmupCosineDecay(0.002, warmup, 40)
    start, target = (0.0, 0.002) if warmup else (0.002, None)
    keras_own = keras.optimizers.schedules.CosineDecay(
        start, 40, warmup_target=target, warmup_steps=warmup
    )
    for step in range(warmup + 42):
        assert float(own(step)) == float(keras_own(step)), step
    graph = tf.function(own).get_concrete_function(tf.TensorSpec((), tf.int64)).graph
    assert not [item.type for item in graph.get_operations() if "If" in item.type]
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(own))
    assert again.get_config() == own.get_config()


def test_one_epoch_of_one_step_still_has_a_rate():
    schedule = build_optimizer(OptimizerConfig(learning_rate=0.1), 1, 1)._learning_rate
    assert float(schedule(0)) == pytest.approx(0.1)


def test_weights_of_the_checkpoint_round_trip_exactly(tmp_path):
    model, progress = run(tmp_path / "r", epochs=2)
    saved = [np.asarray(v) for v in [*model.variables, *model.optimizer.variables]]
    fresh = Progress(tmp_path / "r" / "checkpoint", "val_loss", "min", 10, progress._identity)
    fresh.set_model(model)
    for variable in model.trainable_variables:
        variable.assign(variable * 0)
    assert fresh.restore()
    # The last epoch need not be the best one, whose weights fit() left in the model.
    if progress.best_epoch == 1:
        for one, other in zip(saved, model.variables, strict=False):
            np.testing.assert_array_equal(one, np.asarray(other))
    assert fresh.rows == progress.rows
