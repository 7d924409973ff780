"""The counts and the tables of tools/roofline.py are those that a pencil gives."""

import itertools
import re

import keras
import pytest
from keras import layers

from tests.support.kernel_trace import KINDS, Kernel, kernel_seconds
from tests.support.step_work import Work, work_of
from tests.support.time_saved import STUDY, Run, read_runs, runs_table
from tools import roofline


@pytest.fixture
def small():
    """A model with a layer of each kind, and its optimizer."""
    images = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, name="first")(images)  # (4, 4, 3)
    x = layers.DepthwiseConv2D(3)(layers.ZeroPadding2D(1)(x))  # (4, 4, 3)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(5)(x))

    def compiled(**more):
        model.compile(keras.optimizers.AdamW(global_clipnorm=1.0, **more))
        model.optimizer.build(model.trainable_variables)
        return model

    return model, compiled


def test_operations_of_a_small_model(small):
    model, compiled = small
    first = 2 * (3 * 3 * 2 * 3) * 16  # of an image, forward
    depthwise = 2 * (3 * 3 * 3) * 16
    dense = 2 * (3 * 5)
    work = work_of(compiled(), batch=7)
    assert work.products == 7 * (2 * first + 3 * dense)  # images need no gradient
    assert work.depthwise == 7 * 3 * depthwise
    assert work.operations == work.products + work.depthwise
    model.get_layer("first").trainable = False
    work = work_of(compiled(), batch=7)
    assert (work.products, work.depthwise) == (7 * 3 * dense, 7 * 2 * depthwise)


def test_bytes_of_a_small_model(small):
    model, compiled = small
    weights = (54 + 3) + (27 + 3) + (3 + 3) + (15 + 5)
    kept = 72 + 48 + 48 + 3  # inputs of the convolutions, of BatchNorm and of Dense
    work = work_of(compiled(), batch=7)
    assert work.weight_bytes == 4 * 2 * (weights + weights + 2 * weights)  # AdamW's two slots
    assert work.activation_bytes == 4 * 2 * 7 * kept
    assert work_of(model, batch=7, number_bytes=2).activation_bytes == 2 * 2 * 7 * kept
    work = work_of(compiled(use_ema=True), batch=7)
    assert work.weight_bytes == 4 * 2 * (weights + weights + 3 * weights)
    model.get_layer("first").trainable = False
    assert work_of(compiled(), batch=7).activation_bytes == 4 * 2 * 7 * (kept - 72)


def test_least_seconds_are_those_of_operations_and_of_bytes():
    work = Work(products=30, depthwise=10, weight_bytes=5, activation_bytes=15)
    assert work.seconds(rate=20.0, bandwidth=40.0) == (2.0, 0.5)


def test_kernels_are_assigned_to_kinds_at_their_shortest():
    step = "StatefulPartitionedCall/"
    kernels = [
        Kernel("PyFuncStateless", "PyFuncStateless", 1.0),
        Kernel(step + "tiny/conv/convolution", "_MklNativeConv2D", 4.0),
        Kernel(step + "tiny/conv/convolution", "_MklNativeConv2D", 2.0),
        Kernel(step + "tiny/conv/convolution", "_MklNativeConv2D", 3.0),
        Kernel(step + "tiny/head/MatMul", "_MklMatMul", 8.0),
        Kernel(step + "tiny/dw", "_MklNativeDepthwiseConv2dNative", 16.0),
        Kernel(step + "gradient_tape/tiny/bn/Sum", "Sum", 32.0),
        Kernel(step + "gradient_tape/tiny/bn/Mul", "Mul", 64.0),
        Kernel(step + "adam_w/mul", "Mul", 128.0),
    ]
    # The first convolution ran in each of three steps, the others in one of them.
    expected = dict(zip(KINDS, (2 + 8 / 3, 16 / 3, 96 / 3, 128 / 3, 1 / 3), strict=True))
    assert kernel_seconds(kernels, steps=3) == pytest.approx(expected)


def test_rates_are_those_of_the_shortest_round(monkeypatch):
    walls = itertools.accumulate([0.0, 2.0, 0.5] + [1.0] * 8)
    cpus = itertools.accumulate([0.0, 0.25] + [4.0] * 9)
    clock = zip(walls, cpus, strict=True)
    monkeypatch.setattr(roofline, "_now", lambda: next(clock))
    assert roofline.product_rate("bfloat16", side=16) == (2 * 16**3 / 0.5, 2 * 16**3 / 0.25)
    clock = iter([(float(i), i / 2) for i in range(11)])
    assert roofline.copy_rate(megabytes=1) == (2e6, 4e6)


