"""Disturbs the main commands, and compares what is left with an undisturbed run.

Run by hand, from the project's root, on Linux (as root, for disks that are full or read-only; with
faketime installed, for clock jumps)::

    python -m tools.inject_faults --kills 200 --to results.json

Every command runs on small drawn images, with a backbone of three convolutions. Faults are
SIGKILL of the whole process group (half of them at moments over a command's whole CPU time, half
within 50 ms after it makes, closes, renames or removes a file; up to three before a command may
finish), a full disk, read-only folders, two processes at once, and clock jumps. Afterwards the same
command runs undisturbed. It must end well, and all files must say what they say after an
undisturbed run, to the digit, apart from times. Prints a Markdown table; ends with code 1 if
anything is wrong.
"""

import argparse
import dataclasses
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import SupportsFloat, SupportsIndex

from kerascxr.tables import markdown_table
from tests.support.faults import faults
from tests.support.faults.bench import Bench, Trial
from tests.support.faults.commands import COMMANDS, Command, draw_sets, warm_up

FAULTS = ("kill", "full-disk", "read-only", "together", "clock")
_HEADER = ["fault", "command", "trials", "faults that struck", "ended with one line of error"]
_HEADER += ["files left over", "wrong"]
_LIBRARY = "libfaketime.so.1"
_IN_A_ROW = 3  # kills before a command may finish


def main() -> int:
    """Runs the tool; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="Kills over all commands.")
    parser.add_argument("--trials", type=int, default=2, help="Trials of each other fault.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of all moments.")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=FAULTS)
    parser.add_argument("--commands", nargs="+", help="Names of commands; by default all.")
    parser.add_argument("--folder", type=Path, help="Where to work; by default a temporary one.")
    parser.add_argument("--to", type=Path, help="A JSON file for every trial.")
    arguments = parser.parse_args()
    names = [item.name for item in COMMANDS]
    unknown = set(arguments.commands or ()) - set(names)
    if unknown:
        parser.error(f"--commands must be of {', '.join(names)}. Got {', '.join(unknown)}.")
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="kerascxr-faults-")).resolve()
    if "clock" in arguments.faults and not _under_libfaketime():
        library = _find_library()
        if library is None:
            print("Clock jumps are left out: install faketime (apt-get install faketime).")
            arguments.faults = [item for item in arguments.faults if item != "clock"]
        else:
            return _restart(library, folder)
    if os.geteuid() != 0 and {"full-disk", "read-only"} & set(arguments.faults):
        print("Full disks and read-only folders are left out: mounting takes root.")
        arguments.faults = [
            item for item in arguments.faults if item not in ("full-disk", "read-only")
        ]
    if _under_libfaketime():
        time.sleep = _sleep
    trials = []
    try:
        for trial in _all_trials(folder, arguments):
            trials.append(trial)
            _say(trial)
            if arguments.to:
                values = [dataclasses.asdict(item) for item in trials]
                arguments.to.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(table(trials))
    return 1 if any(trial.problems for trial in trials) else 0


def table(trials: list[Trial]) -> str:
    """Returns a Markdown table, a row for each fault and command."""
    rows: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        rows.setdefault((trial.fault, trial.command), []).append(trial)
    return markdown_table(
        _HEADER,
        [
            [
                *key,
                len(of),
                sum(trial.hits for trial in of),
                sum(bool(trial.said) for trial in of),
                sum(bool(trial.left) for trial in of),
                sum(bool(trial.problems) for trial in of),
            ]
            for key, of in rows.items()
        ],
    )


def _say(trial: Trial) -> None:
    state = "; ".join(trial.problems[:4]) or "right"
    left = f"; left: {', '.join(trial.left[:4])}" if trial.left else ""
    said = f"; said: {' | '.join(trial.said)}" if trial.said else ""
    when = f" ({', '.join(trial.moments)})" if trial.problems or trial.left else ""
    clock = time.strftime("%H:%M:%S")
    print(f"{clock} {trial.fault}, {trial.command}, {trial.hits}: {state}{left}{said}{when}")
    sys.stdout.flush()


def _all_trials(folder: Path, arguments: argparse.Namespace) -> Iterator[Trial]:
    run = warm_up()
    folder.mkdir(parents=True, exist_ok=True)
    images, other = draw_sets(folder)
    bench = Bench(folder, run, {"images": images.resolve(), "other": other.resolve()})
    wanted = arguments.commands or [item.name for item in COMMANDS]
    by_name = {item.name: item for item in COMMANDS}
    needed = set(wanted)
    for item in reversed(COMMANDS):  # a command comes after the one whose result it begins with
        if item.name in needed:
            needed |= {item.after, item.proof}
    for item in COMMANDS:
        if item.name in needed:
            known = bench.measure(item)
            print(
                f"{item.name}: {known.cpu_seconds:.1f} s of CPU time, {known.changes} changes of "
                "files"
            )
            sys.stdout.flush()
    commands = [by_name[name] for name in wanted]
    chance = random.Random(arguments.seed)
    for fault in arguments.faults:
        if fault == "kill":
            yield from _kills(bench, commands, chance, arguments.kills)
            continue
        for command in commands * arguments.trials:
            if fault == "full-disk":
                yield faults.full_disk(bench, command, chance)
            elif fault == "read-only":
                yield faults.read_only(bench, command, chance)
            elif fault == "clock":
                yield faults.clock(bench, command, chance, _clock_file(folder))
            else:
                yield faults.together(bench, command, chance)
                if command.beside:
                    yield faults.beside(bench, command, by_name[command.beside], chance)


def _kills(
    bench: Bench, commands: list[Command], chance: random.Random, wanted: int
) -> Iterator[Trial]:
    """Spreads the kills over the commands by their weights, in rounds."""
    struck = dict.fromkeys(commands, 0)
    tried = dict.fromkeys(commands, 0)  # also those that had ended before the moment came
    while sum(struck.values()) < wanted:
        command = min(commands, key=lambda item: tried[item] / item.weight)
        left = wanted - sum(struck.values())
        trial = faults.kill(bench, command, chance, min(left, chance.randint(1, _IN_A_ROW)))
        struck[command] += trial.hits
        tried[command] += max(1, trial.hits)
        yield trial


def _clock_file(folder: Path) -> Path:
    return folder / "clock"


def _under_libfaketime() -> bool:
    return _LIBRARY in os.environ.get("LD_PRELOAD", "")


def _sleep(seconds: SupportsFloat | SupportsIndex, /) -> None:
    """Stands for ``time.sleep``, whose system call libfaketime answers with an error."""
    select.select([], [], [], float(seconds))


def _find_library() -> Path | None:
    places = [*Path("/usr/lib").glob(f"*/faketime/{_LIBRARY}")]
    return places[0] if places else None


def _restart(library: Path, folder: Path) -> int:
    """Starts this command again under libfaketime, whose clock a file moves."""
    folder.mkdir(parents=True, exist_ok=True)
    _clock_file(folder).write_text("+0\n", encoding="utf-8")
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(_clock_file(folder)),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a machine's clock jumps; its uptime does not
        "NO_FAKE_STAT": "1",
    }
    command = [sys.executable, "-m", "tools.inject_faults", *sys.argv[1:], "--folder", str(folder)]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
