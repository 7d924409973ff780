"""The port against torch, stage by stage; see tools/make_golden.py for the files."""

from pathlib import Path

import keras
import numpy as np
import pytest

from kerascxr.models.shufflenet_v2 import build_shufflenet_v2, torch_module_name
from tests.support import golden_weights

RELATIVE = 1e-4  # of a stage's largest value; measured: 2e-6
ROOT = Path(__file__).parents[2]
ENDS = {
    "stem": "conv1_pool",
    "stage2": "stage2_block3_shuffle",
    "stage3": "stage3_block7_shuffle",
    "stage4": "stage4_block3_shuffle",
    "last": "conv5_relu",
}


def draw_weights(backbone: keras.Model) -> None:
    """Gives every layer the weights that the golden files' rule gives to its torch name."""
    for layer in backbone.layers:
        if not layer.weights:
            continue
        module = torch_module_name(layer.name)
        if isinstance(layer, keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            shape = tuple(layer.gamma.shape)
            layer.set_weights([golden_weights.draw(f"{module}.{name}", shape) for name in names])
            continue
        height, width, inputs, outputs = layer.kernel.shape
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = golden_weights.draw(f"{module}.weight", (inputs, 1, height, width))
            layer.set_weights([kernel.transpose(2, 3, 0, 1)])
        else:
            kernel = golden_weights.draw(f"{module}.weight", (outputs, inputs, height, width))
            layer.set_weights([kernel.transpose(2, 3, 1, 0)])


@pytest.fixture(scope="module", params=[0.5, 1.0])
def outputs(request):
    """(golden file, our outputs by stage) for both widths."""
    backbone = build_shufflenet_v2(request.param, (64, 64))
    draw_weights(backbone)
    ends = [backbone.get_layer(name).output for name in ENDS.values()]
    ends.append(keras.layers.GlobalAveragePooling2D()(backbone.output))
    # From behind the scaling: the golden images are scaled already.
    probe = keras.Model(backbone.get_layer("normalization").output, ends)
    ours = dict(zip([*ENDS, "pooled"], probe(golden_weights.images()), strict=True))
    with np.load(
        ROOT / "tests" / "golden" / f"{backbone.name.replace('netv2', 'net_v2')}.npz"
    ) as file:
        return dict(file), ours


@pytest.mark.parametrize("stage", [*ENDS, "pooled"])
def test_it_agrees_with_torch(outputs, stage):
    golden, ours = outputs
    values = np.array(ours[stage])
    assert values.shape == tuple(golden[f"{stage}_shape"])
    sample = values.reshape(-1)[:: golden[f"{stage}_stride"]]
    largest = golden[f"{stage}_largest"]
    assert np.abs(sample - golden[f"{stage}_sample"]).max() < RELATIVE * largest
    assert np.abs(np.abs(values).max() - largest) < RELATIVE * largest


@pytest.mark.parametrize(("width", "parameters"), [(0.5, 341_792), (1.0, 1_253_604)])
def test_parameter_count(width, parameters):
    backbone = build_shufflenet_v2(width, (32, 32))
    assert sum(np.prod(weight.shape) for weight in backbone.trainable_weights) == parameters


def test_odd_sizes_are_padded_as_in_torch():
    # torch: floor((n + 2 - 3) / 2) + 1 at each of five halvings: 75, 38, 19, 10, 5, 3.
    assert build_shufflenet_v2(0.5, (75, 64)).output.shape == (None, 3, 2, 1024)


def test_an_unknown_width_is_refused():
    with pytest.raises(ValueError, match=r"width must be one of \(0.5, 1.0\). Got width=2.0"):
        build_shufflenet_v2(2.0)
