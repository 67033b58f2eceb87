"""Ending early: a signal or a time limit ends the work at once, or at the next checkpoint if work would be lost.

SIGTERM, SIGUSR1 and SIGUSR2 (a queue's warnings), SIGHUP and Ctrl-C raise `Stopped`. During training they wait for the
step to end, so that a checkpoint is written first. A second Ctrl-C does not wait, except while a finished run is saved.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Windows has SIGTERM only.
NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
TIME = 0  # stands for the time limit where a signal's number is expected
PATIENCE = 3.0  # seconds that a process without its parent has for its last checkpoint


class Stopped(BaseException):
    """Work ends early; finished runs and the last checkpoint stay.

    Like `KeyboardInterrupt` it is no `Exception`, so that no error handler catches it.

    Args:
        signal: the number of the signal, or `TIME`.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal

    def __str__(self) -> str:
        return "time limit" if self.signal == TIME else signal.Signals(self.signal).name


class Ending:
    """The handler of all signals that end work early; `Ending.here()` returns the installed handler."""

    def __init__(self) -> None:
        self.came: int | None = None
        self._waiting = self._holding = False
        self._late: int | None = None

    @classmethod
    def here(cls) -> "Ending":
        """Return this process's handler; if none is installed, a handler that receives nothing."""
        installed = signal.getsignal(signal.SIGTERM)
        return installed if isinstance(installed, cls) else cls()

    def listen(self, *, interrupt: bool = True) -> "Ending":
        """Handle the signals from now on, except those that this process was started to ignore.

        Args:
            interrupt: handle Ctrl-C too; a worker leaves it to its parent.
        """
        for number in (*SIGNALS, *([signal.SIGINT] if interrupt else [])):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self)
        return self

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._holding:
            self._late = number
            return
        again = self.came is not None
        self.came = number
        if not self._waiting or (again and number == signal.SIGINT):
            raise Stopped(number)

    @contextmanager
    def at_checkpoints(self) -> Iterator[None]:
        """Inside the block a signal waits until `reason` is called."""
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Inside the block every signal waits for its end; use it for short writes that must not be left half done."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            number, self._late = self._late, None
            if number is not None:
                self(number, None)

    def reason(self, deadline: float | None) -> int | None:
        """Return the signal that came, `TIME` after the deadline (seconds since the epoch), or None to continue."""
        if self.came is not None:
            return self.came
        return TIME if deadline is not None and time.time() >= deadline else None


def end_with_parent() -> None:
    """End a process of `multiprocessing` within five seconds of its parent's death, at a checkpoint if it reaches one.

    This holds too if the parent died before the call: `multiprocessing` knows the parent from the child's start.

    Raises:
        RuntimeError: in a process that `multiprocessing` did not start.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("end_with_parent: this process was not started by multiprocessing")

    def watch() -> None:
        while os.getppid() == parent.pid:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
