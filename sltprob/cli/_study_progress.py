"""What a study says while it runs: bars in a terminal, lines elsewhere, or JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sltprob.study.events import Event

__all__ = ["JsonWatch", "LineWatch", "QuietWatch", "StudyBars"]

_SECONDS_BETWEEN_LINES = 5.0


def _name(detail: dict[str, Any]) -> str:
    return f"{detail['model']} {detail['sampler']} β={detail['beta']:g} seed={detail['seed']}"


def _said(event: Event) -> str | None:
    """Say in one line what a person wants to know in any case."""
    detail = event.detail
    if event.kind == "begin":
        stored = f", {detail['stored']} stored" if detail["stored"] else ""
        failed = f", {detail['failed']} failed before" if detail["failed"] else ""
        return f"{detail['cells']} cells{stored}{failed}; {detail['to_run']} to run"
    if event.kind == "damaged":
        return f"damaged: {_name(detail)}; moved to {detail['file']}, runs again"
    if event.kind == "taken_over":
        return f"took over from {detail['owner']}, which has ended without finishing"
    if event.kind == "failed":
        return f"failed: {_name(detail)}: {detail['error']}"
    return None


class QuietWatch:
    """Says nothing."""

    def __enter__(self) -> QuietWatch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Hear of an event.

        Parameters
        ----------
        event : Event
        """


class JsonWatch(QuietWatch):
    """Writes each event as a line of JSON on standard output."""

    def __call__(self, event: Event) -> None:
        """Write an event.

        Parameters
        ----------
        event : Event
        """
        document = {"event": event.kind, "time": round(time.time(), 3), **event.detail}
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in document.items()
        }
        sys.stdout.write(json.dumps(finite, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class LineWatch(QuietWatch):
    """Writes lines on standard error: failures at once, progress every few seconds."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._begin = self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Write what an event is about, if it is time.

        Parameters
        ----------
        event : Event
        """
        if event.kind == "begin":
            self._total = event.detail["to_run"]
        if (line := _said(event)) is not None:
            sys.stderr.write(line + "\n")
        if event.kind not in ("finished", "failed"):
            return
        self._done += 1
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES or self._done == self._total:
            self._last = now
            left = (now - self._begin) / self._done * (self._total - self._done)
            what = "done" if self._done == self._total else f"about {left:.0f} s left"
            sys.stderr.write(f"{self._done}/{self._total} cells, {what}\n")


class StudyBars(QuietWatch):
    """Shows one line for each running cell, and a bar for all of them with the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._all = self._bars.add_task("all cells", total=None, state="")
        self._cells: dict[str, Any] = {}

    def __enter__(self) -> StudyBars:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show an event.

        Parameters
        ----------
        event : Event
        """
        detail = event.detail
        if (line := _said(event)) is not None:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        if event.kind == "begin":
            self._bars.update(self._all, total=detail["to_run"])
        elif event.kind == "running":
            task = self._cells.get(detail["key"])
            if task is None:
                task = self._bars.add_task(_name(detail), total=detail["total"], state="")
                self._cells[detail["key"]] = task
            state = detail["stage"]
            if math.isfinite(detail["lambda_hat"]):
                state = f"λ̂ {detail['lambda_hat']:.3f} ± {detail['mcse']:.2g}"
            self._bars.update(task, completed=detail["draws"], state=state)
        elif event.kind in ("finished", "failed"):
            self._bars.advance(self._all)
            if (task := self._cells.pop(detail["key"], None)) is not None:
                self._bars.remove_task(task)
