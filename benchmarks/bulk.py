"""A singularity on top of a bulk, and whether two curves of lambda-hat have it as their difference.

Exact lambda-hat of networks that learn a target, and of the same that learn zero (the bulk), their
difference, how much of it is squared bias, and what the infinitely wide network says that this is:
tanh networks that learn one unit tanh(x), a minute on one core, and quadratic units that learn
modular addition, ten minutes.
``python benchmarks/bulk.py unit`` or ``modular`` makes one of the two; a folder behind it takes the
picture of the second, modular.svg.
"""

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from sltprob.finding.bulk import Difference, differences, draw_differences, squared_bias
from sltprob.models.network import Network

UNIT = Network(target="unit")
MODULAR = Network(target="modular", inputs="modular[5]", activation="square")
# Width, and the exponents of beta.
WIDTHS = {
    "unit": {
        width: range(0, last, 2) for width, last in {1: 11, 2: 11, 3: 11, 16: 9, 128: 7}.items()
    },
    "modular": {width: range(9) for width in (4, 6, 8, 9, 10, 12, 32)},
}


def table(model: Network, exponents: range) -> tuple[Difference, ...]:
    limit = limit_of(model)
    text = "unknown" if limit is None else f"{limit} = {float(limit):.3f}"
    print(f"\nh = {model.width}, target={model.target}: λ less λ of target=zero: {text}")
    print(
        f"{'β':<8}{'zero':<14}{'target':<14}{'difference':<14}{'squared bias':<14}wide", flush=True
    )
    rows = differences([10.0**k for k in exponents], model)
    for row in rows:
        cells = [
            f"{value:.3f}±{error:.3f}"
            for value, error in (
                (row.bulk.lambda_hat, row.bulk.mcse),
                (row.whole.lambda_hat, row.whole.mcse),
                (row.value, row.mcse),
            )
        ]
        bias = squared_bias(row.beta, model)
        cells.append("-" if bias is None else f"{bias[0]:.4f}±{bias[1]:.4f}")
        print(
            f"{row.beta:<8.0e}{''.join(f'{cell:<14}' for cell in cells)}{row.wide:.4f}", flush=True
        )
    return rows


def limit_of(model: Network) -> Fraction | None:
    whole = model.truth().learning_coefficient
    bulk = replace(model, target="zero").truth().learning_coefficient
    return None if whole is None or bulk is None else whole - bulk


def main() -> None:
    chosen = sys.argv[1:2] or ["unit", "modular"]
    for name, model in (("unit", UNIT), ("modular", MODULAR)):
        if name not in chosen:
            continue
        models = {width: replace(model, width=width) for width in WIDTHS[name]}
        rows = {width: table(one, WIDTHS[name][width]) for width, one in models.items()}
        limits = {width: limit_of(one) for width, one in models.items()}
        if name == "modular" and sys.argv[2:]:
            draw_differences(Path(sys.argv[2]) / "modular.svg", rows, limits)


if __name__ == "__main__":
    main()
