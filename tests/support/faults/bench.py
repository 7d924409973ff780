"""A bench for faults: folders to disturb, what an undisturbed run leaves, and the comparison."""

import functools
import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.support.faults.commands import COMMANDS, Command
from tests.support.faults.processes import Changes, Child, Moment
from tests.support.faults.trees import differences, files_in, leftovers, same

_SECONDS = 600  # after which a command counts as hanging
_WITHIN = 0.05  # seconds after a change in which a process is killed


@dataclass(frozen=True)
class Undisturbed:
    """What a command costs and leaves when nothing disturbs it.

    Attributes:
        folder: What it leaves.
        cpu_seconds: What it takes.
        changes: How many files it makes, writes, renames and removes.
        since: The CPU seconds and the changes before its kills may come, see ``Command.since``.
    """

    folder: Path
    cpu_seconds: float
    changes: int
    since: tuple[float, int] = (0.0, 0)


@dataclass
class Trial:
    """What a fault did to a command.

    Attributes:
        fault: The fault's name.
        command: The command's name.
        hits: How often the fault struck; 0 if the command had ended before.
        said: The line of error that the disturbed command ended with, if it did.
        problems: What is wrong afterwards, one line each.
        left: Files that an undisturbed run does not leave.
        moments: When the fault struck.
    """

    fault: str
    command: str
    hits: int = 0
    said: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    moments: list[str] = field(default_factory=list)


