"""Run the Python that users read, in the process of the test and with few draws."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import jax
import pytest

import sltprob

DRAWS, WARMUP = 120, 60


def run_with_few_draws(script: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Run a script in a folder, as it stands but for the lengths of its runs.

    Programs that several scripts share are compiled once in this process, without optimisation.
    Ranks are promoted and warnings are no errors, as where a reader runs it.
    """
    for verb in ("sample", "compare", "local_sweep", "trajectory"):
        patch.setattr(sltprob, verb, _few(getattr(sltprob, verb)))
    patch.chdir(folder)
    with jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(str(script), run_name="__main__")


def _few(verb):
    def short(*arguments, **options):
        options["draws"] = min(options.get("draws", DRAWS), DRAWS)
        options["warmup"] = min(options.get("warmup", WARMUP), WARMUP)
        return verb(*arguments, **options)

    return short
