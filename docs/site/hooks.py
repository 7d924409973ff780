"""What the site has beyond the files of docs/: command help, configs, notebooks, other pages.

MkDocs calls the functions ``on_...`` while it builds the site (``hooks`` in mkdocs.yml).
"""

import base64
import html
import importlib
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from kerascxr.cli.config_files import config_files, summary
from kerascxr.cli.help import described_options
from kerascxr.cli.main import COMMANDS, PROG, command_module

ROOT = Path(__file__).parents[2]

# Pages that stand outside of docs/, and their places in the site.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "kerascxr/models/lungs/card.md": "reference/lung-model.md",
}
NOTEBOOKS = {
    path: f"notebooks/{path.stem}.md" for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
}
SUBCOMMANDS = {"data": "data_audit"}  # command -> module of its subcommand "audit"

LONG_WORD = 24  # characters of code that a table's column holds without a line break

_LINK = re.compile(r"(\[[^\]]+\])\(([^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that stand outside of docs/, and the notebooks as pages."""
    from mkdocs.structure.files import File

    for source, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for path, place in NOTEBOOKS.items():
        page, pictures = notebook_page(path)
        files.append(File.generated(config, place, content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fills in generated parts, and leads links of the repository to pages of the site."""
    place = page.file.src_uri
    source = {there: here for here, there in PAGES.items()}.get(place, f"docs/{place}")
    markdown = markdown.replace("<!-- all commands -->", commands_page())
    markdown = markdown.replace("<!-- all configs -->", configs_page())
    return _LINK.sub(lambda found: _moved(*found.groups(), source, place), markdown)


def on_page_content(content: str, page: Any, config: Any, files: Any) -> str:
    """Says where code and percentages break between lines, and links a picture to its file."""
    content = re.sub(r"<pre.*?</pre>|<code.*?</code>", _breaks, content, flags=re.S)
    content = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", content)
    picture = r'<p>(<img [^>]*src="([^"]+)"[^>]*>)</p>'
    linked = r'<p><a href="\2" title="The picture in its own size">\1</a></p>'
    return re.sub(picture, linked, content)


def _breaks(found: re.Match[str]) -> str:
    """Keeps options whole, and lets long words of inline code break behind a separator."""
    inline = found[0].startswith("<code")

    def text(part: str) -> str:
        part = re.sub(r"(?<![\w-])--[a-z][\w.-]*", r'<span class="option">\g<0></span>', part)
        if not inline:
            return part
        long = rf"[^\s<>]{{{LONG_WORD + 1},}}"
        return re.sub(long, lambda word: re.sub(r"(::|[/_=,](?!$))", r"\1<wbr>", word[0]), part)

    parts = re.split(r"(<[^>]*>)", found[0])  # tags are at odd places
    return "".join(part if index % 2 else text(part) for index, part in enumerate(parts))


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Returns a notebook as Markdown, and its pictures by their file names."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", [])})
            if "image/png" in data:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![What the cell shows]({name})")
            else:
                parts.append("```text\n" + "".join(data["text/plain"]).rstrip() + "\n```")
    file = f"[{path.name}]({path.name})"
    title, *rest = parts[0].split("\n", 1)
    parts[0] = f"{title}\n\nThis page is a notebook, {file}, with its outputs.\n{''.join(rest)}"
    return "\n\n".join(parts) + "\n", pictures


def commands_page() -> str:
    """Returns a section for each command, with what its ``--help all`` shows."""
    parts = []
    for title, names in COMMANDS.items():
        parts.append(f"## {title}")
        for name in names:
            parts += _section(f"{PROG} {name}", command_module(name))
            if name in SUBCOMMANDS:
                module = importlib.import_module(f"kerascxr.cli.{SUBCOMMANDS[name]}")
                parts += _section(f"{PROG} {name} audit", module)
    return "\n\n".join(parts)


def configs_page() -> str:
    """Returns a section for each packaged config, with its text."""
    parts = []
    for name, path in config_files().items():
        text = path.read_text(encoding="utf-8").rstrip()
        parts += [f"## {name}", summary(path), f"```yaml\n{text}\n```"]
    return "\n\n".join(parts)


def _section(prog: str, module: Any) -> list[str]:
    parts = [f"### {prog}", html.escape((module.__doc__ or "").partition("\n")[0])]
    hidden = getattr(module, "HIDDEN", ())
    for title, options in described_options(module.parser(prog), hidden).items():
        parts.append(f"**{_plain(title)}**")
        # Text of the options is text: no character of it is Markdown.
        parts += [f"`{flag}`\n:   {_plain(about)}" for flag, about in options]
    return parts


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text) or "–"


def _moved(text: str, target: str, source: str, place: str) -> str:
    """Returns a link of a page as the site needs it; without a page there, its text alone."""
    file, hash_, anchor = target.partition("#")
    if re.match(r"\w+:", target) or not file:
        return f"{text}({target})"
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), file))
    if wanted.startswith("docs/"):
        found = wanted.removeprefix("docs/")
        page = NOTEBOOKS.get(ROOT / wanted, place)
        found = found if page == place else page  # a notebook's own page links to its file
    elif wanted in PAGES:
        found = PAGES[wanted]
    else:
        return text[1:-1]
    moved = posixpath.relpath(found, posixpath.dirname(place) or ".")
    return f"{text}({moved}{hash_}{anchor})"
