"""`sltprob ansatz` and `free-energy`: how lambda-hat and F grow with log beta."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sltprob.cli._app import app
from sltprob.cli._options import AsJson, ModelArgument, Seed, Tolerance, configure
from sltprob.cli._output import print_json
from sltprob.cli._scale import (
    BetaRange,
    averaged,
    columns,
    exact_values,
    print_rows,
    print_sentences,
    read_range,
    trusted_columns,
)

__all__ = ["ansatz", "free_energy"]


@app.command()
def ansatz(
    model: ModelArgument = "tanh_zero",
    betas: BetaRange = "1e2:1e12",
    runs: Annotated[
        Path | None, typer.Option(help="stored runs instead of exact values, file or folder")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare forms of lambda-hat against log beta by PSIS-LOO, and extrapolate them."""
    configure("float64")
    from sltprob import models
    from sltprob.finding.ansatz import compare_forms

    chosen = models.get(model)
    if runs is not None:
        measured = trusted_columns(runs, models.specification(chosen))
    else:
        measured = columns(exact_values(chosen, read_range(betas), 0.01))
    width = getattr(chosen, "width", None)
    found = compare_forms(*measured, level=None if width is None else width / 2, seed=seed)
    if as_json:
        print_json(found.as_json())
        return
    print_rows(f"{len(measured[0])} values of λ̂", found.headings, found.table())
    print_sentences(found.sentences())


@app.command()
def free_energy(
    model: ModelArgument = "tanh_zero",
    betas: BetaRange = "1:1e12",
    runs: Annotated[
        Path | None,
        typer.Option(help="integrate stored runs instead of exact values, file or folder"),
    ] = None,
    tolerance: Tolerance = 0.01,
    as_json: AsJson = False,
) -> None:
    """Integrate lambda-hat to the free energy, beside the exact one and that of tempering."""
    configure("float64")
    from sltprob import models
    from sltprob.finding.free_energy import free_energies
    from sltprob.models.tanh_zero import TanhZero

    chosen = models.get(model)
    measured = None
    values = read_range(betas)
    if runs is not None:
        measured = averaged(*trusted_columns(runs, models.specification(chosen)))
        values = [beta for beta, _, _ in measured]
    if len(values) < 4:
        raise ValueError(
            f"{len(values)} inverse temperatures are too few to integrate over; write 4 or more, "
            "such as --betas 1:1e4:1"
        )
    exacts = exact_values(chosen, values, tolerance)
    # Only this model says what is left when its readout is integrated out.
    problem = chosen.problem() if isinstance(chosen, TanhZero) else None
    found = free_energies(exacts, problem, measured=measured)
    if as_json:
        print_json([asdict(row) for row in found.rows])
        return
    print_rows(f"F in nats, {models.specification(chosen)}", found.headings, found.table())
    print_sentences(found.sentences())
