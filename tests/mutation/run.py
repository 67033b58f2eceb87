"""Put bugs into a copy of the code, one at a time, and see whether the tests notice: `python -m tests.mutation.run`.

A bug is a row `(file, before, after, tests)` in a list BUGS of a file `*_bugs.py` beside this one; `tests` is what
pytest is given: a test file, and perhaps `-k` with an expression. `before` must stand in the file exactly once, and
the tests must pass without the bug; otherwise nothing is run. A bug is killed when its tests fail or hang, and the
script exits with 1 if any survives. With words as arguments only the rows are run that contain one of them; without,
the outcome is written to docs/mutation.md.
"""

import datetime
import json
import os
import queue
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "mutation.md"
WORKERS = 2
SHOWN = 72  # characters of a bug in a line of output
console = Console(highlight=False, soft_wrap=True, markup=False)


class Bug(NamedTuple):
    """One row: replace `before`, which stands once in the file `path`, by `after`; `tests` should notice."""

    path: str
    before: str
    after: str
    tests: str

    def __str__(self) -> str:
        changed = f"{' '.join(self.before.split())} -> {' '.join(self.after.split())}"
        return f"{self.path}: {changed if len(changed) <= SHOWN else changed[: SHOWN - 3] + '...'}"


def read_tables() -> list[Bug]:
    """Return the rows of every table, by the name of the file and in their order."""
    tables = sorted(Path(__file__).parent.glob("*_bugs.py"))
    return [Bug(*row) for table in tables for row in runpy.run_path(str(table))["BUGS"]]


def find_faults(bugs: Sequence[Bug], root: Path) -> list[str]:
    """Return what is wrong with the table itself: a bug that cannot be put in says nothing about the tests."""
    faults = []
    for bug in bugs:
        path, test = root / bug.path, root / shlex.split(bug.tests)[0].split("::")[0]
        missing = [file for file in (path, test) if not file.is_file()]
        if missing:
            faults += [f"{bug}: no file {file.relative_to(root)}" for file in missing]
            continue
        text = path.read_text()
        if text.count(bug.before) != 1:
            faults.append(f"{bug}: `before` stands {text.count(bug.before)} times in the file, not once")
        elif bug.before == bug.after:
            faults.append(f"{bug}: changes nothing")
        else:
            try:
                compile(text.replace(bug.before, bug.after), bug.path, "exec")
            except SyntaxError as error:
                faults.append(f"{bug}: no longer Python ({error})")
    return faults + [f"{bug}: is there twice" for bug, times in Counter(bugs).items() if times > 1]


def copy_tree(root: Path, target: Path) -> Path:
    """Copy what git knows or would add, with the changes of the moment; return where."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    return target


class Copy:
    """A copy of the tree and the process that runs tests in it, with the libraries loaded once.

    Args:
        root: the tree; target: the folder of the copy.
    """

    def __init__(self, root: Path, target: Path) -> None:
        self.folder = copy_tree(root, target)
        # Bytecode of a bug must not outlive it.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, str(Path(__file__).with_name("nursery.py"))]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
        self.nursery = subprocess.Popen(command, **pipes)

    def run(self, tests: str, limit: float | None) -> tuple[int | None, str]:
        """Return pytest's exit code, None if it took longer than `limit` seconds, and what it printed."""
        arguments = ["-x", "-q", "-p", "no:cacheprovider", *shlex.split(tests)]
        request = {"folder": str(self.folder), "arguments": arguments, "limit": limit}
        nursery: Any = self.nursery
        nursery.stdin.write(json.dumps(request) + "\n")
        nursery.stdin.flush()
        answer = json.loads(nursery.stdout.readline())
        return answer["code"], answer["output"]

    def close(self) -> None:
        """End the process."""
        self.nursery.communicate()


class Baseline(NamedTuple):
    """The tests of some rows without their bugs: seconds they take, and their output if they do not pass."""

    seconds: float
    failure: str


