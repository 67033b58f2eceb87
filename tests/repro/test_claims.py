"""Leases: one owner at a time, whatever dies, on whatever machine, and whatever the clocks say."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from repro.base.ending import Ending, Stopped
from repro.records import leases
from repro.records.leases import BEAT, FIRST, LEASE, LONGEST, Held, Leases, in_turn

ROOT = Path(__file__).parents[2]
START = "import socket, sys, time; from pathlib import Path; from repro.records.leases import *; folder = sys.argv[1]; "
# Takes a claim on a machine of some name and keeps it until it is killed.
OWNER = START + (
    "socket.gethostname = lambda: sys.argv[2]\n"
    "with Leases(Path(folder)).hold('stage'):\n    print('held', flush=True)\n    time.sleep(600)\n"
)
# Waits for the start, then takes what it can get of many claims and says which.
TAKER = START + (
    "from contextlib import ExitStack, suppress\n"
    "with ExitStack() as kept:\n"
    "    print('ready', flush=True)\n    sys.stdin.readline()\n"
    "    for number in range(40):\n"
    "        with suppress(Held):\n"
    "            kept.enter_context(Leases(Path(folder)).hold(f'stage-{number}', wait=False))\n"
    "            print(number, flush=True)\n"
    "    print('done', flush=True)\n    sys.stdin.readline()\n"
)


Own = Callable[..., subprocess.Popen[str]]


def start(code: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() in ("held\n", "ready\n")
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with suppress(BrokenPipeError):
            stream.close()


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Own]:
    """Return how to let another process, on a machine of some name, hold the claim `stage`."""
    started: list[subprocess.Popen[str]] = []

    def own(host: str = "") -> subprocess.Popen[str]:
        started.append(start(OWNER, str(tmp_path), host or socket.gethostname()))
        return started[-1]

    yield own
    for process in started:
        end(process)


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return how to let the watcher's own clock go on."""
    ahead, real = [0.0], time.monotonic

    def advance(seconds: float) -> None:
        ahead[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead[0])
    return advance


def is_held(watcher: Leases) -> bool:
    try:
        with watcher.hold("stage", wait=False):
            return False
    except Held:
        return True


def test_a_claim_has_one_owner_and_is_given_back_whatever_happens(tmp_path: Path) -> None:
    one, other = Leases(tmp_path), Leases(tmp_path)
    with suppress(ZeroDivisionError), one.hold("stage"):
        assert is_held(other)
        assert is_held(one)
        raise ZeroDivisionError
    assert not is_held(other)
    assert list(tmp_path.iterdir()) == []


def test_a_claim_whose_owner_was_killed_here_is_taken_over_at_once(tmp_path: Path, owned: Own) -> None:
    owner = owned()
    watcher = Leases(tmp_path)
    assert is_held(watcher)
    end(owner)
    assert not is_held(watcher)


def test_a_claim_of_another_machine_is_taken_over_after_a_lease_without_a_touch(
    tmp_path: Path, owned: Own, pass_time: Callable[[float], None]
) -> None:
    end(owned("elsewhere"))
    watcher, late = Leases(tmp_path), Leases(tmp_path)
    assert is_held(watcher)  # no process of that number is here, which says nothing of another machine
    pass_time(LEASE - 1)
    assert is_held(watcher)
    assert is_held(late)
    pass_time(2)
    assert is_held(late)  # it has not watched for long enough
    assert not is_held(watcher)


def test_a_claim_that_is_touched_is_never_taken_over(
    tmp_path: Path, owned: Own, pass_time: Callable[[float], None]
) -> None:
    end(owned("elsewhere"))
    watcher, marker = Leases(tmp_path), tmp_path / "stage.claim"
    for beat in range(20):
        assert is_held(watcher)
        os.utime(marker, (beat, beat))  # by a file server whose clock has been wrong for fifty years
        pass_time(LEASE / 2)
    assert is_held(watcher)
    pass_time(LEASE)
    assert not is_held(watcher)


@pytest.mark.parametrize("off", [-1e6, 1e6])
def test_a_clock_that_is_off_makes_no_claim_stale(tmp_path: Path, owned: Own, off: float) -> None:
    owned("elsewhere")
    os.utime(tmp_path / "stage.claim", (time.time() + off, time.time() + off))
    assert is_held(Leases(tmp_path))