PAGE = """

## Time saved

| | depth | one epoch, plain | ours | ratio | run of 20 epochs, plain | ours | ratio | memory | |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|
| TiNy | 0 | 47.2 s | 1.00 s | 39.0 | 1,200 s | 100 s | 12.0 | 2.42 GiB | 2.15 GiB |
| | 2 | 79.1 s | 4.00 s | 20.9 | 800 s | 160 s | 5.0 | 2.45 GiB | 2.24 GiB |
| all six, `kerascxr study` | | | | | 2,000 s | 250 s | 8.0 | | |

## Lower limit

| Other | 0 | float32 | 31 | 49 | 2.1 | 7% | 20% | 4% | 74% |
"""


def test_runs_at_the_limit_are_compared_with_their_aims():
    runs = read_runs(PAGE)
    assert runs == {
        ("tiny", "0"): Run(1200.0, 100.0, 20.0),
        ("tiny", "2"): Run(800.0, 160.0, 80.0),
        STUDY: Run(2000.0, 250.0, 100.0),
    }
    lines = runs_table(runs, {("tiny", "0"): 0.5, ("tiny", "2"): 0.125}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    # 80 s remain at depth 0, as many as 1,200 / 15, so no step would do.
    assert cells[0][2:6] == ["12.0", "15", "80 s", "20 s"]
    assert cells[0][6:] == ["13.3", "15.0", "none would do", "no"]
    # 20 of the 80 s of depth 2's epochs are left for the aim; its limit needs 10.
    assert cells[1][2:] == ["5.0", "8", "80 s", "80 s", "8.9", "10.0", "50%", "yes"]
    # The study's limit is 10 + 10 s, and 2,000 / 12 s leave 16.7.
    assert cells[2][2:] == ["8.0", "12", "150 s", "100 s", "11.8", "13.3", "120%", "no"]
    assert len(runs_table(runs, {("tiny", "0"): 0.5}).splitlines()) == 3


def test_the_page_has_the_table_of_all_runs():
    runs = read_runs(roofline.PAGE.read_text(encoding="utf-8"))
    assert len(runs) == 7 and all(run.plain > run.ours > run.epochs > 0 for run in runs.values())
    assert runs["efficientnetb0", "2"].epochs > runs["shufflenetv2", "0"].epochs


def test_the_tables_of_a_tiny_backbone(tiny_backbone, monkeypatch, capsys):
    # The first step traces; the last of three is the shortest; the profiled ones do not count.
    ends = [100.0, 101.0, 103.0, 103.5, *(103.6 + i / 10 for i in range(10))] * 2
    clock = iter([(end, 2 * end) for end in ends])
    monkeypatch.setattr(roofline, "_now", lambda: next(clock))
    monkeypatch.setattr(roofline, "computes_bfloat16", lambda: True)
    monkeypatch.setattr(roofline, "product_rate", lambda dtype: (1e9, 0.25e9))
    monkeypatch.setattr(roofline, "copy_rate", lambda: (1e8, 1e8))
    monkeypatch.setattr(roofline, "PAGE", roofline.PAGE.parent / "README.md")  # has no such runs
    roofline.main(["--backbones", "tiny", "--depths", "1", "--steps", "3"])
    shown = capsys.readouterr().out.replace("\\", "")
    assert re.match(r".*\d cores", shown) and "float32: 1.0 GFLOP a second, 0.2 a CPU" in shown
    assert "copy: 0.1 GB a second" in shown
    lines = [line for line in shown.splitlines() if line.startswith("| tiny")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(cells) == 4
    # conv5 on 2x2 features, the head's three layers; of batches of 32.
    operations = 2 * 32 * (2 * 9 * 64 * 128 + 3 * (128 * 1024 + 1024 * 512 + 512 * 4))
    weights = 9 * 64 * 128 + 2 * 128 + 129 * 1024 + 1025 * 512 + 513 * 4
    kept = 4 * 64 + 128 + 128 + 1024 + 512
    for row, (name, size) in zip(cells, (("float32", 4), ("mixed_bfloat16", 2)), strict=False):
        moved = 32 * weights + 2 * size * 32 * kept
        assert row[:3] == ["tiny", "1", name]
        assert row[3:7] == [
            *(f"{operations / 1e9:.2f}", "0.000"),
            *(f"{32 * weights / 1e6:.0f}", f"{2 * size * 32 * kept / 1e6:.0f}"),
        ]
        assert row[7:9] == ["500.0", "1000.0"]
        assert row[9:11] == [f"{operations / 1e6:.1f}", f"{moved / 1e5:.1f}"]
        assert row[11:] == ["0", f"{moved / 1e8 / 0.5:.0%}", f"{operations / 0.25e9:.0%}"]
    for row in cells[2:]:
        shares = dict(zip(KINDS, (int(cell[:-1]) for cell in row[3:8]), strict=True))
        assert 97 <= sum(shares.values()) <= 103
        assert shares["products"] > 0 and shares["optimizer"] > 0 and shares["depthwise"] == 0
        # The rate of the products is that of their part of all kernels' time.
        seconds = float(row[8]) / 1e3 * shares["products"] / 100
        assert float(row[9]) == pytest.approx(operations / seconds / 1e9, rel=0.2, abs=1)
