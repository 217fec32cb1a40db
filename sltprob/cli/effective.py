"""`sltprob effective`: modes above a threshold, truncated losses, and hard walls."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sltprob.cli._app import THEORY, app
from sltprob.cli._options import AsJson, Seed, configure, read_betas
from sltprob.cli._output import print_json, print_rows, say
from sltprob.cli._scale import EmbeddingPrior, Width, read_range

__all__ = ["effective"]


@app.command(rich_help_panel=THEORY)
def effective(
    betas: Annotated[str, typer.Option(help="comma-separated")] = "1e2,1e4,1e8",
    modes: Annotated[
        str, typer.Option(help="largest modes that the loss sees, comma-separated")
    ] = ("1,3,5,7,9,11,15,21"),
    counted: Annotated[
        str, typer.Option(help="range from:to[:per decade] where modes above the threshold count")
    ] = "1e2:1e12:0.5",
    width: Width = 128,
    embedding_prior: EmbeddingPrior = "uniform[1]",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Count the effective modes of the tanh network, cut its loss to the first, or wall it in."""
    configure("float64")
    from sltprob.finding.effective import effective_modes, truncations, walls
    from sltprob.models.tanh_zero import TanhZero

    try:
        cuts = sorted({int(part) for part in modes.split(",")})
    except ValueError:
        raise ValueError(f"--modes {modes}: whole numbers, such as 1,3,5,7") from None
    model = TanhZero(width=width, embedding_prior=embedding_prior)
    values = sorted(read_betas(betas))
    cut = truncations(values, cuts, model)
    walled = walls(values, model, seed=seed)
    counts = effective_modes(read_range(counted), model)
    if as_json:
        print_json(
            {
                "effective_modes": [asdict(row) for row in counts],
                "truncations": [asdict(row) for row in cut],
                "walls": [asdict(row) for row in walled],
            }
        )
        return
    name = f"h={width}, w ~ {embedding_prior}"
    print_rows(
        f"Modes with 2βκ > 1, infinitely wide; {name}",
        ["β", "λ̂", "principal", "their λ̂", "Hermite", "highest", "cut there", "cut to 1 %"],
        [
            [
                f"{row.beta:g}",
                f"{row.lambda_hat:.3f}",
                f"{row.principal}",
                f"{row.of_principal:.3f}",
                f"{row.hermite}",
                f"K={row.highest}",
                f"{row.of_hermite:.4f}",
                "–" if row.enough is None else f"K={row.enough}",
            ]
            for row in counts
        ],
    )
    print_rows(
        f"λ̂ of the loss that sees the modes up to K; {name}",
        ["β", *(f"K={number}" for number in cuts), "all"],
        [
            [f"{row.beta:g}", *(f"{value.lambda_hat:.4g}" for value in (*row.values, row.whole))]
            for row in cut
        ],
    )
    for row in cut:
        known = row.enough is not None
        seen = f"{row.enough} do not matter" if known else f"{cuts[-1]} still matter"
        say(f"At β = {row.beta:g} the modes above {seen} (1 %).")
    print_rows(
        f"Prior volume V of the set L < ε = 1/β; {name}",
        ["β", "log V", "±", "dlogV/dlogε", "±", "λ̂(β)"],
        [
            [
                f"{row.beta:g}",
                f"{row.walls.log_volume:.4g}",
                f"{row.walls.log_volume_mcse:.1g}",
                f"{row.walls.exponent:.3f}",
                f"{row.walls.exponent_mcse:.1g}",
                f"{row.exact.lambda_hat:.4g}",
            ]
            for row in walled
        ],
    )
