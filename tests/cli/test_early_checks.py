"""Wrong names and paths are refused before TensorFlow starts, and before anything is written."""

import pytest

from kerascxr.cli.main import main
from kerascxr.serving.web_names import CARD, LISTING

NOWHERE = ("--data.source", "nowhere")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("train-cls", "--backbone", "efficientnetb7"), "unknown backbone 'efficientnetb7'"),
        (("train-cls", *NOWHERE), "source='nowhere'"),
        (("train-seg", *NOWHERE), "source='nowhere'"),
        (("study", "--backbones", "efficientnetb7"), "unknown backbone 'efficientnetb7'"),
        (("study", *NOWHERE), "source='nowhere'"),
        (("study", "--unet.data.source", "nowhere"), "source='nowhere'"),
        (("data", "nowhere"), "source='nowhere'"),
        (("evaluate", "nope"), "nope must be the folder of a finished run"),
        (("evaluate", "{run}", *NOWHERE), "source='nowhere'"),
        (("audit", "nope"), "nope must be the folder of a finished run"),
        (("robustness", "nope"), "nope must be the folder of a finished run"),
        (("export", "nope", "--to", "x"), "nope must be the folder of a finished run"),
        (("predict", "{run}", "no.png", "--to", "x.csv"), "Got 'no.png'"),
        (("predict", "nope", "no.png", "--to", "x.csv"), "Got nope, which is neither"),
        (("lungs", "no.png", "--to", "x"), "Got 'no.png'"),
        (("lungs", "{run}", "--to", "x", "--lungs", "nope"), "Got nope, which is neither"),
        (("lungs", "{run}", "--to", "x", "--lungs", "{run}"), "--lungs must be a U-Net's"),
        (("train-cls", "--lungs", "nope"), "nope must be the folder of a finished run"),
        (("audit", "{run}", "--lungs", "nope"), "nope must be the folder of a finished run"),
        (("evaluate", "{run}", "--lungs", "nope"), "nope must be the folder of a finished run"),
        (
            ("export", "{run}", "--to", "x", "--segmentation", "nope"),
            "nope must be the folder of a finished run",
        ),
        (
            ("export", "{run}", "--to", "x", "--format", "onnx", "--segmentation", "package"),
            "--segmentation must come with --format saved_model or web",
        ),
        (
            ("export", "{run}", "--to", "x", "--format", "onnx", "--onnxruntime", "x.tgz"),
            "--onnxruntime must come with --format web",
        ),
        (("app", "{page}", "--segmentation", "x"), "--segmentation must be left out for a page"),
        (("app", "{page}", "--segmentation", "null"), "--segmentation must be left out for a page"),
        (("app", "{page}", "--onnxruntime", "x.tgz"), "--onnxruntime must be left out for a page"),
        (
            ("predict", "{run}", "{run}/figures", "--to", "x.csv", "--segmentation", "nope"),
            "nope must be the folder of a finished run",
        ),
    ],
)
def test_it_is_one_line_and_nothing_is_written(
    argv, said, runs, tmp_path, tmp_path_factory, monkeypatch, capsys
):
    page = tmp_path_factory.mktemp("page")
    for name in (LISTING, CARD):
        (page / name).parent.mkdir(exist_ok=True)
        (page / name).touch()

    def start():
        raise AssertionError("TensorFlow was started")

    module = "training" if argv[0].startswith("train") else argv[0]
    module = "lungs" if module == "predict" else module  # which starts it for both
    monkeypatch.setattr(f"kerascxr.cli.{module}.start_tensorflow", start)
    monkeypatch.chdir(tmp_path)
    assert main([item.format(run=runs[0], page=page) for item in argv]) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_variable_that_names_no_source_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERASCXR_DATA", "nowhere")
    assert main(["train-cls"]) == 2
    assert "KERASCXR_DATA is set: the data source must exist" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_called_like_the_packages_lung_model_is_not_passed_over(
    runs, tmp_path, monkeypatch, capsys
):
    (tmp_path / "package").symlink_to(runs[1])
    monkeypatch.chdir(tmp_path)
    for argv in (
        ["audit", f"{runs[0]}", "--lungs", "package"],
        ["lungs", f"{runs[0]}", "--to", "x", "--lungs", "package"],
    ):
        assert main(argv) == 2
        message = capsys.readouterr().err
        assert f"Give the folder as {tmp_path / 'package'}" in message
