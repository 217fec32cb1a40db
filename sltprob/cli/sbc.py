"""`sltprob sbc`: simulation-based calibration of a sampler."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sltprob.cli._app import JUDGE, app
from sltprob.cli._options import AsJson, Chains, DataOption, Draws, Seed, WarmupOption, configure
from sltprob.cli._output import json_text, print_checks, print_json, say
from sltprob.files import new_file, write_text
from sltprob.progress import counting

if TYPE_CHECKING:
    from sltprob.probes.simulation_based_calibration import Calibration

__all__ = ["sbc"]

_BARS = " ▁▂▃▄▅▆▇█"


@app.command(rich_help_panel=JUDGE)
def sbc(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a model, or your own path/to/file.py:function")
    ],
    sampler: Annotated[str, typer.Option(help="such as 'hmc[num_steps=64]'")] = "hmc",
    data: DataOption = None,
    n: Annotated[int, typer.Option(help="data in every data set of a model")] = 20,
    sets: Annotated[int, typer.Option(help="data sets")] = 200,
    chains: Chains = 4,
    draws: Draws = 250,
    warmup: WarmupOption = 250,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="file to write, ending in .json")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 unless all pass")] = False,
    as_json: AsJson = False,
) -> None:
    """Test a sampler on data simulated from the model: ranks of true parameters are uniform."""
    configure("float64")
    if out is not None:
        new_file(out)
    from sltprob.probes.simulation_based_calibration import simulation_based_calibration

    with counting("data sets") as show:
        result = simulation_based_calibration(
            model,
            sampler,
            data=data,
            n=n,
            sets=sets,
            draws=draws,
            warmup=warmup,
            chains=chains,
            seed=seed,
            progress=show,
        )
    document = _document(result)
    if out is not None:
        write_text(json_text(document), out)
    if as_json:
        print_json(document)
    else:
        print_checks(result.checks, f"{result.model}, {result.sampler}, β = n = {result.n}")
        _print_ranks(result)
    if strict and not result.passed:
        raise typer.Exit(1)


def _document(result: Calibration) -> dict[str, Any]:
    """Give a calibration as what JSON can say."""
    return {
        "model": result.model,
        "sampler": result.sampler,
        "n": result.n,
        "passed": result.passed,
        "checks": [asdict(check) for check in result.checks],
        "ranks": {name: ranks.tolist() for name, ranks in result.ranks.items()},
        "gradients": result.gradients,
        "seconds": result.seconds,
    }


def _print_ranks(result: Calibration) -> None:
    """Print the histogram of the ranks of every quantity, and what it took."""
    import numpy as np

    width = max(map(len, result.ranks))
    for name in result.ranks:
        counts = result.counts(name)
        heights = np.round(counts / counts.max() * (len(_BARS) - 1)).astype(int)
        say(
            f"ranks of {name.ljust(width)}  {''.join(_BARS[height] for height in heights)}  "
            f"{counts.min()} to {counts.max()} in a bin, {counts.mean():g} expected"
        )
    say(f"{result.gradients:.3g} gradients, {result.seconds:.1f} s")
