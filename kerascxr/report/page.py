"""The report: one self-contained HTML page, Markdown and LaTeX, written whole or not at all."""

import base64
import shutil
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

from kerascxr import __version__
from kerascxr.plots.comparison import all_curves
from kerascxr.report.blocks import Figure, Section, Tabulated
from kerascxr.report.contents import sections
from kerascxr.runs.atomic import replace_folder
from kerascxr.runs.reading import read_runs
from kerascxr.tables import latex_table, markdown_table, table_cells

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
    if to.exists() and any(to.iterdir()) and not (to / "report.md").exists():
        raise ValueError(f"the report's folder must be empty or hold a report. Got to={to}.")
    runs = read_runs(paths)

    def fill(folder: Path) -> None:
        (folder / "figures").mkdir()
        classifiers = [run for run in runs if run.task == "classification"]
        with tempfile.TemporaryDirectory() as drawn:
            curves = Path(drawn) / "curves.png" if classifiers else None
            if curves:
                all_curves(classifiers, curves)
            parts = sections(runs, curves)
            for figure in _figures(parts):
                shutil.copyfile(figure.path, folder / "figures" / f"{figure.name}.png")
            page = html_page(parts)
        (folder / "index.html").write_text(page, encoding="utf-8")
        (folder / "report.md").write_text(markdown_page(parts), encoding="utf-8")
        (folder / "tables.tex").write_text(latex_tables(parts), encoding="utf-8")

    replace_folder(to, fill)
    return to / "index.html"


def markdown_page(parts: Sequence[Section]) -> str:
    """Returns the report as Markdown; pictures are in ``figures/`` beside it."""
    lines = [f"# {_TITLE}"]
    for part in parts:
        lines.append(f"{'#' * part.level} {part.title}")
        for block in part.blocks:
            if isinstance(block, str):
                lines.append(block)
            elif isinstance(block, Figure):
                lines.append(f"![{block.alt}](figures/{block.name}.png)\n\n*{block.caption}*")
            else:
                table = markdown_table(block.table.header, block.table.rows)
                lines += [f"**{block.table.title}**", table, *([block.note] if block.note else [])]
    return "\n\n".join(lines) + "\n"


def latex_tables(parts: Sequence[Section]) -> str:
    """Returns all tables for LaTeX, in order."""
    tables = [
        latex_table(block.table, f"tab:{block.label}")
        for part in parts
        for block in part.blocks
        if isinstance(block, Tabulated)
    ]
    return "% Needs \\usepackage{booktabs}.\n\n" + "\n\n".join(tables) + "\n"


def html_page(parts: Sequence[Section], title: str = _TITLE, made: str = "from run folders") -> str:
    """Returns sections as one HTML page with their pictures inside.

    Args:
        parts: What it says.
        title: Its heading.
        made: What the footer says of its making.
    """
    links = "".join(
        f'<li class="level{part.level}"><a href="#{_anchor(number)}">{escape(part.title)}</a></li>'
        for number, part in enumerate(parts)
    )
    body = "\n".join(_section(part, number) for number, part in enumerate(parts))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1></header>\n"
        f'<nav aria-label="Contents"><ol>{links}</ol></nav>\n<main>\n{body}\n</main>\n'
        f"<footer>Made by kerascxr {escape(__version__)} {escape(made)}.</footer>\n"
        "</body>\n</html>\n"
    )


def _figures(parts: Sequence[Section]) -> list[Figure]:
    return [block for part in parts for block in part.blocks if isinstance(block, Figure)]


def _anchor(number: int) -> str:
    return f"section-{number + 1}"


def _section(part: Section, number: int) -> str:
    pieces: list[str] = []
    gallery: list[str] = []
    for block in [*part.blocks, None]:
        if isinstance(block, Figure):
            gallery.append(_picture(block))
            continue
        if gallery:
            pieces.append(f'<div class="gallery">{"".join(gallery)}</div>')
            gallery = []
        if isinstance(block, str):
            pieces.append(f"<p>{escape(block)}</p>")
        elif block is not None:
            pieces.append(_table(block))
    heading = f"<h{part.level}>{escape(part.title)}</h{part.level}>"
    inner = "\n".join(pieces)
    return f'<section id="{_anchor(number)}" class="level{part.level}">{heading}\n{inner}</section>'


