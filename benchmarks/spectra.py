"""What lambda-hat of other networks does: other activations, inputs and depths.

First the infinitely wide network, times 32 units: lambda-hat, its growth per decade, and how far a
straight line in log beta, the square of one and a power of beta miss it from 1e2 to 1e10; beside it
exact values at h = 32. Then a descent of sequential Monte Carlo at h = 8: where the infinitely wide
network stops to predict, and where lambda-hat turns. ``python benchmarks/spectra.py wide`` makes
only the first, in a minute, and ``python benchmarks/spectra.py tanh,depth=2`` one of the descents;
all of it takes a quarter of an hour on one core.
"""

import sys

import numpy as np

from sltprob.collapsed import PrecisionError, ResolutionError, Stage, tempered_sampling
from sltprob.finding.spectra import laws, scaling_bound, wide_curve
from sltprob.models.network import Network

NETWORKS = (
    "tanh",
    "erf",
    "sin",
    "gelu",
    "softplus",
    "relu",
    "tanh,inputs=circle",
    "relu,inputs=circle",
    "tanh,inputs=cube[1]",
    "tanh,inputs=cube[2]",
    "tanh,inputs=cube[3]",
    "tanh,depth=2",
    "tanh,depth=3",
)
# Exact values of these take minutes.
LONG = ("relu,inputs=circle", "tanh,inputs=cube[2]", "tanh,inputs=cube[3]")
DESCENTS = (
    "tanh",
    "erf",
    "sin",
    "gelu",
    "tanh,inputs=circle",
    "tanh,depth=2",
    "tanh,depth=3",
)
SHOWN = (1e2, 1e4, 1e6, 1e8)
FITTED = 10.0 ** np.arange(2.0, 10.1, 0.5)
LADDER = tuple(10.0**exponent for exponent in range(2, 15))


def network(options: str, width: int) -> Network:
    activation, _, rest = options.partition(",")
    given = dict(part.split("=") for part in rest.split(",") if part)
    return Network(
        width=width,
        activation=activation,
        inputs=given.get("inputs", "gaussian"),
        depth=int(given.get("depth", 1)),
        # Rules for the circle with a kink, and for three axes, do not reach 1e-10.
        accuracy=1e-6 if activation == "relu" else 1e-10,
    )


def exact(model: Network, beta: float) -> str:
    try:
        found = model.exact(beta, tolerance=0.01)
    except (PrecisionError, ValueError) as error:
        return type(error).__name__
    return "-" if found is None else f"{found.lambda_hat:.3f}±{found.mcse:.3f}"


def wide() -> None:
    print("infinitely wide, times h = 32; growth is Δλ̂ per decade; misfits from 1e2 to 1e10")
    columns = "".join(f"{f'λ̂(1e{np.log10(beta):.0f})':<9}" for beta in SHOWN)
    print(f"{'network':<22}{columns}{'growth':<22} {'misfit of the forms':<58}exact at 1e2, 1e4")
    for options in NETWORKS:
        model = network(options, 32)
        curve = wide_curve(model, [*SHOWN, *FITTED])
        growth = " ".join(f"{step / 2:.3g}" for step in np.diff(curve[: len(SHOWN)]))
        forms = ", ".join(
            f"{name} {100 * misfit:.2g} %"
            for name, misfit in laws(FITTED, curve[len(SHOWN) :]).items()
        )
        values = "".join(f"{value:<9.3f}" for value in curve[: len(SHOWN)])
        betas = () if options in LONG else (1e2, 1e4)
        found = "  ".join(exact(model, beta) for beta in betas)
        print(f"{options:<22}{values}{growth:<22} {forms:<58}{found}", flush=True)


def descend(options: str) -> None:
    model = network(options, 8)
    known, bound = model.truth().learning_coefficient, scaling_bound(model)
    print(f"\n{options}, h = 8: λ = {known or 'unknown'}, at most {bound or 'unknown'} by scaling")
    predicted = wide_curve(model, LADDER)
    problem = model.problem()
    values: list[Stage] = []
    try:
        tempered_sampling(LADDER, problem, tolerance=0.02, progress=values.append)
    except (PrecisionError, ResolutionError) as error:
        print(f"ends: {error}")
    for stage, expected in zip(values, predicted, strict=False):
        answer = stage.answer
        print(
            f"{answer.beta:<8.0e}{f'{answer.lambda_hat:.3f}±{answer.mcse:.3f}':<14}"
            f"wide {expected:<9.3f}{answer.lambda_hat / expected:<8.3f}rms w {stage.spread:.3f}",
            flush=True,
        )
    if not values:
        return
    top = max(values, key=lambda stage: stage.answer.lambda_hat).answer
    gone = [
        stage.answer.beta
        for stage, expected in zip(values, predicted, strict=False)
        if stage.answer.lambda_hat < 0.8 * expected
    ]
    print(f"highest at {top.beta:.0e}: {top.lambda_hat:.3f}; 20 % below the wide one from ", end="")
    print(f"{gone[0]:.0e} on" if gone else "nowhere on", flush=True)


def main() -> None:
    chosen = sys.argv[1:]
    if chosen in ([], ["wide"]):
        wide()
    for options in chosen or DESCENTS:
        if options != "wide":
            descend(options)


if __name__ == "__main__":
    main()
