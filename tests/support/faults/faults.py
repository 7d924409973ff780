"""The faults: each is done to a command, and what is left is compared with an undisturbed run."""

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.faults.bench import Bench, Trial, done_again, finished
from tests.support.faults.commands import Command
from tests.support.faults.processes import Changes
from tests.support.faults.trees import files_in

_SECONDS = 600
_PAGE = 4096


def kill(bench: Bench, command: Command, chance: random.Random, kills: int) -> Trial:
    """Kills a command, and the calls that go on with it, and then lets it finish."""
    trial = Trial("kill -9", command.name)
    bench.reset(command)
    proofs: dict[str, object] = {}
    for _ in range(kills):
        moment = bench.moment(command, chance)
        with Changes(bench.trial) as changes:
            child = bench.start(command.line)
            if not child.kill_at(moment, changes, _SECONDS):
                if child.code != command.code:
                    trial.problems.append(f"the call ended with {child.code}")
                break
        trial.hits += 1
        trial.moments.append(str(moment))
        trial.problems += [f"lost: {name}" for name in bench.lost(command)]
        trial.problems += done_again(bench.trial, _lasting(proofs), command.replaces)
        proofs |= finished(bench.trial)
    bench.finish(command, trial)
    trial.problems += done_again(bench.trial, proofs, command.replaces)
    return trial


def _lasting(proofs: dict[str, object]) -> dict[str, object]:
    """A killed run has not written its table of epochs yet, so these are checked at the end."""
    return {name: proof for name, proof in proofs.items() if not isinstance(proof, list)}


def full_disk(bench: Bench, command: Command, chance: random.Random) -> Trial:
    """Runs a command on a disk that becomes full on the way, and again with room on it."""
    trial = Trial("full disk", command.name)
    with _disk(bench.trial, "64g"):
        bench.reset(command)
        before = _allocated(bench.trial)
        growth = _allocated(bench.undisturbed(command).folder) - before
        room = chance.uniform(0.0, 1.0) * max(growth, _PAGE)
        trial.moments.append(f"room for {room / 1024:.0f} KiB, {growth / 1024:.0f} needed")
        size = (before + int(room)) // _PAGE * _PAGE + _PAGE
        _mount("-o", f"remount,size={size}", bench.trial)
        code = bench.run(command.line)
        if bench.refused(command, trial, code, bench.printed()):
            trial.hits += 1
        trial.problems += [f"lost: {name}" for name in bench.lost(command)]
        _mount("-o", "remount,size=64g", bench.trial)
        bench.log.write_text("", encoding="utf-8")
        bench.finish(command, trial)
    return trial


def read_only(bench: Bench, command: Command, chance: random.Random) -> Trial:
    """Runs a command where a folder that it has, or all of them, cannot be written, and again."""
    with _disk(bench.trial, "64g"):
        bench.reset(command)
        folders = [bench.trial, *(item for item in bench.trial.iterdir() if item.is_dir())]
        folder = chance.choice(folders)
        trial = Trial("read-only", command.name)
        trial.moments.append("all" if folder == bench.trial else folder.name)
        with _disk_as_it_is(folder):
            _mount("-o", "remount,bind,ro", folder)
            code = bench.run(command.line)
        if bench.refused(command, trial, code, bench.printed()):
            trial.hits += 1
        trial.problems += [f"lost: {name}" for name in bench.lost(command)]
        bench.log.write_text("", encoding="utf-8")
        bench.finish(command, trial)
    return trial


def together(bench: Bench, command: Command, chance: random.Random) -> Trial:
    """Runs a command twice at once. Both must end well, or one say that the other is at work."""
    trial = Trial("two at once", command.name)
    bench.reset(command)
    logs = [bench.log.with_name(f"log-{number}.txt") for number in range(2)]
    for log in logs:
        log.write_text("", encoding="utf-8")
    delay = chance.uniform(0, 0.5) * bench.undisturbed(command).cpu_seconds
    trial.moments.append(f"the second {delay:.1f} s later")
    first = bench.start(command.line, log=logs[0])
    time.sleep(delay)
    second = bench.start(command.line, log=logs[1])
    codes = [child.wait(_SECONDS) for child in (first, second)]
    trial.hits += 1
    for code, log in zip(codes, logs, strict=True):
        printed = log.read_text(encoding="utf-8", errors="replace")
        bench.refused(command, trial, code, printed)
    if command.code not in codes:
        trial.problems.append(f"neither ended well: {codes}")
    bench.compare(command, trial)
    return trial


def beside(bench: Bench, command: Command, other: Command, chance: random.Random) -> Trial:
    """Runs two commands that share caches at once; both must end well.

    Args:
        bench: The bench.
        command: One that begins with what ``other`` leaves, where they run one after the other.
        other: The other.
        chance: Draws how much later the second begins.
    """
    trial = Trial("two that share caches", f"{other.name}; {command.name}")
    bench.reset(other)
    first = bench.start(other.line)
    time.sleep(chance.uniform(0, 0.3) * bench.undisturbed(other).cpu_seconds)
    second = bench.start(command.line)
    codes = [child.wait(_SECONDS) for child in (first, second)]
    trial.hits += 1
    if codes != [other.code, command.code]:
        trial.problems.append(f"ended with {codes}: {' '.join(bench.printed().split())[-300:]}")
    bench.compare(command, trial)
    return trial


def clock(bench: Bench, command: Command, chance: random.Random, clock_file: Path) -> Trial:
    """Moves the clock by days while a command runs, kills it, and goes on in another time.

    Args:
        bench: The bench, in a process under libfaketime.
        command: The command.
        chance: Draws the jumps.
        clock_file: What libfaketime reads the offset from.
    """
    trial = Trial("clock jumps", command.name)

    def jump() -> None:
        days = chance.choice((-400, -3, -1, 1, 3, 400))
        trial.moments.append(f"{days:+d} d")
        trial.hits += 1
        clock_file.write_text(f"{days:+d}d\n", encoding="utf-8")

    bench.reset(command)
    jump()
    known = bench.undisturbed(command)
    with Changes(bench.trial) as changes:
        child = bench.start(command.line)
        while not child.poll() and child.used() < known.cpu_seconds * chance.uniform(0.1, 0.5):
            changes.count(0.01)
        jump()
        killed = child.kill_at(bench.moment(command, chance), changes, _SECONDS)
    if killed:
        jump()
    elif child.code != command.code:
        trial.problems.append(f"the call ended with {child.code}")
    bench.finish(command, trial)
    clock_file.write_text("+0\n", encoding="utf-8")
    return trial


def _allocated(folder: Path) -> int:
    return sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in files_in(folder).values())


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


@contextlib.contextmanager
def _disk(folder: Path, size: str) -> Iterator[None]:
    """Mounts an empty disk in memory at a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "kerascxr-faults", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def _disk_as_it_is(folder: Path) -> Iterator[None]:
    """Mounts a folder at itself, so that it can be made read-only alone."""
    _mount("--bind", folder, folder)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
