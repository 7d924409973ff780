"""Every command and Python block of the README, the tutorials and the how-to guides works.

The tutorials, and of the other pages what is quick, run in order, in process, each page in a folder
of its own. ``PLACES`` says what stands in for the names in capitals and for drawn X-rays, and
``SMALL`` which options make a command quick; all other options are the page's. What cannot run here
(the whole study, Docker, a download) is parsed by the real parser, so that a wrong option fails.
"""

import argparse
import re
import runpy
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerascxr.cli import options
from kerascxr.cli.main import main
from kerascxr.data.corruptions import CORRUPTIONS
from tests.support.small_runs import SMALL as SMALL_RUN
from tests.support.small_runs import SMALL_UNET, bright_and_dark

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs/index.md", ROOT / "docs/results.md"]
PAGES += sorted([*ROOT.glob("docs/tutorials/*.md"), *ROOT.glob("docs/how-to/*.md")])

FIRST = "runs/classification/first"
PLACES = {
    "PATH": "{served}/set",
    "SUBSET": "{served}/set",
    "OTHER": "other",
    "LUNGS": "{served}/lungs",
    "IMAGES": "files",
    "RUN": FIRST,
    "WEIGHTS": "none",
    "phantom": "{served}/set",
    "runs/classification/smoke": FIRST,
    "runs/classification/number": FIRST,
    "runs/classification/efficientnetb0-depth1": FIRST,
    "runs/classification/leaky": "runs/classification/other",
    "data/COVID-19_Radiography_Dataset": "{served}/set",
    "runs/study": "runs/classification",
    "runs/classification/trio/seed-0": FIRST,
    "runs/classification/trio/seed-1": "runs/classification/other",
}
ENGINE = ["--feature_engine", "auto"]
# As in the runs of the fixture "served", so that a training finds its finished run.
SMALL = {
    "train-cls": [*SMALL_RUN, "--depth", "0", "--epochs", "2", "--name", "first", *ENGINE],
    "train-seg": [*SMALL_UNET, "--name", "lungs", "--data.source", "{served}/lungs"],
}
# Commands that are parsed only, by what they have in common, and why.
PARSED = (
    ("study --", "seven runs: tests/cli/test_study.py"),
    ("pretrain --", "up to an hour: tests/training/test_pretraining.py"),
    ("--config ", "packaged settings, which make a run slow"),
    ("--print_config", "ends with the config"),
    ("--roi lung_crop", "needs images of lungs"),
    ("--folds", "five runs"),
    ("--seeds", "three runs"),
    ("--augmented_copies", "a variant of a training: tests/training"),
    ("--features false", "the same"),
    ("--split.offset", "the same"),
    ("--split.groups ignored", "the same"),
    ("--weights imagenet", "a download"),
    ("--depth 1", "the backbone itself takes minutes"),
    ("kerascxr audit", "a model per ablation: tests/audits"),
    ("--cluster", "workers do not have the small model: tests/cluster"),
    ("--workers 4", "four processes: tests/cli/test_several_workers.py"),
    ("kerascxr app", "serves until Ctrl-C: tests/cli/test_app.py"),
    ("--format web", "fetches onnxruntime-web: tests/serving/test_export_web.py"),
    ("--format onnx", "needs packages that the tests do not install"),
    ("--to models/trio", "as slow as the classifier's export: tests/serving"),
    ("--to models/lungs", "as slow as the classifier's export: tests/serving"),
    ("--to examples/serving", "the export before it, at another place"),
    (" --segmentation runs/segmentation/", "with a U-Net an export is slow: tests/serving"),
    ("--prune all", "would delete weights of other projects"),
)
NOT_OURS = ("pip", "npm", "pytest", "docker", "(printf", "curl", "python -m mkdocs")


class ParsedError(Exception):
    """Ends a command once its options are parsed."""


