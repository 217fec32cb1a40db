"""Run cells on a Dask cluster: worker processes here, or an existing scheduler.

Needs the extra ``sltprob[cluster]``. Workers write to the folder of the study themselves, so it
must be one that all of them see. What a lost worker was doing runs again elsewhere, a long cell
from its last piece.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask
import jax
from distributed import Client, Future, KilledWorker, LocalCluster, get_worker

from sltprob.sampling import Progress
from sltprob.study.events import Event, Watch
from sltprob.study.plan import Cell
from sltprob.study.run import running
from sltprob.study.store import Store, StoreError
from sltprob.study.work import Outcome, coordinates, row_of, run_cells

__all__ = ["DaskWorkers"]

_TOPIC = "sltprob-study"
# Each worker is one thread of JAX; two workers of two threads would fight for two cores.
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


class DaskWorkers:
    """Runs groups of cells as independent tasks of a Dask cluster.

    Parameters
    ----------
    cluster : str
        ``"local"`` for processes on this machine, or the address of a scheduler, such as
        ``"tcp://10.0.0.1:8786"``.
    processes : int, optional
        Of a local cluster; by default one for each core.

    Raises
    ------
    ValueError
        If the cluster is none of these, or cannot be reached.
    """

    def __init__(self, cluster: str, *, processes: int | None = None) -> None:
        if cluster != "local" and "://" not in cluster:
            raise ValueError(
                f"--cluster {cluster}: it must be local, or the address of a scheduler, such as "
                "tcp://10.0.0.1:8786"
            )
        if processes is not None and (cluster != "local" or processes < 1):
            raise ValueError(
                f"--workers {processes}: a whole number >= 1, with --cluster local only"
            )
        self.cluster = cluster
        self.processes = processes or os.cpu_count() or 1

    def run(self, store: Store, groups: Iterable[list[Cell]], watch: Watch) -> Iterator[Outcome]:
        """Run groups of cells, and give what became of each, in any order.

        Parameters
        ----------
        store : Store
        groups : iterable of list of Cell
        watch : callable

        Yields
        ------
        Outcome

        Raises
        ------
        ValueError
            If the scheduler cannot be reached, or a worker has other versions of the programs.
        StoreError
            If a worker cannot write to the folder.
        """
        with self._client() as client:
            yield from _Coordinator(client, store, iter(groups), watch).outcomes()

    @contextmanager
    def _client(self) -> Iterator[Client]:
        if self.cluster != "local":
            try:
                client = Client(self.cluster, timeout=10, set_as_default=False)
            except (OSError, TimeoutError) as error:
                raise ValueError(
                    f"--cluster {self.cluster}: no scheduler answers ({type(error).__name__}); "
                    "start one with 'dask scheduler', or write --cluster local"
                ) from None
            with client:
                yield client
            return
        environment = {
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_ONE_THREAD}".strip(),
            "OMP_NUM_THREADS": "1",
        }
        # Never fork: a forked JAX hangs.
        settings = {"distributed.worker.multiprocessing-method": "spawn"}
        with (
            dask.config.set(settings),
            LocalCluster(
                n_workers=self.processes,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                env=environment,
                silence_logs=50,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client


class _Coordinator:
    """Keeps a few tasks with every worker, and listens."""

    def __init__(
        self, client: Client, store: Store, groups: Iterator[list[Cell]], watch: Watch
    ) -> None:
        self.client = client
        self.store = store
        self.groups = groups
        self.watch = watch
        self.heard: queue.Queue[Any] = queue.Queue()
        self.pending: dict[Future[Any], list[Cell]] = {}

    def outcomes(self) -> Iterator[Outcome]:
        self.client.subscribe_topic(_TOPIC, lambda stamped: self.heard.put(stamped[1]))
        self._fill()
        while self.pending:
            try:
                thing = self.heard.get(timeout=2)
            except queue.Empty:
                self._fill()  # workers may have come
                continue
            if isinstance(thing, dict):
                self.watch(Event("running", thing))
                continue
            cells = self.pending.pop(thing, None)
            if cells is not None:
                yield from self._result(thing, cells)
            self._fill()

    def _fill(self) -> None:
        """Submit what the workers need for now, so that a plan of any size fits in memory."""
        workers = len(self.client.scheduler_info(n_workers=-1)["workers"])
        while len(self.pending) < 2 * max(workers, 1):
            if (cells := next(self.groups, None)) is None:
                return
            self._submit(cells)

    def _submit(self, cells: list[Cell]) -> None:
        future = self.client.submit(
            _task,
            str(self.store.folder.absolute()),
            cells,
            [cell.key for cell in cells],
            cells[0].setting.dtype,
            pure=False,
        )
        self.pending[future] = cells
        future.add_done_callback(self.heard.put)

    def _result(self, future: Future[Any], cells: list[Cell]) -> Iterator[Outcome]:
        if future.status == "finished":
            yield from future.result()
            return
        if future.status != "error":
            raise ValueError(
                "the scheduler has gone; what is stored stays, and 'sltprob study run' goes on"
            )
        error = future.exception()
        if isinstance(error, StoreError | _OtherVersions):
            raise error
        if len(cells) > 1:
            # One of them takes its worker along: find out which.
            for cell in cells:
                self._submit([cell])
            return
        (cell,) = cells
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(error, KilledWorker):
            reason = "every worker that ran it was lost; it may need more memory than a worker has"
        self.store.save_failure(cell.key, {"cell": str(cell), "error": reason, **coordinates(cell)})
        yield Outcome(cell, None, reason)


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
    outcomes.extend(run_cells(store, left, partial(_tell, get_worker())))
    return outcomes


def _tell(worker: Any, cell: Cell, progress: Progress) -> None:
    worker.log_event(_TOPIC, running(cell, progress).detail)
