"""The folder of cached features and lung masks: written whole, validated on reading, limited."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerascxr.config import DataConfig
from kerascxr.runs.atomic import replacing, write_json
from kerascxr.runs.cache import CacheEntry, enforce_limit, leftovers, use

_DIGEST_CHUNK = 2**22


class Stored(NamedTuple):
    """What a key's files hold.

    Attributes:
        features: float16 (n, ...), mapped from disk.
        statistics: float32 (n, m), layer statistics of the same images; None if there are none.
    """

    features: np.ndarray
    statistics: np.ndarray | None


@dataclass(frozen=True)
class FeatureFolder:
    """Features on disk, with the layer statistics of the same images, in files that a key names.

    Attributes:
        path: The folder. It appears with the first file.
        limit_gb: The largest size of the folder, in GB (1e9 bytes).
    """

    path: Path
    limit_gb: float = DataConfig.features_gb

    @classmethod
    def of(cls, data: DataConfig) -> "FeatureFolder":
        """Returns the folder that a config names."""
        return cls(data.features, data.features_gb)

    def free_bytes(self) -> int:
        """Returns how many bytes are free where the folder is or will be."""
        folder = self.path
        while not folder.exists():
            folder = folder.absolute().parent
        return shutil.disk_usage(folder).free

    def lock(self, key: str) -> Path:
        """Returns the lock file of those that write a key's file."""
        return self.path / f".{key}.lock"

    def has(self, key: str) -> bool:
        """Returns whether a key's files were finished; ``open`` checks whether they are whole."""
        path, _, description = self._paths(key)
        return path.exists() and description.exists()

    def open(self, key: str, owner: object) -> Stored | None:
        """Maps a key's files if they are whole: the description has their shapes and digests.

        Args:
            key: The files' key.
            owner: The files are kept at least as long as this object exists.

        Returns:
            None if there are no such files, or one is damaged.
        """
        if not self.has(key):
            return None
        path, of_statistics, description = self._paths(key)
        use(self.path / key, owner)
        try:
            known = json.loads(description.read_text(encoding="utf-8"))
            features = _mapped(path, np.float16, known["features"])
            statistics = None
            if known["statistics"] is not None:
                statistics = _mapped(of_statistics, np.float32, known["statistics"])
        except (KeyError, ValueError, FileNotFoundError):  # damaged, or removed by another process
            return None
        return Stored(features, statistics)

    def write(
        self,
        key: str,
        values: Iterable[tuple[np.ndarray, ...]],
        shape: tuple[int, ...],
        about: Mapping,
    ) -> None:
        """Writes a key's files. The caller holds the key's lock.

        Args:
            key: The files' key.
            values: Batches, in order, of features, float16, together of the given shape, and,
                where there are any, of layer statistics, float32 (batch, m).
            shape: The shape.
            about: What the features are of, for lists: ``backbone``, ``source`` and more.
        """
        for left in self.path.glob(f".partial-{key}-*"):  # a killed process left them
            left.unlink()
        path, of_statistics, description = self._paths(key)
        digest = hashlib.sha256()  # of what was computed, not of what a disk made of it
        statistics: list[np.ndarray] = []
        with replacing(path) as partial, partial.open("wb") as file:
            for batch, *more in values:
                data = batch.tobytes()
                digest.update(data)
                file.write(data)
                statistics += more
        known: dict[str, Any] = {
            "features": {"shape": list(shape), "sha256": digest.hexdigest()},
            "statistics": None,
            "about": dict(about),
        }
        if statistics:
            together = np.concatenate(statistics)
            with replacing(of_statistics) as partial:
                together.tofile(partial)
            digest = hashlib.sha256(together.tobytes())
            known["statistics"] = {"shape": list(together.shape), "sha256": digest.hexdigest()}
        write_json(description, known)

    def enforce_limit(self) -> None:
        """Removes the least recently used files that no process uses, until the limit holds."""
        enforce_limit(self.entries(), self.limit_gb, "data.features_gb")

    def entries(self) -> list[CacheEntry]:
        """Returns the cached features and lung masks, and what killed processes left of some."""
        found = list(leftovers(self.path, "features"))
        for path in sorted(self.path.glob("[!.]*.f16")):
            description = path.with_suffix(".json")
            try:
                about = json.loads(description.read_text(encoding="utf-8"))["about"]
                text = "{backbone}, {source}, {images} images, {size}".format_map(about)
            except (FileNotFoundError, ValueError, KeyError):
                text = ""
            files = [of for of in self._paths(path.stem) if of.exists()]
            entry = (path.with_suffix(""), files, text or "no description")
            found.append(CacheEntry.of("features", *entry, usable=bool(text)))
        for path in sorted(self.path.glob("lungs-*.npz")):
            found.append(CacheEntry.of("features", path.with_suffix(""), [path], "lung masks"))
        return found

    def _paths(self, key: str) -> tuple[Path, Path, Path]:
        """Returns the files of features and of statistics, and the description of both."""
        base = self.path / key
        return base.with_suffix(".f16"), base.with_suffix(".statistics"), base.with_suffix(".json")


def _mapped(path: Path, kind: type, known: Mapping[str, Any]) -> np.ndarray:
    """Maps a file of numbers.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it does not have the shape and the digest that are known of it.
    """
    array = np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)
    digest = hashlib.sha256()
    for begin in range(0, array.size, _DIGEST_CHUNK):
        digest.update(array[begin : begin + _DIGEST_CHUNK].tobytes())
    if digest.hexdigest() != known["sha256"]:
        raise ValueError(f"{path} must hold what was written to it")
    return array.reshape(known["shape"])
