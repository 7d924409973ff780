"""Standard terms: the package, the configs and the documents avoid words that have a better one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SEARCHED = ("kerascxr", "configs", "docs", "examples", "tools")
SUFFIXES = {".py", ".yaml", ".md", ".html", ".css", ".jinja", ".j2", ".config", ".cff", ".toml"}

# (pattern of the word, what to write in its place). Underscores count as spaces.
WORDS = (
    (r"trunks?", "backbone"),
    (r"dealt|deals|dealing", "assigned to folds"),
    (r"blind folds?", "random folds"),
    (r"chains?", "near-duplicate cluster"),
    (r"miniatures?", "thumbnail"),
    (r"twins?", "leaked test image; near-duplicate"),
    (r"batter(y|ies)", "input ablations"),
    (r"set aside|sets aside|setting aside", "rejected"),
    (r"ruin(s|ed)?", "unreadable file"),
    (r"worsen(s|ed|ing)?|made worse", "corrupt, corrupted"),
    (r"random changes|chang(ed|es) at random", "augmentation, augmented"),
    (r"gates?", "input checks"),
    (r"neighbou?rhoods?", "out-of-distribution score"),
    (r"presentations?", "orientation classifier"),
    (r"mend(s|ed|ing)?", "hint; fix"),
    (r"tells?|told apart", "predicts, distinguishes, states"),
    (r"sees|surest", "gets, receives; most confident"),
    (r"feature views?", "augmented copies"),
    (r"(?<!of\s)freedom", "degrees of freedom"),
)

# (file, part of the line, why the word is right there).
ALLOWED = (
    ("CHANGELOG.md", "(was `set_aside.csv`)", "an old file name"),
    ("CHANGELOG.md", "`--feature_views` is now", "an old option"),
    ("kerascxr/evaluation/masks.py", "4-neighbourhood", "the term of morphology"),
    ("kerascxr/data/ingest/ingest.py", "spool.tell()", "the method of a file"),
    ("kerascxr/models/torch_checkpoint.py", "file.tell()", "the method of a file"),
)


def searched_files():
    """Every text file of the searched folders and of the repository's root."""
    files = [path for path in ROOT.iterdir() if path.suffix in SUFFIXES]
    for folder in SEARCHED:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return sorted(path for path in files if path.is_file())


def occurrences(pattern, text):
    """Yields the number and the text of each line in which the word begins."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)  # moves no line break
    word = re.compile(rf"(?<![a-z])(?:{pattern})(?![a-z])".replace(" ", r"\s+"), re.IGNORECASE)
    lines = text.splitlines()
    for match in word.finditer(spaced):
        number = spaced.count("\n", 0, match.start())
        yield number + 1, lines[number].strip()


@pytest.mark.parametrize(("pattern", "instead"), WORDS, ids=[word for word, _ in WORDS])
def test_the_standard_term_is_used(pattern, instead):
    found = []
    for path in searched_files():
        name = path.relative_to(ROOT).as_posix()
        right = [part for file, part, _ in ALLOWED if file == name]
        for number, line in occurrences(pattern, path.read_text(encoding="utf-8")):
            if not any(part in line for part in right):
                found.append(f"{name}:{number}: {line}")
    assert not found, f"Write {instead!r}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("pattern", "text", "numbers"),
    [
        (r"trunks?", "a\nThe Trunk.", [2]),
        (r"feature views?", "feature_views\nfeature\nviews", [1, 2]),
        (r"random changes", "randomChanges = 1", [1]),
        (r"gates?", "Gateway, delegates\ngate_table", [2]),
        (r"(?<!of\s)freedom", "degrees of\nfreedom\n_freedom", [3]),
    ],
)
def test_the_search_finds_a_word_in_every_form(pattern, text, numbers):
    assert [number for number, _ in occurrences(pattern, text)] == numbers


def test_what_is_allowed_is_still_there():
    for name, part, _ in ALLOWED:
        assert part in (ROOT / name).read_text(encoding="utf-8"), f"{name} has no {part!r}"
