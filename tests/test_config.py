"""The command line: flags, files, and the one line that wrong ones get."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerascxr.__main__ import main
from kerascxr.cli import export
from kerascxr.cli.options import read_options
from kerascxr.config import (
    AugmentConfig,
    ClassificationConfig,
    OptimizerConfig,
    PretrainingConfig,
    SegmentationConfig,
    SplitConfig,
    StudyConfig,
)
from kerascxr.parsing import identity, load_config, parse_config, to_yaml, with_own_places


def parse(*argv):
    return parse_config(ClassificationConfig, list(argv), "train_cls.py")


@pytest.mark.parametrize("value", ["64,96", "64, 96", "[64,96]", "[64, 96]", "(64, 96)", " 64,96,"])
@pytest.mark.parametrize("joined", [True, False])
def test_a_list_is_read_with_and_without_brackets(value, joined):
    argv = [f"--image_size={value}"] if joined else ["--image_size", value]
    assert parse(*argv, "--epochs", "3").image_size == (64, 96)


@pytest.mark.parametrize(
    ("value", "formats"),
    [
        ("onnx", ["onnx"]),
        *(
            (value, ["onnx", "litert-dynamic"])
            for value in ("onnx,litert-dynamic", "onnx, litert-dynamic")
        ),
        *((f"[{value}]", ["onnx", "litert"]) for value in ("onnx,litert", "'onnx', \"litert\"")),
        ("'onnx','litert'", ["onnx", "litert"]),
    ],
)
def test_a_list_of_names_is_read_with_and_without_quotes(value, formats):
    argv = ["RUN", "--to", "x", "--format", value]
    assert read_options(export.parser("export"), argv).format == formats
    assert read_options(export.parser("export"), [*argv[:3], f"--format={value}"]).format == formats


def test_lists_of_a_study():
    study = parse_config(StudyConfig, ["--backbones", "a,b", "--depths", "2, all"], "study")
    assert (study.backbones, study.depths) == (("a", "b"), (2, "all"))
    study = parse_config(StudyConfig, ["--unet.image_size=64,32"], "study")
    assert study.unet.image_size == (64, 32)


SIZE = "must be two whole numbers, as 64,64. Got image_size="


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        *((["--image_size", v], f"--image_size {SIZE}{v}.") for v in ("64", "64,x", "64,64,64")),
        *((["--image_size", v], f"--image_size {SIZE}{v}.") for v in ("64x64", "[64]", "64.5,64")),
        (["--image_size=64"], f"--image_size {SIZE}64."),
        (
            ["--unet.image_size", "64"],
            "--unet.image_size must be two whole numbers, as 64,64. Got unet.image_size=64.",
        ),
        (
            ["--depths", "0,7"],
            "--depths must be one or several of 0, 1, 2, all, as 0,1. Got depths=0,7.",
        ),
        (["--depths", ""], "depths must be different ones, at least one. Got depths=()."),
        (["--epochs", "many"], "--epochs must be a whole number. Got epochs=many."),
        (
            ["--data", "images"],
            "--data must be a YAML file of options such as --data.source. Got data=images.",
        ),
        (
            ["--unet=false", "--depths", "0"],
            "--unet must be a YAML file of options such as --unet.base_filters. Got unet=false.",
        ),
        (["--optimizer.learning_rate", "x"], "learning_rate must be a number. Got"),
    ],
)
def test_a_wrong_value_says_what_the_option_takes(argv, message, capsys):
    study = argv[0].startswith(("--depths", "--unet"))
    with pytest.raises(SystemExit) as stop:
        parse_config(StudyConfig if study else ClassificationConfig, argv, "x")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(("value", "got"), [("", ""), ("onnx,onx", "onnx,onx"), ("[]", "")])
def test_an_unknown_format_is_refused_before_anything_is_written(value, got, capsys):
    assert main(["export", "RUN", "--to", "x", "--format", value]) == 2
    error = capsys.readouterr().err
    assert "--format must be one or several of saved_model, web" in error
    assert f"Got format={got}.\n" in error


def test_a_wrong_list_in_a_file_says_what_the_option_takes(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("image_size: [64]\n")
    with pytest.raises(ValueError, match=r"--image_size must be two whole numbers, as 64,64\. Got"):
        load_config(ClassificationConfig, file)


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("depth: 2\nepochs: 7\ndata:\n  source: phantom\n")
    config = parse("--config", str(file), "--epochs", "3", "--split.offset", "4")
    assert (config.depth, config.epochs, config.data.source) == (2, 3, "phantom")
    assert config.split.offset == 4
    assert config.batch_size == ClassificationConfig().batch_size


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--dept", "1"], ["dept", "depth"]),
        (["--depth", "3"], ["depth", "3"]),
        (["--epochs", "0"], ["epochs must be positive", "0"]),
        (["--epochs", "many"], ["epochs", "many"]),
        (["--split.offset", "20"], ["split.offset must be from 0 to 19", "20"]),
        (["--split.test_folds", "18"], ["test_folds", "18"]),
        (["--data.cache", "disc"], ["data.cache", "disc"]),
        (
            ["--augment.rotation_degres", "3"],
            ["augment.rotation_degres", "augment.rotation_degrees"],
        ),
        (["--optimizer.learning_rate", "-1"], ["learning_rate", "-1"]),
        (["--name", "../x"], ["name", "../x"]),
        (["--image_size", "[8,8]"], ["image_size", "8"]),
        (["--config", "missing.yaml"], ["missing.yaml"]),
    ],
)
def test_wrong_flags_get_one_line_and_code_2(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(*argv)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("train_cls.py: error: ")
    assert message.count("\n") == 1
    for word in words:
        assert word in message


@pytest.mark.parametrize("text", ["data:\n  sorce: x\n", "dropout: 2\n", "depth: [", "- 1\n"])
def test_wrong_files_get_one_line_and_code_2(text, tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit) as stop:
        parse("--config", str(file))
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@settings(max_examples=30)
@given(
    depth=st.sampled_from([0, 1, 2, "all"]),
    epochs=st.integers(1, 1000),
    rate=st.floats(1e-6, 1.0),
    offset=st.integers(0, 19),
    zoom=st.floats(0, 0.9),
    size=st.tuples(st.integers(32, 512), st.integers(32, 512)),
    weights=st.sampled_from(["auto", "none", "some file.h5", "no", "1.5"]),
)
def test_a_config_survives_its_yaml(
    tmp_path_factory, depth, epochs, rate, offset, zoom, size, weights
):
    config = ClassificationConfig(
        depth=depth,
        epochs=epochs,
        image_size=size,
        weights=weights,
        optimizer=OptimizerConfig(learning_rate=rate),
        split=SplitConfig(offset=offset),
        augment=AugmentConfig(zoom=zoom),
    )
    file = tmp_path_factory.mktemp("yaml") / "c.yaml"
    file.write_text(to_yaml(config))
    assert load_config(ClassificationConfig, file) == config


def test_identity_ignores_where_the_run_goes():
    assert identity(ClassificationConfig(name="a")) == identity(ClassificationConfig(name="b"))
    assert identity(ClassificationConfig(depth=0)) != identity(ClassificationConfig(depth=2))


def test_help_and_print_config_need_no_tensorflow():
    script = (
        "import sys; from kerascxr.config import ClassificationConfig; import train_cls\n"
        "try: train_cls.main(['--help', 'all'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--augment.rotation_degrees" in done.stdout


def test_print_config_reads_back(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        parse("--depth", "2", "--print_config")
    assert not stop.value.code
    file = tmp_path / "c.yaml"
    file.write_text(capsys.readouterr().out)
    assert parse("--config", str(file)) == ClassificationConfig(depth=2)


def test_a_config_is_read_the_same_whatever_was_read_before(capsys, tmp_path):
    """One parser reads all configs of a kind; its messages name what is read."""
    file = tmp_path / "c.yaml"
    file.write_text(to_yaml(ClassificationConfig(depth=2)))
    for _ in range(2):
        assert parse("--data.source", "x", "--dropout", "0.5").dropout == 0.5
        assert load_config(ClassificationConfig, file) == ClassificationConfig(depth=2)
        assert parse() == ClassificationConfig()
        (tmp_path / "wrong.yaml").write_text("epochs: many")
        with pytest.raises(ValueError, match=r"wrong\.yaml: error: --epochs must be"):
            load_config(ClassificationConfig, tmp_path / "wrong.yaml")
        with pytest.raises(SystemExit):
            parse("--epochs", "many")
        assert capsys.readouterr().err.startswith("train_cls.py: error: --epochs must be")


@pytest.mark.parametrize("kind", [ClassificationConfig, SegmentationConfig, PretrainingConfig])
def test_a_resumed_run_keeps_its_settings_and_takes_the_places_of_its_command(kind):
    resolved = kind(name="old", batch_size=16)
    resumed = with_own_places(kind(name="new", batch_size=64, runs=Path("elsewhere")), resolved)
    assert resumed == kind(name="new", batch_size=16, runs=Path("elsewhere"))
