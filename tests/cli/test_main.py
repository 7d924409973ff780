"""The kerascxr command: finding commands, help, configs by name, verbosity, completion."""

import logging
import subprocess

import pytest

import kerascxr
import train_cls
import train_seg
from kerascxr.cli import config_files, help
from kerascxr.cli.main import COMMANDS, command_module, main
from tests.support.small_runs import bright_and_dark

NAMES = [name for names in COMMANDS.values() for name in names]


def printed_help(name, capsys, *more):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help", *more])
    assert not ended.value.code
    return capsys.readouterr().out


def test_without_a_command_all_are_listed(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    for name in NAMES:
        assert f"\n  {name} " in shown


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kerascxr {kerascxr.__version__}\n"


def test_an_unknown_command_ends_in_one_line_with_the_nearest_name(capsys):
    assert main(["train-clss", "--depth", "1"]) == 2
    message = capsys.readouterr().err
    assert "did you mean 'train-cls'" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_help_names_values_and_not_python_types(name, capsys):
    for text in (printed_help(name, capsys), printed_help(name, capsys, "all")):
        assert text.startswith(f"usage: kerascxr {name} ")
        assert "--quiet" in text
        for word in ("<class", "typing", "type:", "Path(", "None", "==SUPPRESS"):
            assert word not in text
        assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", ["train-cls", "train-seg", "study"])
def test_help_is_short_by_default_and_whole_with_all(name, capsys):
    short, whole = printed_help(name, capsys), printed_help(name, capsys, "all")
    titles = ["Your images:", "What to train:", "How long:", "Where results go:", "Settings:"]
    assert [line for line in short.splitlines() if line in titles] == titles
    module = command_module(name)
    for action in help.shown_options(module.parser(name), getattr(module, "HIDDEN", ())):
        assert f"  {action.option_strings[0]}" in whole


@pytest.mark.parametrize("columns", ["80", "100"])
@pytest.mark.parametrize("name", [*NAMES, "data audit"])
def test_help_has_at_most_40_lines(name, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        main([*name.split(), "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert not [line for line in lines if " ..." in line and "usage:" not in line]


def test_the_help_of_the_study_has_no_option_that_the_study_refuses(capsys):
    text = printed_help("study", capsys, "all")
    assert "--classifier.epochs" in text
    for name in ("classifier.depth", "classifier.data", "unet.name", "unet.runtime"):
        assert f"--{name}" not in text


@pytest.mark.parametrize(("script", "name"), [(train_cls, "train-cls"), (train_seg, "train-seg")])
def test_the_scripts_have_the_help_of_the_commands(script, name, capsys):
    with pytest.raises(SystemExit):
        script.main(["--help"])
    own = capsys.readouterr().out.split("\n", 1)
    assert own[0].startswith(f"usage: {script.__name__}.py")
    assert own[1] == printed_help(name, capsys).split("\n", 1)[1]


def test_a_packaged_config_is_found_by_name_from_anywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        train_cls.main(["--config", "smoke", "--print_config"])
    assert "name: smoke" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train_cls.main(["--config=smoke", "--print_config"])
    assert "name: smoke" in capsys.readouterr().out
    assert train_cls.main(["--config", "smokee"]) == 2
    assert "did you mean 'smoke'" in capsys.readouterr().err
    (tmp_path / "smoke").write_text("name: mine\n")  # a file of the user's comes first
    with pytest.raises(SystemExit):
        train_cls.main(["--config", "smoke", "--print_config"])
    assert "name: mine" in capsys.readouterr().out


def test_configs_are_listed_with_what_they_are_for(capsys):
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(config_files.config_files())
    for line, path in zip(lines, config_files.config_files().values(), strict=True):
        assert path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") in line
        assert line.endswith(".") and line.count(". ") == 0


@pytest.mark.parametrize(
    ("flags", "level"),
    [([], logging.INFO), (["--quiet"], logging.WARNING), (["--verbose"], logging.DEBUG)],
)
def test_quiet_and_verbose_set_what_is_printed(flags, level, monkeypatch, capsys):
    logger = logging.getLogger("kerascxr.cli.configs")

    def speak(argv, prog):
        assert argv == ["x"]
        for one in (logging.DEBUG, logging.INFO, logging.WARNING):
            logger.log(one, f"level {one}.")

    monkeypatch.setattr(command_module("configs"), "run", speak)
    assert main(["configs", *flags, "x"]) == 0
    wanted = [f"level {one}." for one in (10, 20, 30) if one >= level]
    assert capsys.readouterr().out.splitlines() == wanted


def test_the_data_set_can_be_positional_and_the_store_is_named(tmp_path, capsys):
    bright_and_dark(tmp_path / "set")
    stores = ["--stores", str(tmp_path / "stores")]
    assert main(["data", str(tmp_path / "set"), *stores]) == 0
    (store,) = (tmp_path / "stores").glob("set-*")
    assert f"The store is in {store}." in capsys.readouterr().out
    assert main(["data", str(tmp_path / "set"), "--source", "phantom", *stores]) == 2
    assert "must be given once" in capsys.readouterr().err


def test_completion_in_bash_completes_commands_options_and_values(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "kerascxr.bash"
    script.write_text(capsys.readouterr().out)

    def complete(*words):
        code = (
            f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
            "_shtab_kerascxr; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert complete("kerascxr", "train-") == ["train-cls", "train-seg"]
    assert complete("kerascxr", "train-cls", "--ep") == ["--epochs"]
    assert complete("kerascxr", "train-cls", "--depth", "a") == ["all"]
    assert "--classifier.depth" not in complete("kerascxr", "study", "--classifier.")


def test_completion_in_zsh_has_every_command(capsys):
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#compdef kerascxr")
    for name in NAMES:
        assert f"\n    {name}:" in script


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["train-cls", "--data.source", "x\udcff"], "data.source"),
        (["train-seg", "--runs", "x\udcff"], "runs"),
        (["data", "x\udcff"], "path"),
        (["report", "x\udcff"], "runs"),
        (["predict", "x\udcff", "a.png", "--to", "t.csv"], "model"),
        (["cache", "--features", "x\udcff"], "features"),
    ],
)
def test_a_name_that_is_not_utf8_is_one_line(argv, name, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith(f"{name} must have UTF-8 characters only: rename the file or folder.")


@pytest.mark.parametrize(
    ("argv", "missing"),
    [
        (("export", "RUN"), "--to"),
        (("predict", "RUN"), "paths, --to"),
        (("lungs", "--to", "x"), "paths"),
    ],
)
def test_a_missing_option_is_named_as_it_is_written(argv, missing, capsys):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"arguments are required: {missing}\n")


@pytest.mark.parametrize(
    ("option", "value", "own"),
    [
        ("classifier.data.phantom_images", "100", " by --data.phantom_images"),
        ("unet.split.seed", "3", " by --split.seed"),
        ("classifier.backbone", "other", " by --backbones"),
        ("classifier.name", "mine", ""),
    ],
)
def test_an_option_that_the_study_sets_names_the_studys_own(option, value, own, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["study", f"--{option}", value])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert f"{option} must be left out: the study sets it{own}. Got " in message
    assert "Config(" not in message and message.count("\n") == 1
