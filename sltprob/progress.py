"""A progress bar for the terminal or the notebook, fed by the loop."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from sltprob.sampling import Progress

__all__ = ["COLOURS", "NotebookBar", "ProgressBar", "counting", "shown"]

COLOURS = {"trusted": "green", "doubtful": "yellow", "wrong": "red"}


@contextmanager
def shown(
    progress: bool | Callable[[Progress], None],
) -> Iterator[Callable[[Progress], None] | None]:
    """Give what the loop should call: a bar for True, nothing for False, or what was given."""
    if progress is True:
        with NotebookBar() if _is_notebook() else ProgressBar() as bar:
            yield bar
    else:
        yield progress or None


@contextmanager
def counting(what: str) -> Iterator[Callable[..., None]]:
    """Give what is called with the number done, the number of all, and the name of the next."""
    console = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=None)

        def show(done: int, total: int, name: str = what) -> None:
            bar.update(task, completed=done, total=total, description=name)

        yield show


class ProgressBar:
    """Show one line for each run: sampler, beta, draws per second, running lambda-hat.

    Pass it as ``sample(..., progress=bar)`` inside ``with ProgressBar() as bar``.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1, state="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, line: str, status: str) -> None:
        """Print a line about a finished run above the bar, in the colour of its verdict."""
        self._console.print(
            line, style=COLOURS[status], highlight=False, markup=False, soft_wrap=True
        )

    def __call__(self, progress: Progress) -> None:
        """Show how far a run is."""
        self._bar.update(
            self._task,
            description=f"{progress.sampler} β={progress.beta:g}",
            completed=progress.draws,
            total=progress.total,
            state=_state(progress),
        )


class NotebookBar:
    """Show the same line in a notebook, without a widget: HTML that is replaced."""

    def __enter__(self) -> NotebookBar:
        from IPython.display import HTML, display

        self._html: Any = HTML
        self._display: Any = display
        self._handle = display(HTML(""), display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.update(self._html(""))

    def tell(self, line: str, status: str) -> None:
        """Show a line about a finished run, in the colour of its verdict."""
        style = f"color:{COLOURS[status]};margin:0"
        self._display(self._html(f'<pre style="{style}">{escape(line)}</pre>'))

    def __call__(self, progress: Progress) -> None:
        """Show how far a run is."""
        words = f"{progress.sampler} β={progress.beta:g}  {_state(progress)}"
        self._handle.update(
            self._html(
                f'<progress value="{progress.draws}" max="{progress.total}"></progress> '
                f"<code>{escape(words)}</code>"
            )
        )


def _state(progress: Progress) -> str:
    if progress.stage not in ("sample", "half step") or progress.seconds <= 0:
        return progress.stage
    state = "half step  " if progress.stage == "half step" else ""
    state += f"{progress.draws / progress.seconds:.0f} draws/s"
    if not math.isnan(progress.lambda_hat):
        state += f"  λ̂ {progress.lambda_hat:.3f} ± {progress.mcse:.2g}"
    return state


def _is_notebook() -> bool:
    """Say whether a kernel runs this, as of Jupyter: IPython in a terminal has none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