def _picture(figure: Figure) -> str:
    data = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    kind = ' class="wide"' if figure.wide else ' class="small"' if figure.small else ""
    return (
        f'<figure{kind}><img alt="{escape(figure.alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _table(block: Tabulated) -> str:
    (header, *rows), right = table_cells(block.table)
    kinds = [' class="number"' if one else "" for one in right]
    head = "".join(
        f'<th scope="col"{kind}>{escape(cell)}</th>'
        for cell, kind in zip(header, kinds, strict=True)
    )
    lines = []
    for index, row in enumerate(rows):
        first = f'<th scope="row">{escape(row[0])}</th>'
        others = "".join(
            f"<td{kind}>{_unbroken(escape(cell))}</td>"
            for cell, kind in zip(row[1:], kinds[1:], strict=True)
        )
        muted = ' class="muted"' if index in block.muted else ""
        lines.append(f"<tr{muted}>{first}{others}</tr>")
    note = f'<p class="note">{escape(block.note)}</p>' if block.note else ""
    # The box scrolls sideways on narrow screens, so it must be reachable by keyboard.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(block.table.title)}">'
        f"<table><caption>{escape(block.table.title)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{note}"
    )


def _unbroken(cell: str) -> str:
    """Keeps an interval, "[0.944, 0.980]", on one line."""
    return cell.replace(", ", ",&nbsp;") if cell.endswith("]") else cell


_STYLE = """\
:root { --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --paper: #ffffff; --shade: #f4f6f8;
  --link: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #a3adb8; --line: #3a424b; --paper: #14181d; --shade: #1d2329;
    --link: #79b8ff; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, nav, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 2.2rem 0 1rem; }
h2 { font-size: 1.4rem; margin: 3rem 0 0.75rem; padding-top: 0.75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 2.2rem 0 0.5rem; }
p { max-width: 46rem; }
a { color: var(--link); }
nav ol { list-style: none; margin: 0; padding: 0.75rem 1rem; background: var(--shade);
  border-radius: 8px; columns: 2; }
nav li { break-inside: avoid; padding: 0.1rem 0; }
nav li.level3 { padding-left: 1.1rem; font-size: 0.92rem; }
.scroll { overflow-x: auto; margin: 1rem 0 0.25rem; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.35rem; }
th, td { text-align: left; padding: 0.32rem 0.5rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th, .number { white-space: nowrap; }
td:not(.number) { min-width: 7.6rem; overflow-wrap: anywhere; }
th[scope="row"] { font-weight: 500; }
thead th { border-bottom: 2px solid var(--soft); font-weight: 600; }
.number { text-align: right; }
tr.muted th, tr.muted td { color: var(--soft); font-style: italic; }
tr.muted th { padding-left: 1.6rem; }
.note { color: var(--soft); font-size: 0.9rem; margin-top: 0.25rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 1rem; margin: 1rem 0; align-items: start; }
figure { margin: 0; }
figure.wide { grid-column: 1 / -1; }
.gallery:has(.small) { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
figure.small { overflow-wrap: anywhere; }
figure img { display: block; width: 100%; height: auto; max-width: 56rem; margin: 0 auto;
  background: #ffffff; border: 1px solid var(--line); border-radius: 6px; }
figcaption { color: var(--soft); font-size: 0.9rem; padding: 0.3rem 0.1rem; }
footer { color: var(--soft); font-size: 0.85rem; padding-top: 2.5rem; padding-bottom: 2.5rem; }
@media (max-width: 40rem) {
  nav ol { columns: 1; }
  h1 { font-size: 1.5rem; }
  th, td { padding: 0.3rem 0.5rem; }
  figure.wide { overflow-x: auto; }
  figure.wide img { min-width: 34rem; }
}
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --shade: #fff; --link: #000; }
  body { font-size: 10pt; }
  nav { display: none; }
  header, main, footer { max-width: none; padding: 0; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .scroll { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td, .number { padding: 0.15rem 0.35rem; white-space: normal; }
  .gallery { grid-template-columns: 1fr 1fr; }
  figure.wide img { max-width: 85%; }
}
"""
