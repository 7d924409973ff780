"""Names in messages."""

from pathlib import Path

from kerascxr.names import counted, listed, with_folders


def test_one_is_singular_and_all_other_counts_are_plural():
    assert [counted(n, "file") for n in (0, 1, 2, 2000)] == [
        "0 files",
        "1 file",
        "2 files",
        "2,000 files",
    ]


def test_equal_names_get_as_much_of_their_paths_as_differs(tmp_path, monkeypatch):
    paths = [Path(name) for name in ("a/run", "b/run", "c/other", "d/run")]
    names = ["m", "m", "m", "n"]
    assert with_folders(names, paths) == ["m (a/run)", "m (b/run)", "m (c/other)", "n"]
    assert with_folders(["m", "m"], [paths[0], paths[2]]) == ["m (run)", "m (other)"]
    monkeypatch.chdir(tmp_path)
    here = with_folders(["m", "m"], [Path(), Path("b")])
    assert here == [f"m ({tmp_path.name})", "m (b)"]


def test_names_of_a_sentence_have_commas_before_the_last():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed((f"{n:,}" for n in (1, 2000, 30)), "or") == "1, 2,000 or 30"
