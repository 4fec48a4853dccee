"""What a run says while it runs: a moving line in a terminal, now and then a plain line where the output is piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


class Progress:
    """Reports a run to a terminal, a log or nobody.

    Args:
        say: prints one line; None for silence.
        every_s: seconds between plain lines; a bar moves at most that seldom, and twice a second.
        bar: whether to draw a moving line; None: if standard error is a terminal and tqdm is installed.
    """

    def __init__(self, say: Callable[[str], None] | None = print, *, every_s: float = 10.0, bar: bool | None = None):
        self._say, self._every_s = say, every_s
        self._tqdm = None
        if say is not None and (sys.stderr.isatty() if bar is None else bar):
            self._tqdm = _tqdm()
        self._bar: Any = None
        self._said = time.monotonic()

    def line(self, text: str) -> None:
        """Say something that stays."""
        if self._say is None:
            return
        if self._bar is not None:
            self._bar.clear()
        self._say(text)

    def begin(self, name: str, done: int, total: int) -> None:
        """A series of ``total`` steps begins, ``done`` of them made already."""
        self.end()
        if self._tqdm is not None:
            self._bar = self._tqdm(
                total=total,
                initial=done,
                desc=name,
                leave=False,
                dynamic_ncols=True,
                mininterval=min(self._every_s, 0.5),
                unit="batch",
            )
        self._name, self._total, self._first, self._began = name, total, done, time.monotonic()

    def step(self, done: int, state: Callable[[], Mapping[str, str]]) -> None:
        """``done`` steps are made; ``state`` says how it stands and is asked only if it is shown."""
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            if now - self._said >= min(self._every_s, 0.5):
                self._said = now
                self._bar.set_postfix(state(), refresh=False)
        elif self._say is not None and now - self._said >= self._every_s:
            self._said = now
            left = (now - self._began) / max(done - self._first, 1) * (self._total - done)
            parts = "  ".join(f"{key} {value}" for key, value in state().items())
            self._say(f"{self._name}  {done}/{self._total}  {parts}  {duration(left)} left")

    def end(self) -> None:
        """The series is over."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def duration(seconds: float) -> str:
    """Return seconds as a person says them: ``"45 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
