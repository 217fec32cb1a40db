"""Worker processes for a study, by Dask distributed: some here, or those of a scheduler.

Needs the extra ``sltprob[cluster]``. Workers write to the folder of the study themselves, so it
must be one that all of them see.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dask
import jax
from distributed import Client, LocalCluster, WorkerPlugin

from sltprob.compilation_cache import forgive_cache
from sltprob.grids.dispatch import Dispatcher
from sltprob.grids.events import Watch
from sltprob.grids.store import Store
from sltprob.grids.tasks import Tasks
from sltprob.grids.work import Outcome
from sltprob.processes import without_interrupts

__all__ = ["DaskWorkers"]

# Each worker is one thread of JAX; two workers of two threads would fight for two cores.
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
# What compiles faster is not worth a file.
_LEAST_SECONDS = 0.3
_SETTINGS = {
    # Never fork: a forked JAX hangs.
    "distributed.worker.multiprocessing-method": "spawn",
    # A worker that took too much memory is ended, and its cell tried once more. It is not paused:
    # what JAX has taken it seldom gives back, and a paused worker would wait for that forever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.scheduler.allowed-failures": 1,
    # A profile that nobody looks at costs a look at every thread a hundred times a second.
    "distributed.worker.profile.enabled": False,
}


class DaskWorkers:
    """Runs cells as independent tasks of a Dask cluster.

    Parameters
    ----------
    cluster : str
        ``"local"`` for processes on this machine, or the address of a scheduler, such as
        ``"tcp://10.0.0.1:8786"``.
    processes : int, optional
        Of a local cluster; by default one for each core.
    patience : float, seconds, optional
        A cell of which nothing is heard for so long hangs: its worker is ended, and the cell has
        failed. It says something when it begins, after warming up, and after every piece of its
        draws. By default it may take any time.

    Raises
    ------
    ValueError
        If the cluster is none of these, or cannot be reached.
    """

    def __init__(
        self, cluster: str, *, processes: int | None = None, patience: float | None = None
    ) -> None:
        if cluster != "local" and "://" not in cluster:
            raise ValueError(
                f"--cluster {cluster}: it must be local, or the address of a scheduler, such as "
                "tcp://10.0.0.1:8786"
            )
        if processes is not None and processes < 1:
            raise ValueError(f"--workers {processes}: it must be a whole number >= 1")
        if processes is not None and cluster != "local":
            raise ValueError(
                f"--workers {processes} goes with --cluster local; {cluster} has its own"
            )
        if patience is not None and not 0 < patience < math.inf:
            raise ValueError(
                f"--patience {patience:g}: it must be a number of seconds, such as 600"
            )
        self.cluster = cluster
        self.patience = patience
        self.processes = processes or os.cpu_count() or 1
        if cluster != "local":
            # Now rather than when everything else is ready.
            with self._client():
                pass

    def run(self, store: Store, tasks: Tasks, watch: Watch) -> Iterator[Outcome]:
        """Run cells, and give what became of each, in any order."""
        with self._client() as client:
            yield from Dispatcher(client, store, tasks, watch, self.patience).outcomes()

    @contextmanager
    def _client(self) -> Iterator[Client]:
        if self.cluster != "local":
            try:
                client = Client(self.cluster, timeout=10, set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                raise ValueError(
                    f"--cluster {self.cluster}: no scheduler answers ({type(error).__name__}); "
                    "start one with 'dask scheduler', or write --cluster local"
                ) from None
            with _without_tracebacks(), client:
                yield client
            return
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sltprob-"))
            stack.enter_context(dask.config.set(_SETTINGS))
            with without_interrupts():
                cluster = stack.enter_context(
                    LocalCluster(
                        n_workers=self.processes,
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        dashboard_address=None,
                        # Not the usual one, which a second study at the same time would find taken.
                        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                        env={
                            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_ONE_THREAD}".strip(),
                            "OMP_NUM_THREADS": "1",
                        },
                        local_directory=folder,
                        silence_logs=50,
                    )
                )
                client = stack.enter_context(Client(cluster, set_as_default=False))
            # Where this process keeps what it compiles, or for as long as the workers live. Where
            # the environment says it, the workers have read it themselves.
            kept = jax.config.jax_compilation_cache_dir or f"{folder}/compiled"
            said = "JAX_COMPILATION_CACHE_DIR" in os.environ
            client.register_plugin(_KeepCompiled(None if said else kept, _LEAST_SECONDS))
            yield client


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Keep Dask from telling of a scheduler that is lost: the command does, in one line."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


class _KeepCompiled(WorkerPlugin):
    """Lets workers load what another one has compiled."""

    def __init__(self, folder: str | None, least_seconds: float) -> None:
        self._folder = folder
        self._least_seconds = least_seconds

    def setup(self, worker: Any) -> None:
        """Tell JAX, on a worker that starts."""
        forgive_cache()
        if self._folder is None:
            return
        # Not by variables of the environment: a worker may have imported JAX before it has them.
        jax.config.update("jax_compilation_cache_dir", self._folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", self._least_seconds)
