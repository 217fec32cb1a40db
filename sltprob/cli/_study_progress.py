"""What a study says while it runs: bars in a terminal, lines elsewhere, or JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, Task, TextColumn
from rich.table import Column, Table

from sltprob.grids.events import Event

__all__ = ["JsonWatch", "LineWatch", "QuietWatch", "StudyBars"]

# Lines come less often as a run goes on, so that the log of a long one stays short.
_SECONDS_BETWEEN_LINES = (5.0, 60.0)

# Before that the time is that of importing and compiling.
_LEAST_PART = 0.02
# What came before the first draws is left out once the rest is a part of the time, or some seconds:
# small cells come in batches of two.
_PART, _SECONDS = 0.25, 10.0


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
    if event.kind == "waiting":
        return f"no worker at {detail['scheduler']} yet; waiting for one"
    if event.kind == "failed":
        return f"failed: {_name(detail)}: {detail['error']}"
    return None


class _Pace:
    """Counts cells, and their draws, to tell how long the rest will take."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.elapsed = 0.0
        self._begin = time.monotonic()
        self._work = self._worked = 0.0
        self._running: dict[str, float] = {}
        self._first: tuple[float, float] | None = None  # when the first draws came, how much work

    def hear(self, event: Event) -> None:
        detail = event.detail
        self.elapsed = time.monotonic() - self._begin
        if event.kind == "begin":
            self.total, self._work = detail["to_run"], detail["work"]
        elif event.kind == "running":
            self._running[detail["key"]] = detail["work"] * detail["draws"] / detail["total"]
        elif event.kind in ("finished", "failed"):
            self._running.pop(detail["key"], None)
            self._worked += detail["work"]
            self.done += 1
        if self._first is None and (worked := self._so_far()) > 0:
            self._first = self.elapsed, worked

    def _so_far(self) -> float:
        return self._worked + sum(self._running.values())

    def left(self) -> str:
        """Say how much time is left, in words; empty while nobody can know."""
        worked = self._so_far()
        if worked < _LEAST_PART * self._work or self.done >= self.total:
            return ""
        # The first cell waits for the imports and its compilation, the others do not.
        since, before = self._first or (0.0, 0.0)
        if self.elapsed - since < min(_PART * self.elapsed, _SECONDS) or worked <= before:
            since, before = 0.0, 0.0
        seconds = (self.elapsed - since) / (worked - before) * (self._work - worked)
        if seconds < 100:
            return f"about {seconds:.0f} s left"
        minutes = round(seconds / 60)
        if minutes < 100:
            return f"about {minutes} min left"
        return f"about {minutes / 60:.1f} h left"


class QuietWatch:
    """Says nothing."""

    def __enter__(self) -> QuietWatch:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Hear of an event."""


class JsonWatch(QuietWatch):
    """Writes each event as a line of JSON on standard output."""

    def __call__(self, event: Event) -> None:
        """Write an event."""
        document = {"event": event.kind, "time": round(time.time(), 3), **event.detail}
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in document.items()
        }
        sys.stdout.write(json.dumps(finite, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class LineWatch(QuietWatch):
    """Writes lines on standard error: failures at once, progress now and then."""

    def __init__(self) -> None:
        self._pace = _Pace()
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Write what an event is about, if it is time."""
        pace = self._pace
        pace.hear(event)
        if (line := _said(event)) is not None:
            sys.stderr.write(line + "\n")
        if event.kind not in ("running", "finished", "failed"):
            return
        now = time.monotonic()
        least, most = _SECONDS_BETWEEN_LINES
        complete = pace.done == pace.total
        if complete or now - self._last >= min(max(least, pace.elapsed / 20), most):
            self._last = now
            what = "done" if complete else pace.left()
            sys.stderr.write(f"{pace.done}/{pace.total} cells{what and f', {what}'}\n")


class _LastBelow(Progress):
    """Bars in the order of their field ``place``."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        return super().make_tasks_table(sorted(tasks, key=lambda task: task.fields["place"]))


class StudyBars(QuietWatch):
    """Shows a line for each running cell, and below them a bar for all with the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = _Pace()
        bar = 20 if console.width >= 100 else 10
        # What is too long for its column is cut, so that a cell stays one line.
        widths = [max(20, console.width - bar - 13 - 20 - 3), 13, 20]
        name, count, state = [
            Column(no_wrap=True, overflow="ellipsis", max_width=width) for width in widths
        ]
        count.justify, state.width = "right", 20
        self._bars = _LastBelow(
            TextColumn("{task.description}", table_column=name),
            BarColumn(bar_width=bar),
            TextColumn("{task.completed:.0f}/{task.fields[of]}", table_column=count),
            TextColumn("{task.fields[state]}", table_column=state),
            console=console,
            transient=True,
        )
        self._all = self._bars.add_task("[bold]all cells", total=None, of="?", state="", place=1)
        self._cells: dict[str, Any] = {}

    def __enter__(self) -> StudyBars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        detail = event.detail
        self._pace.hear(event)
        if (line := _said(event)) is not None:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        if event.kind == "begin":
            self._bars.update(self._all, total=detail["to_run"], of=detail["to_run"])
        elif event.kind == "running":
            self._show(detail)
        elif event.kind in ("finished", "failed"):
            self._bars.advance(self._all)
            if (task := self._cells.pop(detail["key"], None)) is not None:
                self._bars.remove_task(task)
        self._bars.update(self._all, state=self._pace.left())

    def _show(self, detail: dict[str, Any]) -> None:
        task = self._cells.get(detail["key"])
        if task is None:
            task = self._bars.add_task(
                escape(_name(detail)), total=detail["total"], of=detail["total"], state="", place=0
            )
            self._cells[detail["key"]] = task
        state = detail["stage"]
        if math.isfinite(detail["lambda_hat"]):
            state = f"λ̂ {detail['lambda_hat']:.4g} ± {detail['mcse']:.2g}"
        self._bars.update(task, completed=detail["draws"], state=state)
