"""`sltprob ansatz` and `free-energy`: how lambda-hat and F grow with log beta."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sltprob.cli._app import MEASURE, THEORY, app
from sltprob.cli._options import (
    AsJson,
    Chains,
    DataOption,
    Draws,
    ModelArgument,
    Quiet,
    RowsOption,
    Seed,
    Strict,
    Tolerance,
    WarmupOption,
    configure,
    exit_unless_trusted,
    read_rows,
)
from sltprob.cli._output import print_json, print_rows, print_verdict, say
from sltprob.cli._scale import (
    BetaRange,
    averaged,
    columns,
    exact_values,
    read_range,
    trusted_columns,
)

__all__ = ["ansatz", "free_energy"]


@app.command(rich_help_panel=THEORY)
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
    say(*found.sentences())


@app.command(rich_help_panel=MEASURE)
def free_energy(
    model: ModelArgument = "tanh_zero",
    betas: BetaRange = "1:1e12",
    runs: Annotated[
        Path | None,
        typer.Option(help="integrate stored runs instead of exact values, file or folder"),
    ] = None,
    tolerance: Tolerance = 0.01,
    data: DataOption = None,
    rows: RowsOption = None,
    chains: Chains = 4,
    draws: Draws = 2000,
    warmup: WarmupOption = 500,
    seed: Seed = 0,
    strict: Strict = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Give the free energy; of your own program and data, the log marginal likelihood.

    For a model with exact values, lambda-hat is integrated over log beta and put beside the exact
    free energy and that of sequential Monte Carlo. For a program of your own, one run of replica
    exchange from the prior to the posterior gives log p(data) with its error.
    """
    configure("float64")
    from sltprob.program import is_program

    if is_program(model):
        options = {
            "chains": chains,
            "draws": draws,
            "warmup": warmup,
            "seed": seed,
            "progress": not quiet,
        }
        _evidence(model, data, read_rows(rows), options, strict, as_json)
        return
    if data is not None:
        raise ValueError(f"--data goes with a program of your own; {model} has its own data")
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
    say(*found.sentences())


def _evidence(
    program: str,
    data: Path | None,
    rows: str | int | None,
    options: dict[str, Any],
    strict: bool,
    as_json: bool,
) -> None:
    """Measure and print the marginal likelihood of a program of the user's own."""
    from sltprob.cli.ladder import print_rungs
    from sltprob.ladders import rung_rows
    from sltprob.marginal_likelihood import evidence

    found = evidence(program, data=data, rows=rows, **options)
    if as_json:
        names = ("log_marginal_likelihood", "mcse", "integrated", "integrated_error", "beta")
        print_json(
            {name: getattr(found, name) for name in names}
            | {"verdict": found.verdict.status, "rungs": rung_rows(found.run)}
        )
    else:
        print_rungs(rung_rows(found.run), f"{program}: F in nats, from the prior to β = n")
        say(
            f"log p(data) = {found.log_marginal_likelihood:.7g} ± {found.mcse:.2g} nats, the "
            "log marginal likelihood.",
            f"By thermodynamic integration {found.integrated:.7g} ± {found.integrated_error:.2g}.",
        )
        print_verdict(found.verdict)
    exit_unless_trusted([{"verdict": found.verdict.status}], strict)
