"""How lambda-hat reaches the learning coefficient: tanh networks down to where the plateau is.

For each prior and width one descent of sequential Monte Carlo on the density of w, from the prior
to beta = 1e32, with lambda-hat, its ratio to the theorem's value and the root mean square of w at
many betas; then, at some, chains of the same moves that start collapsed (w a hundredth of a prior
draw) or at prior draws ("hot"). A quarter of an hour on one core; widths and the largest beta may
be given: ``python benchmarks/low_temperature.py 5,10 1e40``. Width 128 takes a quarter of an hour
to 1e48, and the chains with a start of their own longer.
"""

import math
import sys

from sltprob.collapsed import PrecisionError, Stage, started_sampling, tempered_sampling
from sltprob.models.tanh_zero import TanhZero

WIDTHS = (5, 10, 16, 32)
PRIORS = ("uniform[1]", "normal[1]")
WIDE = (12, 20, 24, 26, 28, 29, 30, 31, 32, 34, 36, 40, 44, 48, 56, 64)
LARGEST = 1e32
STARTS = {"collapsed": 0.01, "hot": 1.0}
TOLERANCE = 0.015


def ladder(width: int, largest: float) -> list[float]:
    """Dense where lambda-hat turns, which a wide network does later."""
    exponents = (*range(4, 16, 2), *range(16, 100, 4)) if width < 64 else WIDE
    return [beta for beta in (float(f"1e{exponent}") for exponent in exponents) if beta <= largest]


def line(beta: float, stage: Stage, limit: float, name: str = "") -> str:
    value = stage.answer
    text = f"{beta:<8.0e}{f'{value.lambda_hat:.3f}±{value.mcse:.3f}':<14}"
    return text + f"{value.lambda_hat / limit:<8.3f}{stage.spread:<9.2g}{name}"


def one(width: int, prior: str, largest: float) -> None:
    model = TanhZero(width=width, embedding_prior=prior)
    truth = model.truth()
    limit = float(truth.learning_coefficient)
    problem = model.problem()
    betas = ladder(width, largest)
    print(f"\nh = {width}, w ~ {prior}: λ = {limit:.4f}, m = {truth.multiplicity}")
    print(f"{'β':<8}{'λ̂':<14} {'λ̂/λ':<8} {'rms w':<9}", flush=True)
    stages = tempered_sampling(betas, problem, tolerance=TOLERANCE)
    for beta, stage in zip(betas, stages, strict=True):
        print(line(beta, stage, limit), flush=True)
    peak = max(stages, key=lambda stage: stage.answer.lambda_hat).answer
    print(f"highest: {peak.lambda_hat / limit:.2f} λ at β = {peak.beta:.0e}")
    left = [stage for stage in stages if stage.spread < 0.95 * stages[0].spread]
    if left:
        first = left[0].answer
        print(
            f"w leaves its prior by β = {first.beta:.0e}: 2 λ̂ = {2 * first.lambda_hat:.1f} "
            f"directions resolved, √h = {math.sqrt(width):.1f}"
        )
    last = stages[-1].answer
    expected = limit - (truth.multiplicity - 1) / math.log(last.beta)
    print(
        f"end: λ̂ = {last.lambda_hat:.3f}±{last.mcse:.3f}, "
        f"λ - (m - 1)/log β = {expected:.3f}: {100 * (last.lambda_hat / expected - 1):+.1f} %"
    )
    for beta in (peak.beta, last.beta):
        for name, size in STARTS.items():
            try:
                stage = started_sampling(
                    beta,
                    problem,
                    lambda generator, n, size=size: size * problem.draw_prior(generator, n),
                    tolerance=TOLERANCE,
                )
                print(line(beta, stage, limit, f"{name} start"), flush=True)
            except PrecisionError as error:
                print(f"{beta:<8.0e}{name} start: {error}", flush=True)


def main() -> None:
    widths = [int(part) for part in sys.argv[1].split(",")] if sys.argv[1:] else WIDTHS
    largest = float(sys.argv[2]) if sys.argv[2:] else LARGEST
    for prior in PRIORS:
        for width in widths:
            one(width, prior, largest)


if __name__ == "__main__":
    main()
