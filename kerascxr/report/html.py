"""Sections as one self-contained HTML page, by the templates in ``templates/``."""

import base64
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from kerascxr import __version__
from kerascxr.report.blocks import Block, Figure, Section, Statement, Tabulated
from kerascxr.tables import NOTHING, table_cells

_TEMPLATES = Environment(
    loader=PackageLoader("kerascxr.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)

_LONG = 24  # characters
_LONG_WORD = re.compile(rf"\S{{{_LONG - 8},}}")
_HYPHENED = re.compile(r"(?<!\S)\S{1,12}-\S{1,12}(?!\S)")
_NUMBER = re.compile(
    r"(?P<value>[-+]?\d[\d,.]*(e[-+]\d+)?%?( ± [\d.,]+)?)"
    r"( (?P<interval>\[[^]]*\]|\([-+\d.%]+ to [-+\d.%]+\)))?"
)


def _unbroken(text: str) -> Markup:
    """Keeps a word such as "(seed-0)" on one line."""
    return Markup(_HYPHENED.sub(r'<span class="word">\g<0></span>', str(escape(text))))


def _breakable(text: str) -> Markup:
    """Lets a long word, such as a file's name, break behind underscores."""
    parts = _LONG_WORD.sub(lambda word: word[0].replace("_", "_\0"), text)
    return Markup(str(escape(parts)).replace("\0", "<wbr>"))


_TEMPLATES.filters |= {"unbroken": _unbroken, "breakable": _breakable}


def html_page(
    parts: Sequence[Section], title: str, made: str = "from run folders", notice: str = ""
) -> str:
    """Returns sections as one HTML page that holds its pictures and its style.

    Args:
        parts: The sections, in order.
        title: The page's heading.
        made: What the page was made from, for the footer.
        notice: What a reader must know first; it stands under the heading.
    """
    sections = [
        {
            "title": part.title,
            "level": part.level,
            "number": number,
            "pieces": [*_pieces(part.blocks)],
        }
        for part, number in zip(parts, _numbers(parts), strict=True)
    ]
    template = _TEMPLATES.get_template("page.html")
    return template.render(
        title=title, made=made, notice=notice, version=__version__, sections=sections
    )


def _numbers(parts: Sequence[Section]) -> Iterator[str]:
    """Yields "1", "2", "2.1", "2.2", "3": a printed page has no links to follow."""
    section = inner = 0
    for part in parts:
        section, inner = (section, inner + 1) if part.level > 2 else (section + 1, 0)
        yield f"{section}.{inner}" if inner else f"{section}"


def _pieces(blocks: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """Yields what the template shows; consecutive figures form one gallery."""
    for kind, group in itertools.groupby(blocks, type):
        if kind is Figure:
            yield {"kind": "gallery", "figures": [*map(_figure, group)]}  # type: ignore[arg-type]
            continue
        for block in group:
            if isinstance(block, Tabulated):
                yield {"kind": "table"} | _table(block)
            elif isinstance(block, Statement):
                yield {"kind": "statement", "about": block.about, "points": block.points}
            else:
                yield {"kind": "paragraph", "text": block}


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "alt": figure.alt,
        "caption": figure.caption,
        "size": "wide" if figure.wide else "small" if figure.small else "",
        "beside": figure.beside,
        "xray": figure.xray,
        "format": figure.path.suffix.removeprefix("."),
        "bytes": base64.b64encode(figure.path.read_bytes()).decode("ascii"),
    }


def _table(block: Tabulated) -> dict[str, Any]:
    (header, *rows), _ = table_cells(block.table)
    columns = [*zip(*rows, strict=True)] or [()] * len(header)
    return {
        "title": block.table.title,
        "note": block.note,
        "beside": block.beside,
        "header": header,
        "kinds": ["", *map(_kind, columns[1:])],
        "rows": [
            {"muted": index in block.muted, "name": row[0], "cells": [*map(_cell, row[1:])]}
            for index, row in enumerate(rows)
        ],
    }


def _kind(column: Sequence[str]) -> str:
    """Returns a column's class: "number" goes to the right, "text" gets room for sentences."""
    filled = [cell for cell in column if cell not in (NOTHING, "")]
    if filled and all(map(_NUMBER.fullmatch, filled)):
        return "number"
    return "text" if any(len(cell) > _LONG for cell in column) else ""


def _cell(cell: str) -> dict[str, str]:
    """Divides a cell such as "0.9632 [0.944, 0.980]", so that the interval stands below."""
    found = _NUMBER.fullmatch(cell)
    if not found:
        return {"text": cell, "interval": ""}
    value = found["value"].replace("± ", "±\N{NO-BREAK SPACE}")
    return {"text": value, "interval": found["interval"] or ""}