def blocks(page):
    """Yields language and text of each fenced block of a page."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^ {4}(kerascxr|python|pip) ", text, re.M), f"{page}: fence the commands"
    yield from re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)


def commands(block):
    """Yields the commands of a shell block, without comments."""
    joined = re.sub(r"\\\n\s*|(?<=\|)\n\s*", " ", block)
    for line in joined.splitlines():
        yield from (part.strip() for part in re.split(r"&&|(?:^|\s)#.*", line) if part.strip())


def arguments(command):
    """The arguments of ``main``, or None for a program that is not ours."""
    found = re.match(r"(?:python -m )?kerascxr (.*)|python (train_\w+)\.py ?(.*)", command)
    if not found:
        return None
    ours, trainer, rest = found.groups()
    return shlex.split(ours if ours else f"{trainer.replace('_', '-')} {rest}")


def documented():
    for page in PAGES:
        for language, block in blocks(page):
            for command in commands(block) if language == "bash" else ():
                yield page, command


@pytest.fixture
def parse(monkeypatch):
    """Gives commands to the real parsers; nothing runs."""

    def stop(function):
        def parse_and_stop(*given):
            function(*given)
            raise ParsedError

        return parse_and_stop

    monkeypatch.setattr(options, "parse_with", stop(options.parse_with))
    monkeypatch.setattr(options, "parse_config", stop(options.parse_config))
    monkeypatch.setattr(
        argparse.ArgumentParser, "parse_args", stop(argparse.ArgumentParser.parse_args)
    )

    def parse(command):
        argv = arguments(command)
        if argv is None:
            script = re.match(r"python (?:-m )?([\w./]+)(.*)", command)
            assert script, f"unknown command: {command}"
            path = ROOT / (script[1] if script[1].endswith(".py") else _module(script[1]))
            monkeypatch.setattr("sys.argv", [str(path), *shlex.split(script[2])])
            with pytest.raises(ParsedError):
                runpy.run_path(str(path), run_name="__main__")
        elif argv != ["--version"]:
            with pytest.raises((ParsedError, SystemExit)) as ended:
                main(argv)
            assert ended.type is ParsedError or not ended.value.code, command

    return parse


def _module(name):
    return f"{name.replace('.', '/')}.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_has_real_options(page, parse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    again = tmp_path / FIRST / "config.yaml"
    again.parent.mkdir(parents=True)
    again.write_text("depth: 0\n", encoding="utf-8")
    for where, command in documented():
        if where == page and not command.startswith(NOT_OURS):
            parse(command)
        for file in re.findall(r"(?:-r|-f) (\S+)", command) if where == page else ():
            assert (ROOT / file).is_file(), command


def test_a_wrong_option_is_found(parse):
    with pytest.raises(AssertionError):
        parse("kerascxr train-cls --dept 1")
    with pytest.raises(AssertionError):
        parse("kerascxr audit RUN --epoch 1")
    with pytest.raises(AssertionError):
        parse("seg-cls")


@pytest.fixture
def place(served, tmp_path, monkeypatch):
    """A folder with what the commands take, as the current one; one corruption."""
    shutil.copytree(served / "runs", tmp_path / "runs")
    shutil.copytree(served / "stores", tmp_path / "data/stores")
    shutil.copytree(tmp_path / FIRST, tmp_path / "runs/classification/other")
    bright_and_dark(tmp_path / "other", each=20, seed=1)
    (tmp_path / "files").mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (48, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"files/{index}.png")
    Image.fromarray(pixels).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    for name in set(CORRUPTIONS) - {"noise"}:
        monkeypatch.delitem(CORRUPTIONS, name)
    return tmp_path


def run(command, served):
    """Runs a command of ours with small settings; skips what is only parsed."""
    argv = arguments(command)
    if argv is None or any(part in command for part, _ in PARSED):
        return
    argv = [PLACES.get(item, item) for item in argv] + SMALL.get(argv[0], [])
    assert main([item.replace("{served}", str(served)) for item in argv]) == 0, command


def run_python(block):
    for name, value in PLACES.items():
        block = block.replace(f'"{name}', f'"{value}')
    exec(block, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_run_in_order(page, place, served, any_lung_masks, whole_unet):
    for language, block in blocks(page):
        if language == "python":
            run_python(block)
        for command in commands(block) if language == "bash" else ():
            run(command, served)


def test_what_is_only_parsed_is_still_documented():
    text = "\n".join(command for _, command in documented())
    for part, _ in PARSED:
        assert part in text, part
