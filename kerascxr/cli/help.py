"""Help texts: short by default, whole with ``--help all``; values instead of Python types.

The short help has at most 40 lines: the options that a user decides first, each with the first
sentence of its text. So the first sentence of an option's docstring must be able to stand alone.
"""

import argparse
import re
import shutil
import textwrap
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from kerascxr.tables import capitalised

_INDENT = 28
_COMMON = (
    ("--quiet, --verbose", "Print warnings and errors only, or print more."),
    ("--help [all]", "Print this help, or all options."),
)
_CONFIG = "config"
_HELP = ("-h", "--help")


def asks_for_help(argv: Sequence[str]) -> bool:
    """Returns whether arguments ask for the help."""
    return any(item in _HELP for item in argv)


def answer_help(
    parser: ArgumentParser,
    argv: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None = None,
    hidden: Sequence[str] = (),
) -> None:
    """Prints the help if the arguments ask for it.

    Args:
        parser: The command's parser.
        argv: Its arguments.
        groups: What the short help shows: title -> options. None shows all.
        hidden: Options that are never shown, with all that begins with one of them and a ".".

    Raises:
        SystemExit: With code 0, after printing.
    """
    asked = [place for place, item in enumerate(argv) if item in _HELP]
    if asked:
        whole = list(argv[asked[0] + 1 : asked[0] + 2]) == ["all"]
        print(help_text(parser, None if whole else groups, hidden))
        raise SystemExit(0)


def shown_options(parser: ArgumentParser, hidden: Sequence[str] = ()) -> list[argparse.Action]:
    """Returns the options and arguments of a parser that a user can give.

    Args:
        parser: The parser.
        hidden: As for ``answer_help``.
    """
    return [
        action
        for action in parser._actions
        if action.dest != "help"
        and type(action).__name__ != "_ActionConfigLoad"
        and not any(f"{action.dest}.".startswith(f"{name}.") for name in hidden)
    ]


def help_text(
    parser: ArgumentParser,
    groups: Mapping[str, Sequence[str]] | None = None,
    hidden: Sequence[str] = (),
) -> str:
    """Returns a parser's help; see ``answer_help``."""
    actions = {action.dest: action for action in shown_options(parser, hidden)}
    places = [item for item in actions.values() if not item.option_strings]
    usage = " ".join(["usage:", parser.prog, *map(_values, places), "[OPTIONS]"])
    lines = [usage, "", *textwrap.wrap(parser.description or "", _width()), ""]
    if groups is None:
        shown = _all_groups(parser, actions)
    else:
        shown = {title: [actions[name] for name in names] for title, names in groups.items()}
    for title, members in shown.items():
        lines.append(f"{title}:")
        for action in members:
            about, default = _about(action)
            if groups is not None:
                about = re.sub(r"\. .*", ".", about)  # the first sentence
            lines += _entry(_flag(action), about, default, most=None if groups is None else 2)
        lines.append("")
    if groups is None:
        lines.append("Always:")
    else:
        lines.pop()  # they belong to the last group
    for flag, about in _COMMON:
        lines += _entry(flag, about)
    return "\n".join(lines)


def described_options(
    parser: ArgumentParser, hidden: Sequence[str] = ()
) -> dict[str, list[tuple[str, str]]]:
    """Returns what ``--help all`` shows: title -> each option with its values, and its text.

    Args:
        parser: The parser.
        hidden: As for ``answer_help``.
    """
    actions = {action.dest: action for action in shown_options(parser, hidden)}
    return {
        title: [(_flag(action), "".join(_about(action))) for action in members]
        for title, members in _all_groups(parser, actions).items()
    } | {"Always": list(_COMMON)}


def values_of(hint: Any) -> list[str]:
    """Returns the values that an option of a type can have, or [] where they are not few.

    Args:
        hint: A type annotation.
    """
    if hint is bool:
        return ["true", "false"]
    if get_origin(hint) is Literal:
        return [str(item) for item in get_args(hint)]
    if get_origin(hint) in (list, tuple):
        return values_of(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [values_of(item) for item in get_args(hint) if item is not type(None)]
        return [value for kind in kinds for value in kind] if all(kinds) else []
    return []


def is_path(hint: Any) -> bool:
    """Returns whether an option's type is a path, or can be one."""
    return hint is Path or Path in get_args(hint)


def _all_groups(
    parser: ArgumentParser, actions: Mapping[str, argparse.Action]
) -> dict[str, list[argparse.Action]]:
    groups: dict[str, list[argparse.Action]] = {}
    for group in parser._action_groups:
        members = [item for item in group._group_actions if item.dest in actions]
        if members:
            parts = {item.dest.rpartition(".")[0] for item in members}
            prefix = f" (--{parts.pop()}.*)" if len(parts) == 1 and parts != {""} else ""
            groups.setdefault(f"{(group.title or 'Options').rstrip('.')}{prefix}", []).extend(
                members
            )
    return {capitalised(title): members for title, members in groups.items()}


def _flag(action: argparse.Action) -> str:
    if not action.option_strings:
        return _values(action)
    return " ".join([action.option_strings[-1], _values(action)]).strip()


def _values(action: argparse.Action) -> str:
    hint = getattr(action, "_typehint", None) or action.type
    choices = [str(item) for item in action.choices or ()] or values_of(hint)
    name = action.dest.rpartition(".")[2].upper()
    if not action.option_strings:
        return f"{name}..." if action.nargs == "+" else f"[{name}]" if action.nargs == "?" else name
    if action.nargs == 0 or action.dest == "print_config":
        return ""
    if get_origin(hint) in (list, tuple):
        return "A,B" if not choices else "{" + ",".join(choices) + "},..."
    if choices:
        return "{" + ",".join(choices) + "}"
    if action.dest == _CONFIG:
        return "FILE|NAME"
    plain = next((item for item in get_args(hint) if item is not type(None)), hint)
    if plain is Path:
        return "PATH"
    return "N" if plain is int else "X" if plain is float else name


def _about(action: argparse.Action) -> tuple[str, str]:
    text = " ".join((action.help or "").split())
    if action.dest == "print_config":
        text = "Print the config as YAML and stop."
    elif action.dest == _CONFIG:
        text = 'A YAML file or a packaged config (see "kerascxr configs"); options win over it.'
    default = _default(action.default)
    return text, f" (default: {default})" if default and action.option_strings else ""


def _default(value: Any) -> str:
    if value is None or value == {} or value == argparse.SUPPRESS:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def _entry(flag: str, about: str, default: str = "", most: int | None = None) -> Iterable[str]:
    """Yields the lines of an option; what is longer than ``most`` lines is cut."""
    flag, width = f"  {flag}", _width() - _INDENT
    lines = textwrap.wrap(about + default, width) or [""]
    if most and len(lines) > most:
        about = textwrap.shorten(about, most * width - len(default) - 8, placeholder=" ...")
        lines = textwrap.wrap(about + default, width)
    if len(flag) + 2 > _INDENT:
        yield flag
    else:
        yield f"{flag:<{_INDENT}}{lines.pop(0)}".rstrip()
    for line in lines:
        yield " " * _INDENT + line


def _width() -> int:
    return min(max(shutil.get_terminal_size((96, 24)).columns - 1, 60), 100)
