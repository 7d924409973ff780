"""What paths, folders and globs name; nothing is passed over without a word."""

from PIL import Image

from kerascxr.serving.files import find_files


def test_folders_that_a_glob_matches_are_named(tmp_path, messages):
    for name in ("a.png", "b/c.png", "d/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (1, 1)).save(tmp_path / name)
    assert find_files([f"{tmp_path}/*"]) == [tmp_path / "a.png"]
    assert messages() == [
        f"'{tmp_path}/*' matches 2 folders, such as {tmp_path}/b: passed over. A folder's own path "
        "takes the images in it and below it."
    ]
    assert len(find_files([f"{tmp_path}/**"])) == 3
    assert len(find_files([f"{tmp_path}/*.png"])) == 1
    assert len(messages()) == 1