def test_an_owner_touches_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.01)
    with Leases(tmp_path).hold("stage"):
        os.utime(tmp_path / "stage.claim", (0, 0))
        limit = time.monotonic() + 30
        while os.stat(tmp_path / "stage.claim").st_mtime == 0:
            assert time.monotonic() < limit
            time.sleep(0.01)
    assert BEAT < LEASE / 3


def test_of_several_that_take_a_dead_claim_at_once_one_wins(tmp_path: Path) -> None:
    def taken(crew: list[subprocess.Popen[str]]) -> list[int]:
        for one in crew:
            print(file=one.stdin, flush=True)
        lines = [line for one in crew for line in iter(one.stdout.readline, "done\n")]  # type: ignore[union-attr]
        for one in crew:
            end(one)
        return sorted(map(int, lines))

    everything = list(range(40))
    assert taken([start(TAKER, str(tmp_path))]) == everything
    assert taken([start(TAKER, str(tmp_path)) for _ in range(3)]) == everything


def test_claims_are_listed_with_their_owners(tmp_path: Path, owned: Own) -> None:
    owner = owned()
    (seen,) = Leases(tmp_path).all()
    assert (seen.name, seen.host, seen.pid) == ("stage", socket.gethostname(), owner.pid)
    assert not seen.gone
    assert 0 <= seen.age < LEASE
    end(owner)
    (seen,) = Leases(tmp_path).all()
    assert seen.gone
    assert Leases(tmp_path).left_behind() == []  # what takes it over removes it; only old ones are swept
    os.utime(tmp_path / "stage.claim", (1, 1))
    assert Leases(tmp_path).left_behind() == [tmp_path / "stage.claim"]
    assert Leases(tmp_path / "none").all() == []


def test_a_wait_ends_at_the_deadline_and_at_a_signal_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Leases(tmp_path).hold("stage"):
        with pytest.raises(Stopped) as stopped, Leases(tmp_path).hold("stage", deadline=time.time() - 1):
            pass
        assert stopped.value.signal == 0
        ending = Ending()
        monkeypatch.setattr(time, "sleep", lambda _: ending(signal.SIGTERM, None))  # it comes during the wait
        with pytest.raises(Stopped, match="SIGTERM"), Leases(tmp_path).hold("stage"):
            pass
    assert not is_held(Leases(tmp_path))


def test_a_wait_ends_when_the_claim_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = ExitStack()
    held.enter_context(Leases(tmp_path).hold("stage"))
    monkeypatch.setattr(time, "sleep", lambda _: held.close())
    with Leases(tmp_path).hold("stage"):
        assert is_held(Leases(tmp_path))


class Others:
    """Items that others have in hand for some looks."""

    def __init__(self, looks: dict[str, int], claim: Callable[[str], str] = str) -> None:
        self.looks, self.claim = looks, claim
        self.order: list[str] = []

    def __call__(self, item: str) -> None:
        self.order.append(item)
        self.looks[item] = self.looks.get(item, 0) - 1
        if self.looks[item] >= 0:
            raise Held(self.claim(item))


def test_what_others_hold_comes_after_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    others = Others({"a": 2})
    in_turn("abc", others)
    assert others.order == ["a", "b", "c", "a", "a"]


def test_of_items_that_one_claim_holds_up_one_is_attempted_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    others = Others({"a": 4, "b": 1, "c": 1}, lambda _: "shared")
    in_turn("abc", others)
    assert others.order == ["a", "b", "c", "a", "a", "a", "a", "b", "c"]
    assert len(waits) == 3 + 1
    assert waits == sorted(waits)
    assert FIRST <= waits[0] < waits[-1] <= LONGEST


def test_a_round_that_moved_is_followed_by_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
    others = Others({"a": 1})
    in_turn("ab", others)
    assert others.order == ["a", "b", "a"]


def test_without_waiting_the_last_ones_are_left() -> None:
    others = Others({"a": 9})
    with pytest.raises(Held) as held:
        in_turn("abc", others, wait=False)
    assert held.value.name == "a"
    assert others.order == ["a", "b", "c", "a"]


def test_the_deadline_ends_a_wait_for_the_last_ones() -> None:
    with pytest.raises(Stopped):
        in_turn("ab", Others({"a": 10**6}), deadline=time.time() + 0.01)
