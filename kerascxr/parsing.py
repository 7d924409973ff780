"""Configs on the command line and in YAML files, by jsonargparse."""

import dataclasses
import difflib
import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import yaml
from jsonargparse import ArgumentParser, Namespace

Config = TypeVar("Config")

_NOT_UTF8 = "{} must have UTF-8 characters only: rename the file or folder."

# What may differ between two calls that mean the same run.
_NOT_IDENTITY = (
    *("name", "runs", "overwrite", "cluster", "workers"),
    *("resources.cpus", "resources.gpus", "resources.memory_gb"),
    *("data.stores", "data.stores_gb", "data.features", "data.features_gb", "data.cache"),
    *("runtime.tensorboard", "runtime.checkpoint_seconds"),
)

_NOUNS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


def build_parser(config_class: type, prog: str) -> ArgumentParser:
    """Returns the command line of a config class: its fields as flags, and ``--config FILE``."""
    parser = ArgumentParser(
        prog=prog,
        description=(config_class.__doc__ or "").partition("\n")[0],
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="A YAML file; flags win over it.")
    parser.add_class_arguments(config_class)
    return parser


@functools.cache
def _kept_parser(config_class: type) -> ArgumentParser:
    """Returns the parser of a config class, built once: that takes longer than to parse."""
    return build_parser(config_class, "")


def _parser_for(config_class: type, prog: str) -> ArgumentParser:
    """Returns the kept parser with a name for its messages; nobody may add to it."""
    parser = _kept_parser(config_class)
    parser.prog = prog
    return parser


def _one_line(parser: ArgumentParser, error: Exception, argv: Sequence[str] = ()) -> str:
    text = " ".join(str(error).split())
    kind = re.match(r"Parser key \"([\w.]+)\": Expected an? (.+?)\. Got value: (.*)", text)
    if kind:
        name, wanted, got = kind.groups()
        wanted = re.sub(r"typing\.Literal\[(.*)\]", r"one of \1", wanted)
        wanted = re.sub(r"<class '([\w.]+)'>", lambda found: _NOUNS.get(found[1], found[1]), wanted)
        hints = {action.dest: getattr(action, "_typehint", None) for action in parser._actions}
        if _is_list(hints.get(name)):
            wanted, got = _list_rule(hints[name]), _given(argv, f"--{name}") or got
        text = f"--{name} must be {wanted}. Got {name}={got}."
    part = re.match(r'Parser key "([\w.]+)": Unable to load config', text)
    if part:
        name = part[1]
        options = [action.dest for action in parser._actions if action.dest.startswith(f"{name}.")]
        leaf = next(item for item in options if not any(o.startswith(f"{item}.") for o in options))
        got = _given(argv, f"--{name}")
        text = f"--{name} must be a YAML file of options such as --{leaf}. Got {name}={got}."
    required = re.match(r"(the following arguments are required: )(.+)", text)
    if required:
        flags = {
            item.dest: item.option_strings[-1] for item in parser._actions if item.option_strings
        }
        text = required[1] + ", ".join(flags.get(name, name) for name in required[2].split(", "))
    encoding = re.match(r'Parser key "([\w.]+)".*codec can\'t encode character', text)
    if encoding:
        text = _NOT_UTF8.format(encoding[1])
    unknown = re.search(r"(?:unrecognized arguments: --|does not accept option ')([\w.]+)", text)
    if unknown:
        known = [action.dest for action in parser._actions]
        group = re.search(r"Group '([\w.]+)'", text)
        asked = f"{group[1]}.{unknown[1]}" if group else unknown[1]
        near = difflib.get_close_matches(asked, known, n=1)
        text += f". Did you mean {near[0]!r}?" if near else ""
    return f"{parser.prog}: error: {text}"


def parse_config(config_class: type[Config], argv: Sequence[str] | None, prog: str) -> Config:
    """Reads the command line.

    Args:
        config_class: One of the dataclasses above.
        argv: Arguments, or None for the process's own.
        prog: The command's name, for messages.

    Returns:
        The config.

    Raises:
        SystemExit: With code 2 and one line on standard error if a key or a value is wrong; with
            code 0 after --help and --print_config.
    """
    parser = _parser_for(config_class, prog)
    values = parse_with(parser, argv)
    names = [item.name for item in dataclasses.fields(config_class)]  # type: ignore[arg-type]
    try:
        return config_class(**{name: values[name] for name in names})
    except ValueError as error:
        _refuse(parser, error)


