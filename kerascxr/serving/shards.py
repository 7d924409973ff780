"""Shards: the parts of a list of files that several jobs predict, each on its own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kerascxr.serving.files import nameable


@dataclass(frozen=True)
class Shard:
    """One of several parts of a list of files.

    Attributes:
        number: Which one, 1..count.
        count: How many there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads "2/10", the second of ten.

        Raises:
            ValueError: If it is something else.
        """
        found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text, re.ASCII)
        number, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= count:
            raise ValueError(
                f"--shard must be I/N with I from 1 to N, such as 2/10. Got shard={text!r}."
            )
        return cls(number, count)

    def part(self, files: Sequence[Path], batch: int) -> tuple[list[Path], list[tuple[str, str]]]:
        """Returns the files of this shard: whole batches of the list, one after the other.

        A model's last digits can depend on what else is in a batch, so no batch is divided: each
        shard computes batches that a call for all files would compute as well. Of fewer batches
        than shards, some shards are empty.

        Args:
            files: All files, in the same order for every shard.
            batch: How many files a batch has.

        Returns:
            The files; and, for the first shard, what ``nameable`` splits off from all of them.
        """
        named, unnameable = nameable(files)
        batches = -(-len(named) // batch)
        begin, end = (batches * number // self.count for number in (self.number - 1, self.number))
        return named[begin * batch : end * batch], unnameable if self.number == 1 else []

    def named(self, path: Path) -> Path:
        """Returns this shard's name for a file, such as table-00002-of-00010.csv."""
        if self == WHOLE:
            return path
        return path.with_stem(f"{path.stem}-{self.number:05d}-of-{self.count:05d}")


WHOLE = Shard(1, 1)
"""All files, under their own names."""
