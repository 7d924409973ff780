"""The U-Net's shape, names, counts and behaviour under precision policies."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerascxr.models.layers import FusedBatchNormalization
from kerascxr.models.parameters import count_parameters
from kerascxr.models.unet import (
    STAGE_HEADER,
    build_unet,
    stage_cells,
    stage_table,
)

# Float32, two spellings of one formula, a few thousand values summed in another order.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(0)
    return build_unet((32, 48), base_filters=4)


def images(*shape, low=0.0, high=255.0):
    return np.random.default_rng(0).uniform(low, high, shape).astype("float32")


@pytest.fixture(scope="module")
def of_the_study():
    """The study's U-Net by its base filters; the largest one with a dropout, which has none."""
    return {
        filters: build_unet((256, 256), filters, dropout=0.2 if filters == 64 else 0.0)
        for filters in (64, 32, 16)
    }


@pytest.mark.parametrize(
    ("base_filters", "expected"), [(64, 31_036_481), (32, 7_762_465), (16, 1_942_289)]
)
def test_parameters_agree_with_the_study(of_the_study, base_filters, expected):
    model = of_the_study[base_filters]
    assert count_parameters(model) == expected
    # Nothing else carries weights but the moving mean and variance, two a BatchNorm channel.
    channels = sum(row.channels for row in stage_table(model) if "DoubleConv" in row.operation)
    assert model.count_params() == expected + 2 * 2 * channels


@pytest.fixture(scope="module")
def bilinear():
    return build_unet(base_filters=16, upsampling="bilinear", dropout=0.2)


def test_bilinear_has_fewer_parameters(bilinear):
    # Each 2x2 transposed kernel, 4 a b, becomes a 1x1 kernel, a b; with 16 channels in the last.
    pairs = [(256, 128), (128, 64), (64, 32), (32, 16)]
    expected = 1_942_289 - sum(3 * a * b for a, b in pairs)
    assert count_parameters(bilinear) == expected


@pytest.mark.parametrize("upsampling", ["transpose", "bilinear"])
def test_stage_table(of_the_study, bilinear, upsampling):
    rows = stage_table(bilinear if upsampling == "bilinear" else of_the_study[64])
    if upsampling == "bilinear":  # it has a quarter of the filters
        rows = [row._replace(channels=4 * row.channels if row.channels > 1 else 1) for row in rows]
    assert [(row.stage, row.channels, row.size) for row in rows] == [
        ("image", 1, (256, 256)),
        ("standardize", 1, (256, 256)),
        ("encoder1", 64, (256, 256)),
        ("encoder2", 128, (128, 128)),
        ("encoder3", 256, (64, 64)),
        ("encoder4", 512, (32, 32)),
        ("bottleneck", 1024, (16, 16)),
        ("decoder1", 512, (32, 32)),
        ("decoder2", 256, (64, 64)),
        ("decoder3", 128, (128, 128)),
        ("decoder4", 64, (256, 256)),
        ("logits", 1, (256, 256)),
    ]
    operations = {row.stage: row.operation for row in rows}
    assert operations["encoder1"] == "DoubleConv"
    assert operations["encoder2"] == "max pool 2x2, DoubleConv"
    assert operations["bottleneck"] == "max pool 2x2, DoubleConv, dropout"
    up = {"transpose": "transposed conv 2x2", "bilinear": "conv 1x1, bilinear x2"}[upsampling]
    assert operations["decoder4"] == f"{up}, concatenate skip, DoubleConv"


def test_stage_cells_add_up(small):
    cells = stage_cells(small)
    assert all(len(row) == len(STAGE_HEADER) for row in cells)
    assert cells[2][:3] == ["encoder1", 4, "32x48"]
    assert sum(row[-1] for row in cells) == count_parameters(small)
    assert stage_cells(build_unet((None, None), 4))[2][2] == "anyxany"


def test_layers_are_named_by_stage(small):
    names = [layer.name for layer in small.layers]
    assert names[:5] == ["image", "standardize", "encoder1_conv1", "encoder1_bn1", "encoder1_relu1"]
    double = [f"{part}{n}" for n in (1, 2) for part in ("conv", "bn", "relu")]
    for stage in ("encoder2", "bottleneck"):
        assert [n for n in names if n.startswith(stage)] == [
            f"{stage}_{part}" for part in ["pool", *double]
        ]
    assert [n for n in names if n.startswith("decoder4")] == [
        f"decoder4_{part}" for part in ["up", "concat", *double]
    ]
    # The deepest skip meets the first stage up.
    deepest, up = (small.get_layer(name).output for name in ("encoder4_relu2", "decoder1_up"))
    joined = small.get_layer("decoder1_concat").input
    assert joined[0] is deepest
    assert joined[1] is up


@pytest.mark.parametrize("size", [(250, 256), (256, 8), (0, 256), (None, 100)])
def test_size_must_divide_by_16(size):
    with pytest.raises(ValueError, match=r"must be multiples of 16.*Got image_size=") as error:
        build_unet(size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "value"), [("base_filters", 0), ("upsampling", "nearest"), ("dropout", 1.0)]
)
def test_other_arguments_are_checked(argument, value):
    with pytest.raises(ValueError, match=f"Got {argument}={value!r}"):
        build_unet((32, 32), **{argument: value})