class Bench:
    """Runs commands in folders of their own.

    Args:
        folder: Where all of it goes.
        main: Runs a command's arguments; returns the exit code.
        places: What {images} and {other} stand for in a command's line.
    """

    def __init__(self, folder: Path, main: Callable[[list[str]], int], places: dict[str, Path]):
        self.trial = folder / "trial"
        self.log = folder / "log.txt"
        self._folder = folder
        self._main = main
        self._places = {name: str(path) for name, path in places.items()}
        self._empty = folder / "empty"
        self._empty.mkdir(parents=True, exist_ok=True)
        self._undisturbed: dict[str, Undisturbed] = {}

    def start(self, line: str, user: int | None = None, log: Path | None = None) -> Child:
        """Starts a command in the trial folder."""
        argv = line.format(**self._places).split()
        return Child(lambda: self._main(argv), self.trial, log or self.log, user)

    def run(self, line: str) -> int:
        """Runs a command in the trial folder to its end; returns its exit code."""
        return self.start(line).wait(_SECONDS)

    def reset(self, command: Command) -> None:
        """Gives the trial folder what the command begins with; its log is emptied."""
        for item in self.trial.iterdir() if self.trial.exists() else ():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        shutil.copytree(self._before(command), self.trial, dirs_exist_ok=True)
        self.log.write_text("", encoding="utf-8")

    def measure(self, command: Command) -> Undisturbed:
        """Runs a command undisturbed; takes what an earlier bench left of the same code.

        Raises:
            RuntimeError: If it does not end as it should.
        """
        name = command.name.replace(" ", "_")
        folder, note = self._folder / name, self._folder / f"{name}.json"
        now = [
            _digest_of_code(),
            f"{command.line} {command.since}",
            str(command.after and self._known(command.after)),
        ]
        if note.exists():
            known = json.loads(note.read_text(encoding="utf-8"))
            if known["of"] == now:
                numbers = known["cpu_seconds"], known["changes"], tuple(known["since"])
                found = Undisturbed(folder, *numbers)
                return self._undisturbed.setdefault(command.name, found)
        self.reset(command)
        with Changes(self.trial) as watched:
            child, changes, since = self.start(command.line), 0, (0.0, 0)
            while not child.poll():
                changes += watched.count(0.01)
                if since[1] == 0 and command.since in watched.names:
                    since = child.used(), changes
            changes += watched.count(0.0)
        if child.code != command.code:
            raise RuntimeError(f"{command.name}: {child.code}\n{self.printed()[-2000:]}")
        if command.since and since[1] == 0:
            raise RuntimeError(f"{command.name} does not write {command.since}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.trial, folder)
        values = {"of": now, "cpu_seconds": child.cpu_seconds, "changes": changes, "since": since}
        note.write_text(json.dumps(values) + "\n", encoding="utf-8")
        found = Undisturbed(folder, child.cpu_seconds, changes, since)
        return self._undisturbed.setdefault(command.name, found)

    def _known(self, name: str) -> float:
        return self._undisturbed[name].cpu_seconds

    def undisturbed(self, command: Command) -> Undisturbed:
        """Returns what ``measure`` found."""
        return self._undisturbed[command.name]

    def printed(self) -> str:
        """Returns what was printed in the trial."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def refused(self, command: Command, trial: Trial, code: int, text: str) -> bool:
        """Notes how a disturbed command ended; returns whether that was not as undisturbed.

        It must end with its usual exit code, or with another one and one line of error.
        """
        lines = [line for line in text.split("\n") if ": error: " in line]
        lines += [line for line in text.split("\n") if " failed: " in line][:1]  # of a study
        if code < 0:
            trial.problems.append(f"ended by signal {-code}")
        elif "Traceback" in text:
            last = [line for line in text.split("\n") if line.strip()][-1]
            trial.problems.append(f"a traceback: {last[:160]}")
        elif code != command.code and len(lines) != 1:
            trial.problems.append(f"exit code {code} and {len(lines)} lines of error")
        trial.said += [re.split(": error: | failed: ", line, maxsplit=1)[1][:160] for line in lines]
        return code != command.code

    def finish(self, command: Command, trial: Trial) -> None:
        """Runs the command undisturbed where a fault left it, and notes what is wrong then."""
        code = self.run(command.line)
        if code != command.code:
            last = " ".join(self.printed().split())[-300:]
            trial.problems.append(f"the next call ended with {code}: {last}")
            return
        self.compare(command, trial)

    def compare(self, command: Command, trial: Trial) -> None:
        """Notes what differs from an undisturbed run."""
        known = self.undisturbed(command).folder
        trial.problems += differences(known, self.trial)
        trial.left += leftovers(known, self.trial)
        if command.proof:
            proof = next(item for item in COMMANDS if item.name == command.proof)
            if self.run(proof.line) != proof.code:
                trial.problems.append(f"{proof.name} does not run")
            trial.problems += differences(self.undisturbed(proof).folder, self.trial)

    def _before(self, command: Command) -> Path:
        return self._undisturbed[command.after].folder if command.after else self._empty

    def moment(self, command: Command, chance: random.Random) -> Moment:
        """Draws when a command is killed: half over its CPU time, half after a change."""
        known = self.undisturbed(command)
        seconds, changes = known.since
        if chance.random() < 0.5 or not known.changes:
            return Moment(cpu_seconds=chance.uniform(seconds, known.cpu_seconds))
        delay = 0.0 if chance.random() < 0.5 else chance.uniform(0, _WITHIN)
        return Moment(change=chance.randint(max(1, changes), known.changes), delay=delay)

    def lost(self, command: Command) -> list[str]:
        """Returns which files of before, that the command leaves alone or replaces, are damaged."""
        before, after = self._before(command), self.undisturbed(command).folder
        names, replaced = files_in(before), command.replaces
        kept = [
            name
            for name, path in names.items()
            if not (replaced and name.startswith(replaced))
            and (after / name).exists()
            and path.read_bytes() == (after / name).read_bytes()
        ]
        gone = [name for name in kept if not _equal(names[name], self.trial / name)]
        if replaced and not self._has_either(before / replaced, after / replaced, replaced):
            gone.append(f"{replaced}, old and new")
        return gone

    def _has_either(self, old: Path, new: Path, name: str) -> bool:
        place = self.trial / name
        places = (place, *(place.with_name(f".{age}-{place.name}") for age in ("old", "new")))
        return any(
            all(
                (found / file).exists() and same(path, found / file)
                for file, path in files_in(complete).items()
            )
            for found in places
            for complete in (old, new)
        )


@functools.cache
def _digest_of_code() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path("kerascxr").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _equal(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def finished(folder: Path) -> dict[str, object]:
    """Returns what is finished in a folder and must not be done again, each with its proof.

    The proof of a run, a store and of cached features is when they were written; that of a
    checkpoint its epochs, with the seconds that each took.
    """
    proofs: dict[str, object] = {}
    for name, path in files_in(folder).items():
        if path.name in ("DONE", "store.json") or path.suffix == ".f16":
            proofs[name] = path.stat().st_mtime_ns
        elif path.name == "latest.npz":
            with np.load(path) as arrays:
                rows = json.loads(str(arrays["state"]))["rows"]
            stage = "" if path.parent.name == "checkpoint" else f"{path.parent.name}_"
            run = path.parent.parent if not stage else path.parent.parent.parent
            proofs[str((run / f"{stage}history.json").relative_to(folder))] = [
                float(row["seconds"]) for row in rows
            ]
    return proofs


def done_again(folder: Path, proofs: dict[str, object], replaced: str) -> list[str]:
    """Returns what was finished and has been done again all the same, or is gone."""
    again = []
    for name, proof in proofs.items():
        path = folder / name
        hidden = any(part.startswith(".") for part in Path(name).parts)  # kept for a while only
        if hidden or (replaced and name.startswith(replaced)):
            continue
        if not path.exists():
            again.append(f"{name} is gone")
        elif isinstance(proof, list):
            rows = json.loads(path.read_text(encoding="utf-8"))
            if [row["seconds"] for row in rows][: len(proof)] != proof:
                again.append(f"{name}: {len(proof)} finished epochs were trained again")
        elif path.stat().st_mtime_ns != proof:
            again.append(f"{name} was made again")
    return again
