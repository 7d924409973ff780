"""The report: one self-contained HTML page, Markdown and LaTeX, written whole or not at all."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kerascxr.report.blocks import Figure, Section, Statement, Tabulated
from kerascxr.report.contents import sections
from kerascxr.report.html import html_page
from kerascxr.report.limits import drawn_notice
from kerascxr.report.pictures import packed
from kerascxr.runs.atomic import check_replaceable, replace_folder
from kerascxr.runs.reading import read_runs
from kerascxr.tables import latex_table, markdown_table

_TITLE = "Chest X-ray models: report"


def write_report(paths: Sequence[Path], to: Path) -> Path:
    """Writes index.html, report.md, tables.tex and figures/ from finished run folders.

    Args:
        paths: Run folders.
        to: The folder to write; a report that is there is replaced.

    Returns:
        The HTML page, which needs no other file and nothing from the network.

    Raises:
        ValueError: If a run is not finished or damaged, or ``to`` holds something else.
    """
    check_replaceable(to, "report")
    runs = read_runs(paths)

    def fill(folder: Path) -> None:
        (folder / "figures").mkdir()
        with tempfile.TemporaryDirectory() as drawn:
            parts = packed(sections(runs, Path(drawn)), folder / "figures")
            notice = drawn_notice(runs)
            page = html_page(parts, _TITLE, notice=notice)
        (folder / "index.html").write_text(page, encoding="utf-8")
        (folder / "report.md").write_text(markdown_page(parts, notice), encoding="utf-8")
        (folder / "tables.tex").write_text(latex_tables(parts), encoding="utf-8")

    replace_folder(to, fill, "report")
    return to / "index.html"


def markdown_page(parts: Sequence[Section], notice: str = "") -> str:
    """Returns the report as Markdown; pictures are in ``figures/`` beside it."""
    lines = [f"# {_TITLE}", *([f"**{notice}**"] if notice else [])]
    for part in parts:
        lines.append(f"{'#' * part.level} {part.title}")
        for block in part.blocks:
            if isinstance(block, str):
                lines.append(block)
            elif isinstance(block, Statement):
                lines.append(_statement(block))
            elif isinstance(block, Figure):
                lines.append(f"![{block.alt}](figures/{block.path.name})\n\n*{block.caption}*")
            else:
                table = markdown_table(block.table.header, block.table.rows)
                lines += [f"**{block.table.title}**", table, *([block.note] if block.note else [])]
    return "\n\n".join(lines) + "\n"


def _statement(block: Statement) -> str:
    if len(block.points) == 1:
        return f"**{block.about}** {block.text}"
    return "\n".join([f"**{block.about}**\n", *(f"- {point}" for point in block.points)])


def latex_tables(parts: Sequence[Section]) -> str:
    """Returns all tables for LaTeX, in order, with their notes as captions.

    A title that several tables have is followed by its section's, such as a model's name.
    """
    blocks = [(part.title, item) for part in parts for item in part.blocks]
    found = [(section, item) for section, item in blocks if isinstance(item, Tabulated)]
    titles = Counter(item.table.title for _, item in found)
    tables = []
    for section, item in found:
        table = item.table
        if titles[table.title] > 1 and table.title.casefold() not in section.casefold():
            table = table._replace(title=f"{table.title} ({section})")
        tables.append(latex_table(table, f"tab:{item.label}", item.note))
    return "% Needs \\usepackage{booktabs,graphicx}.\n\n" + "\n\n".join(tables) + "\n"