def joined(tests: Sequence[str]) -> dict[str, str]:
    """Return for each row's tests what is run before any bug: all that is asked of one file, in one go.

    `file -k a` and `file -k b` are run as `file -k "(a) or (b)"`: if that passes, so does each.
    """
    words = {one: shlex.split(one) for one in tests}
    chosen = {one: parts for one, parts in words.items() if parts[1:2] == ["-k"] and len(parts) == 3}
    expressions = defaultdict[str, list[str]](list)
    for file, _, expression in chosen.values():
        expressions[file].append(f"({expression})")
    union = {file: shlex.join([file, "-k", " or ".join(found)]) for file, found in expressions.items()}
    return {one: union[parts[0]] if one in chosen else one for one, parts in words.items()}


def measure(tests: str, copies: "queue.Queue[Copy]") -> Baseline:
    """Run tests on the code as it is."""
    copy = copies.get()
    started = time.perf_counter()
    code, output = copy.run(tests, limit=None)
    copies.put(copy)
    return Baseline(time.perf_counter() - started, "" if code == 0 else output)


def is_killed(bug: Bug, copies: "queue.Queue[Copy]", *, limit: float) -> bool:
    """Put one bug into a free copy, run its tests, and take it out again."""
    copy = copies.get()
    path = copy.folder / bug.path
    original = path.read_text()
    try:
        path.write_text(original.replace(bug.before, bug.after))
        code, output = copy.run(bug.tests, limit)
    finally:
        path.write_text(original)
        copies.put(copy)
    if code not in (None, 0, 1, 2):  # 1: tests failed, 2: they could not even be collected
        raise SystemExit(f"{bug}: pytest exits with {code}\n{output}")
    console.print(f"{'survived' if code == 0 else 'killed  '}  {bug}")
    return code != 0


def run(bugs: Sequence[Bug], root: Path = ROOT) -> list[bool]:
    """Return which bugs are killed.

    Raises:
        SystemExit: when a row of the table is wrong, or tests fail without a bug.
    """
    faults = find_faults(bugs, root)
    if faults:
        raise SystemExit("\n".join(faults))
    copies: queue.Queue[Copy] = queue.Queue()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(WORKERS) as pool, ExitStack() as ends:
        for worker in range(min(WORKERS, len(bugs))):
            copy = Copy(root, Path(place) / str(worker))
            ends.callback(copy.close)
            copies.put(copy)
        before = joined([bug.tests for bug in bugs])
        tests = list(dict.fromkeys(before.values()))
        baselines = dict(zip(tests, pool.map(partial(measure, copies=copies), tests), strict=True))
        failures = [
            f"{test} fails without a bug:\n{found.failure}" for test, found in baselines.items() if found.failure
        ]
        if failures:
            raise SystemExit("\n".join(failures))
        limits = {test: max(60.0, 5 * found.seconds) for test, found in baselines.items()}
        waiting = [pool.submit(is_killed, bug, copies, limit=limits[before[bug.tests]]) for bug in bugs]
        return [future.result() for future in waiting]


def write_page(bugs: Sequence[Bug], killed: Sequence[bool]) -> None:
    """Write the outcome for the documentation: count, date, commit, one row a package, and the survivors."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    rooms = {bug: "/".join(bug.path.split("/")[:2]) for bug in bugs}
    total = Counter(rooms.values())
    dead = Counter(rooms[bug] for bug, gone in zip(bugs, killed, strict=True) if gone)
    lines = [
        "# Bugs put in on purpose", "",
        "`make mutation` puts each bug of `tests/mutation/*_bugs.py` into a copy of the code, one at a time, and runs",
        "the tests that should notice. A bug is killed when they fail. The last run:", "",
        f"**{sum(killed)} of {len(bugs)} bugs killed**, {datetime.date.today().isoformat()}, commit `{commit}`.", "",
        "| where | bugs | killed |", "|---|---|---|",
        *(f"| `{room}` | {total[room]} | {dead[room]} |" for room in sorted(total)),
        *(f"\nSurvived: `{bug}`" for bug, gone in zip(bugs, killed, strict=True) if not gone),
    ]  # fmt: skip
    PAGE.write_text("\n".join(lines) + "\n")


def main(words: Sequence[str]) -> int:
    """Run the rows that contain one of the words, or all, and return the exit code."""
    bugs = [bug for bug in read_tables() if not words or any(word in part for word in words for part in bug)]
    killed = run(bugs)
    console.print(f"{sum(killed)} of {len(bugs)} bugs killed")
    if not words:
        write_page(bugs, killed)
    return 0 if all(killed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
