"""The folder of cached features and lung masks: written whole, validated on reading, limited."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.config import DataConfig
from kerascxr.runs.atomic import replacing, write_json
from kerascxr.runs.cache import CacheEntry, enforce_limit, leftovers, use

_DIGEST_CHUNK = 2**22


@dataclass(frozen=True)
class FeatureFolder:
    """Features on disk, each in a file that its key names.

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
        """Returns whether a key's file was finished; ``open`` checks whether it is whole."""
        return all(path.exists() for path in self._paths(key))

    def open(self, key: str, owner: object) -> np.ndarray | None:
        """Maps a file if it is whole: its description has its shape and digest.

        Args:
            key: The file's key.
            owner: The file is kept at least as long as this object exists.

        Returns:
            float16, or None if there is no such file or it is damaged.
        """
        if not self.has(key):
            return None
        path, description = self._paths(key)
        use(self.path / key, owner)
        try:
            known = json.loads(description.read_text(encoding="utf-8"))
            empty = path.stat().st_size == 0
            array = np.empty(0, np.float16) if empty else np.memmap(path, np.float16, "r")
        except (ValueError, FileNotFoundError):  # damaged, or removed by another process
            return None
        if array.size != np.prod(known["shape"]) or _digest(array) != known["sha256"]:
            return None
        return array.reshape(known["shape"])

    def write(
        self, key: str, values: Iterable[np.ndarray], shape: tuple[int, ...], about: Mapping
    ) -> None:
        """Writes a file. The caller holds the key's lock.

        Args:
            key: The file's key.
            values: float16, in order; together of the given shape.
            shape: The shape.
            about: What the features are of, for lists: ``backbone``, ``source`` and more.
        """
        for left in self.path.glob(f".partial-{key}-*"):  # a killed process left them
            left.unlink()
        path, description = self._paths(key)
        digest = hashlib.sha256()  # of what was computed, not of what a disk made of it
        with replacing(path) as partial, partial.open("wb") as file:
            for batch in values:
                data = batch.tobytes()
                digest.update(data)
                file.write(data)
        known: dict[str, Any] = {"shape": list(shape), "sha256": digest.hexdigest()}
        write_json(description, known | {"about": dict(about)})

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
            entry = (path.with_suffix(""), [path, description], text or "no description")
            found.append(CacheEntry.of("features", *entry, usable=bool(text)))
        for path in sorted(self.path.glob("lungs-*.npz")):
            found.append(CacheEntry.of("features", path.with_suffix(""), [path], "lung masks"))
        return found

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.path / f"{key}.f16", self.path / f"{key}.json"


def _digest(array: np.ndarray) -> str:
    digest = hashlib.sha256()
    for begin in range(0, array.size, _DIGEST_CHUNK):
        digest.update(array[begin : begin + _DIGEST_CHUNK].tobytes())
    return digest.hexdigest()