def test_exposure_and_contrast_are_gone_before_the_first_convolution(small):
    x = images(2, 32, 48, 1, low=40, high=160)
    expected = small(x)
    np.testing.assert_allclose(small(1.5 * x + 10), expected, atol=0.01)
    # And not because the output never changes.
    assert np.abs(small(x**2 / 255) - expected).max() > 0.05


@pytest.mark.parametrize("grey", [0.0, 127.0, 255.0])
def test_constant_image_is_finite(small, grey):
    x = np.full((1, 32, 48, 1), grey, "float32")
    scaled = small.get_layer("standardize")(x)
    np.testing.assert_array_equal(scaled, np.zeros_like(x))
    assert np.isfinite(small(x)).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"], indirect=True)
def test_scaling_and_logits_are_float32_under_mixed_precision(policy):
    model = build_unet((16, 16), 2)
    x = images(2, 16, 16, 1)
    assert model.get_layer("encoder1_conv1").compute_dtype == policy.removeprefix("mixed_")
    assert model.get_layer("encoder1_bn1").output.dtype == policy.removeprefix("mixed_")
    assert model.get_layer("standardize").compute_dtype == "float32"
    for training in (False, True):
        logits = model(x, training=training)
        assert logits.dtype == "float32"
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("upsampling", ["transpose", "bilinear"])
def test_save_and_load(tmp_path, upsampling):
    model = build_unet((16, 16), 2, upsampling, dropout=0.1)
    for weight in model.weights:  # moving statistics too must come back
        weight.assign(images(*weight.shape, low=0.1, high=0.9))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = images(2, 16, 16, 1)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_one_set_of_weights_takes_any_size(small):
    free = build_unet((None, None), 4)
    free.set_weights(small.get_weights())
    x = images(1, 32, 48, 1)
    np.testing.assert_allclose(free(x), small(x), **CLOSE)
    assert free(images(1, 64, 16, 1)).shape == (1, 64, 16, 1)


@pytest.mark.parametrize("upsampling", ["transpose", "bilinear"])
def test_gradient_reaches_every_weight(upsampling):
    model = build_unet((16, 16), 4, upsampling)
    x = tf.constant(images(8, 16, 16, 1))
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(tf.square(model(x, training=True)))
    variables = [weight.value for weight in model.trainable_weights]
    for weight, gradient in zip(
        model.trainable_weights, tape.gradient(value, variables), strict=True
    ):
        assert gradient is not None, weight.path
        assert np.abs(gradient).max() > 0, weight.path


def test_frozen_model_does_not_move():
    model = build_unet((16, 16), 4)
    model.trainable = False
    x = images(4, 16, 16, 1)
    before = model.get_weights()
    np.testing.assert_array_equal(model(x, training=True), model(x, training=False))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("training", [True, False])
def test_fused_batch_norm_agrees_with_keras(training):
    x = tf.constant(images(4, 6, 5, 3, low=-2, high=7))
    results = []
    for kind in (keras.layers.BatchNormalization, FusedBatchNormalization):
        layer = kind(momentum=0.9)
        layer.build(x.shape)
        layer.set_weights([images(3, low=0.5, high=k + 1) for k in range(4)])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            value = tf.reduce_sum(tf.sin(y))
        sources = [x, layer.gamma.value, layer.beta.value]
        results.append([y, *tape.gradient(value, sources), *layer.get_weights()])
    n = 4 * 6 * 5
    for index, (plain, fused) in enumerate(zip(*results, strict=True)):
        if index == 7 and training:  # the moving variance: biased against unbiased
            old = images(3, low=0.5, high=4)
            fused = old * 0.9 + (np.asarray(fused) - old * 0.9) * (n - 1) / n
        np.testing.assert_allclose(fused, plain, **CLOSE)


def test_fused_batch_norm_takes_no_mask():
    with pytest.raises(ValueError, match="Mask must be None"):
        FusedBatchNormalization()(np.ones((1, 2, 2, 1), "float32"), mask=np.ones((1, 2, 2)))


def test_noise_of_one_grey_level_is_not_amplified_to_full_contrast(small):
    x = 100 + np.random.default_rng(0).normal(0, 1, (1, 32, 48, 1)).astype("float32")
    scaled = np.array(small.get_layer("standardize")(x))
    assert scaled.std() == pytest.approx(np.sqrt(1 / 2), abs=0.03)  # x.std() / sqrt(var + 1)


def test_moving_statistics_take_a_tenth_of_each_batch():
    model = build_unet((16, 16), 2)
    x = images(4, 16, 16, 1)
    first = keras.Model(model.input, model.get_layer("encoder1_conv1").output)
    mean = np.array(first(x)).mean(axis=(0, 1, 2))
    model(x, training=True)
    np.testing.assert_allclose(model.get_layer("encoder1_bn1").moving_mean, 0.1 * mean, atol=1e-5)
