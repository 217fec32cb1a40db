"""Send the cells of a study to the workers of a Dask cluster, and hear what became of them.

What a lost worker was doing runs again elsewhere, a long cell from its last piece.
"""

from __future__ import annotations

import math
import queue
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from distributed import Client, Future, KilledWorker, get_worker

from sltprob.grids.events import Event, Watch
from sltprob.grids.plan import Cell
from sltprob.grids.run import running
from sltprob.grids.store import Store
from sltprob.grids.tasks import Tasks
from sltprob.grids.work import Outcome, coordinates, row_of, run_cells
from sltprob.grids.writing import StoreError
from sltprob.sampling import Progress

__all__ = ["Dispatcher"]

_TOPIC = "sltprob-study"
_ANY = ""
_SECONDS_BETWEEN_LOOKS = 2.0
# A message is work for the scheduler, which shares a core with a worker.
_SECONDS_BETWEEN_MESSAGES = 0.5


class Dispatcher:
    """Gives every worker one task for each of its threads, so that none waits behind another."""

    def __init__(
        self,
        client: Client,
        store: Store,
        tasks: Tasks,
        watch: Watch,
        patience: float | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._tasks = tasks
        self._watch = watch
        self._heard: queue.Queue[Any] = queue.Queue()
        self._pending: dict[Future[Any], tuple[list[Cell], str]] = {}
        # Cells that were with a lost worker too often, perhaps only beside the one that ended it.
        self._suspects: list[Cell] = []
        self._alone: Future[Any] | None = None
        self._waits = False
        # Seconds for which a task may say nothing, when each was heard of last, and where it runs.
        self._patience = patience
        self._heard_of: dict[Future[Any], float] = {}
        self._begun: dict[Future[Any], str] = {}
        self._of_cell: dict[str, Future[Any]] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """Run all tasks."""
        self._client.subscribe_topic(_TOPIC, lambda stamped: self._heard.put(stamped[1]))
        self._fill()
        while self._pending:
            yield from self._end_silent()
            try:
                thing = self._heard.get(timeout=_SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                self._fill()  # workers may have come
                continue
            if isinstance(thing, dict):
                future = self._of_cell.get(thing["key"])
                if future is not None:
                    self._heard_of[future] = time.monotonic()
                if "begun" not in thing:
                    self._watch(Event("running", thing))
                elif future is not None:
                    self._begun[future] = thing["begun"]
            elif thing in self._pending:
                outcomes = self._result(thing)
                self._fill()  # first, so that the worker need not wait
                yield from outcomes

    def _fill(self) -> None:
        """Submit what the workers need for now."""
        workers = self._workers()
        self._tasks.keep(workers)
        self._rescue(workers)
        load = Counter(worker for _, worker in self._pending.values())
        for worker, threads in workers.items():
            for _ in range(load[worker], threads):
                if (cells := self._tasks.take(worker)) is not None:
                    self._submit(cells, worker)
        if not self._pending and self._suspects:
            # Nothing else runs: if workers are lost now, it is because of this cell.
            self._alone = self._submit([self._suspects.pop()], _ANY)

    def _rescue(self, workers: dict[str, int]) -> None:
        """Submit again what Dask keeps for a worker that has gone, and gives to no other.

        It does so with a task that came when no worker was there, though others may have it.
        """
        stranded = [
            future
            for future, (_, worker) in self._pending.items()
            if worker not in (_ANY, *workers) and not future.done()
        ]
        at = self._places() if stranded else {}
        for future in stranded:
            if future.key not in at:
                alone = future is self._alone
                cells = self._take_out(future)
                future.cancel()
                again = self._submit(cells, _ANY)
                self._alone = again if alone else self._alone

    def _places(self) -> dict[Any, str]:
        """Ask for the worker of every task."""
        processing = self._client.processing()
        return {key: worker for worker, keys in processing.items() for key in keys}

    def _workers(self) -> dict[str, int]:
        """Ask for the workers that are there, and how many threads each has."""
        try:
            found = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError):
            raise _gone() from None
        if found:
            return {address: worker["nthreads"] for address, worker in found.items()}
        if not self._waits:
            self._watch(
                Event(
                    "waiting",
                    {"scheduler": str(self._client.scheduler_info(n_workers=0)["address"])},
                )
            )
            self._waits = True
        return {_ANY: 1}

    def _submit(self, cells: list[Cell], worker: str) -> Future[Any]:
        future = self._client.submit(
            _task,
            str(self._store.folder.absolute()),
            cells,
            [cell.key for cell in cells],
            cells[0].setting.dtype,
            pure=False,
            # Another one may have it if this one is lost.
            workers=None if worker == _ANY else [worker],
            allow_other_workers=worker != _ANY,
        )
        self._pending[future] = (cells, worker)
        self._heard_of[future] = time.monotonic()
        self._of_cell.update(dict.fromkeys((cell.key for cell in cells), future))
        future.add_done_callback(self._heard.put)
        return future

    def _result(self, future: Future[Any]) -> list[Outcome]:
        cells = self._take_out(future)
        if future.status == "finished":
            return list(future.result())
        if future.status != "error":
            raise _gone()
        error = future.exception()
        if isinstance(error, StoreError | _OtherVersions):
            raise error
        if not isinstance(error, KilledWorker):
            # Whatever a cell may raise is an outcome, so this is about the worker.
            raise ValueError(
                f"a worker cannot run cells ({type(error).__name__}: {_line(error)}); install the "
                "same version of sltprob and all it needs on all machines"
            )
        if future is not self._alone:
            self._suspects.extend(cells)
            return []
        (cell,) = cells
        return [
            self._failed(
                cell,
                "every worker that ran it was lost; it may need more memory than a worker has",
            )
        ]

    def _take_out(self, future: Future[Any]) -> list[Cell]:
        cells, _ = self._pending.pop(future)
        self._heard_of.pop(future)
        self._begun.pop(future, None)
        for cell in cells:
            self._of_cell.pop(cell.key, None)
        return cells

    def _failed(self, cell: Cell, reason: str) -> Outcome:
        self._store.save_failure(
            cell.key, {"cell": str(cell), "error": reason, **coordinates(cell)}
        )
        return Outcome(cell, None, reason)

    def _end_silent(self) -> Iterator[Outcome]:
        """End the workers whose cells hang; a cell that hangs alone has failed."""
        now = time.monotonic()
        late = [
            future
            for future, heard in self._heard_of.items()
            if self._patience is not None and now - heard > self._patience
        ]
        if not late:
            return
        at = self._places()
        for future in late:
            if future.done() or at.get(future.key, "") != self._begun.get(future):
                self._heard_of[future] = now  # it has just ended, or waits for its turn
                continue
            cells = self._take_out(future)
            future.cancel()
            try:
                self._client.restart_workers([at[future.key]], raise_for_error=False)
            except ValueError:
                raise ValueError(
                    f"{cells[0]} hangs, and its worker has no nanny that could end it; start "
                    "workers by 'dask worker', without --no-nanny"
                ) from None
            if len(cells) == 1:
                reason = f"nothing was heard of it for {self._patience:g} s, so it was ended"
                yield self._failed(cells[0], reason)
            else:
                self._suspects.extend(cells)
        self._fill()


def _gone() -> ValueError:
    return ValueError(
        "the scheduler has gone; what is stored stays, and 'sltprob study run' goes on"
    )


def _line(error: BaseException | None) -> str:
    return " ".join(str(error).split())


class _OtherVersions(ValueError):
    """A worker computes other cells than we do."""


def _task(folder: str, cells: list[Cell], keys: list[str], dtype: str) -> list[Outcome]:
    """Run cells on a worker."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    if [cell.key for cell in cells] != keys:
        raise _OtherVersions(
            "a worker has other versions of sltprob, jax, numpyro, blackjax or numpy; install "
            "the same on all machines"
        )
    worker = get_worker()
    worker.log_event(_TOPIC, {"key": keys[0], "begun": worker.address})
    store = Store(Path(folder))
    # This task may have been with another worker before, which stored a part of it.
    files = store.files()
    outcomes, left = [], []
    for cell, key in zip(cells, keys, strict=True):
        name = files.get(key)
        if name is not None and store.is_good(name):
            outcomes.append(Outcome(cell, row_of(cell, store.load(name), name)))
        else:
            left.append(cell)
    outcomes.extend(run_cells(store, left, _Messenger(worker)))
    return outcomes


class _Messenger:
    """Tells the client how a cell goes, not too often."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._last = -math.inf

    def __call__(self, cell: Cell, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage != "sample" or now - self._last >= _SECONDS_BETWEEN_MESSAGES:
            self._last = now
            self._worker.log_event(_TOPIC, running(cell, progress).detail)
