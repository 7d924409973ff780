"""Names in messages."""

from kerascxr.names import counted


def test_one_is_singular_and_all_other_counts_are_plural():
    assert [counted(n, "file") for n in (0, 1, 2, 2000)] == [
        "0 files",
        "1 file",
        "2 files",
        "2,000 files",
    ]
