"""A singularity on top of a bulk, and whether two curves of lambda-hat have it as their difference.

tanh networks with w ~ U(-1, 1) that learn zero (the bulk) or one unit tanh(x): exact lambda-hat of
both, their difference, and what the infinitely wide network says of it. A minute on one core.
"""

from sltprob.finding.bulk import differences
from sltprob.models.network import Network
from sltprob.models.tanh_zero import TanhZero

WIDTHS = {1: 10, 2: 10, 3: 10, 16: 8, 128: 6}


def main() -> None:
    for width, largest in WIDTHS.items():
        bulk = TanhZero(width=width).truth().learning_coefficient
        whole = Network(width=width, target="unit").truth().learning_coefficient
        limit = "unknown" if whole is None else f"{whole - bulk} = {float(whole - bulk):.3f}"
        print(f"\nh = {width}: λ with the unit less λ without: {limit}")
        print(f"{'β':<8}{'zero':<14}{'unit':<14}{'difference':<14}infinitely wide", flush=True)
        rows = differences([10.0**k for k in range(0, largest + 1, 2)], Network(width=width))
        for row in rows:
            cells = [
                f"{value:.3f}±{error:.3f}"
                for value, error in (
                    (row.bulk.lambda_hat, row.bulk.mcse),
                    (row.whole.lambda_hat, row.whole.mcse),
                    (row.value, row.mcse),
                )
            ]
            print(f"{row.beta:<8.0e}{''.join(f'{cell:<14}' for cell in cells)}{row.wide:.4f}")


if __name__ == "__main__":
    main()