def parse_with(parser: ArgumentParser, argv: Sequence[str] | None) -> Namespace:
    """Parses and builds the config objects; what is wrong is one line and code 2.

    Raises:
        SystemExit: See ``parse_config``.
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        values = parser.parse_args(_with_brackets(parser, arguments))
        _check_text(values)
        return parser.instantiate(values)
    except Exception as error:
        _refuse(parser, error, arguments)


def _check_text(values: Namespace) -> None:
    """Checks that names can be written to files; images in ``paths`` are reported one by one.

    Raises:
        ValueError: If a value has bytes that are not UTF-8, as names of files can.
    """
    for name, value in values.items():
        try:
            str("" if name == "paths" else value).encode()
        except UnicodeEncodeError:
            raise ValueError(_NOT_UTF8.format(name)) from None


def _with_brackets(parser: ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Returns arguments with ``--image_size 64,64`` as ``--image_size [64,64]``."""
    lists = {
        flag
        for action in parser._actions
        if _is_list(getattr(action, "_typehint", None))
        for flag in action.option_strings
    }
    found: list[str] = []
    for item in argv:
        flag, equals, value = item.partition("=")
        if equals and flag in lists:
            item = f"{flag}={_in_brackets(value)}"
        elif found and found[-1] in lists and not item.startswith("--"):
            item = _in_brackets(item)
        found.append(item)
    return found


def _in_brackets(value: str) -> str:
    value = value.strip()
    if value.startswith("(") and value.endswith(")"):
        value = value[1:-1]
    return value if value.startswith("[") else f"[{value}]"


def _is_list(hint: Any) -> bool:
    return get_origin(hint) in (list, tuple)


def _list_rule(hint: Any) -> str:
    """Says what a list option must be, e.g. "two whole numbers, as 64,64"."""
    kinds = get_args(hint)
    if get_origin(hint) is tuple and Ellipsis not in kinds:
        number = {2: "two", 3: "three"}.get(len(kinds), str(len(kinds)))
        return f"{number} whole numbers, as {','.join(['64'] * len(kinds))}"
    values = [str(value) for value in get_args(kinds[0])]
    if values:
        return f"one or several of {', '.join(values)}, as {','.join(values[:2])}"
    return "a list of names, as a,b"


def _given(argv: Sequence[str], flag: str) -> str | None:
    """Returns what the command line gives an option, as it stands there."""
    for place, item in reversed(list(enumerate(argv))):
        if item.startswith(f"{flag}="):
            return item.partition("=")[2]
        if item == flag and place + 1 < len(argv):
            return argv[place + 1]
    return None


def _refuse(parser: ArgumentParser, error: Exception, argv: Sequence[str] = ()) -> NoReturn:
    print(_one_line(parser, error, argv), file=sys.stderr)
    raise SystemExit(2) from None


def to_dict(config: Any) -> dict[str, Any]:
    """Returns a config as plain YAML values."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(config))


def identity(config: Any) -> dict[str, Any]:
    """Returns what makes two calls the same run, as flat ``{"data.source": ...}``."""

    def flatten(values: dict[str, Any], prefix: str) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, value in values.items():
            if isinstance(value, dict):
                flat |= flatten(value, f"{prefix}{key}.")
            else:
                flat[f"{prefix}{key}"] = value
        return flat

    flat = flatten(to_dict(config), "")
    return {key: value for key, value in flat.items() if key not in _NOT_IDENTITY}


def with_own_places(config: Config, resolved: Config) -> Config:
    """Returns ``resolved`` with the values of ``config`` that do not decide which run it is."""
    values: dict[str, Any] = {}
    known = {item.name for item in dataclasses.fields(config)}  # type: ignore[arg-type]
    for key in _NOT_IDENTITY:
        section, _, name = key.rpartition(".")
        if (section or name) not in known:  # a pretraining has fewer options
            continue
        if not section:
            values[name] = getattr(config, name)
            continue
        part = values.get(section, getattr(resolved, section))
        own = getattr(getattr(config, section), name)
        values[section] = dataclasses.replace(part, **{name: own})
    return dataclasses.replace(resolved, **values)  # type: ignore[type-var]


def read_yaml(path: Path) -> Any:
    """Returns the plain values of a YAML file, by the parser in C where PyYAML has it.

    Raises:
        OSError: If it cannot be read.
        yaml.YAMLError: If it is no YAML.
    """
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # six times as fast
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)


def to_yaml(config: Any) -> str:
    """Returns a config as YAML text that ``--config`` reads back."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def load_config(config_class: type[Config], path: Path) -> Config:
    """Reads a config from a YAML file.

    Raises:
        ValueError: If the file is missing or a key or value in it is wrong.
    """
    parser = _parser_for(config_class, str(path))
    names = [item.name for item in dataclasses.fields(config_class)]  # type: ignore[arg-type]
    try:
        values = parser.instantiate(parser.parse_path(path))
        return config_class(**{name: values[name] for name in names})
    except Exception as error:
        raise ValueError(_one_line(parser, error)) from None
