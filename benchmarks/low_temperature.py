"""How lambda-hat reaches the learning coefficient: narrow tanh networks to the end of float64.

Prints one table for each prior, with the overshoot above the theorem's value. Six minutes on one
core; widths may be given: ``python benchmarks/low_temperature.py 5,10``.
"""

import sys

from sltprob import models
from sltprob.collapsed import PrecisionError

WIDTHS = (5, 10, 16, 32)
PRIORS = ("uniform[1]", "normal[1]")
BETAS = (1e4, 1e8, 1e12, 1e16, 1e20, 1e24, 1e26)


def cell(width: int, prior: str, beta: float) -> tuple[float | None, str]:
    model = models.get(f"tanh_zero[width={width},embedding_prior={prior}]")
    try:
        found = model.exact(beta, tolerance=0.01)
    except (PrecisionError, ValueError):
        return None, "–"
    assert found is not None
    return found.lambda_hat, f"{found.lambda_hat:.3f}±{found.mcse:.3f}"


def main() -> None:
    widths = [int(part) for part in sys.argv[1].split(",")] if sys.argv[1:] else WIDTHS
    for prior in PRIORS:
        print(f"w ~ {prior}")
        print("h   λ       " + "".join(f"β={beta:<12.0e}" for beta in BETAS) + "last/λ  highest/λ")
        for width in widths:
            limit = float(models.get(f"tanh_zero[width={width}]").truth().learning_coefficient)
            cells = [cell(width, prior, beta) for beta in BETAS]
            values = [value for value, _ in cells if value is not None]
            text = "".join(f"{text:<14}" for _, text in cells)
            ratios = f"{values[-1] / limit:.3f}   {max(values) / limit:.3f}"
            print(f"{width:<4}{limit:<8.4f}{text}{ratios}", flush=True)


if __name__ == "__main__":
    main()
