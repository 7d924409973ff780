"""What a report is made of: figures, tables and paragraphs in sections."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kerascxr.tables import Table


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        path: The file: PNG or WebP.
        name: A file name without suffix that no other figure of the report has.
        alt: What it shows, for who cannot see it.
        caption: What stands below it.
        wide: Whether it takes the page's whole width.
        beside: Whether it takes half the width in print, where it is wide otherwise.
        small: Whether several of its kind stand in a row.
        xray: Whether it shows X-rays, which keep their greys in the dark theme.
    """

    path: Path
    name: str
    alt: str
    caption: str
    wide: bool = False
    small: bool = False
    xray: bool = False
    beside: bool = False


@dataclass(frozen=True)
class Tabulated:
    """A table and how it is shown.

    Attributes:
        table: The table; its title stands above it.
        label: A short name that no other table of the report has.
        note: What stands below it.
        muted: Indices of rows that are not ours.
        beside: Whether it stands beside a figure in print.
    """

    table: Table
    label: str
    note: str = ""
    muted: frozenset[int] = frozenset()
    beside: bool = False


@dataclass(frozen=True)
class Statement:
    """A paragraph that begins with what it is about, or a list under it.

    Attributes:
        about: One or two words, in bold.
        points: The sentences; more than one are a list, such as one entry a model.
    """

    about: str
    points: Sequence[str]

    @property
    def text(self) -> str:
        """All points as one paragraph."""
        return " ".join(self.points)


Block = str | Statement | Tabulated | Figure
"""A paragraph, with or without a bold beginning, a table or a figure."""


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading.

    Attributes:
        title: The heading.
        blocks: What stands below it, in order.
        level: 2 for a section, 3 for one inside the section before.
    """

    title: str
    blocks: list[Block] = field(default_factory=list)
    level: int = 2
