"""Which chains share a call, and where it runs."""

from __future__ import annotations

import itertools
import os
from typing import Any

import jax

from sltprob.samplers.base import LARGEST_GROUP, on_accelerator

__all__ = ["chain_groups", "cores", "devices_of", "drawing_devices"]


def chain_groups(chains: int, devices: int) -> list[slice]:
    """Cut the chains into groups of nearly equal size, whatever the number of cores.

    Chains of one group share a vectorised call; two groups keep two cores busy. Each accelerator
    takes one group, since groups would take turns there.
    """
    fewest = -(-chains // LARGEST_GROUP)
    count = min(chains, devices) if on_accelerator() else max(min(chains, 2), fewest)
    edges = [chains * index // count for index in range(count + 1)]
    return [slice(*edge) for edge in itertools.pairwise(edges)]


def drawing_devices() -> list[Any]:
    """List the devices that draw: those of JAX, or the one that the caller has chosen."""
    if jax.config.jax_default_device is not None:
        return list(devices_of(jax.device_put(0)))
    return list(jax.local_devices())


def devices_of(tree: Any) -> set[Any]:
    """Say where the first array of a tree is."""
    return jax.tree.leaves(tree)[0].devices()


def cores() -> int:
    """Count the cores that this process may use, which its owner may have pinned to few.

    A Dask worker shares the machine with others, and says so as OpenMP's programs expect it.
    """
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    except (KeyError, ValueError):
        pinned = hasattr(os, "sched_getaffinity")  # on Linux
        return len(os.sched_getaffinity(0)) if pinned else os.cpu_count() or 1
