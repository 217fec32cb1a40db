"""Ask other networks whether lambda-hat is far below the geometric value at realistic beta.

One row for each variant: exact lambda-hat at two betas, half the number of parameters, the learning
coefficient where it is known, and the command that gives the row. About two minutes on one core.
"""

from sltprob import models
from sltprob.collapsed import PrecisionError

BETAS = (1e2, 1e4)
VARIANTS = (
    "tanh_zero[width=32]",
    "tanh_zero[width=32,embedding_prior=normal[1]]",
    "network[width=32,activation=erf]",
    "network[width=32,activation=sin]",
    "network[width=32,activation=gelu]",
    "network[width=32,activation=softplus]",
    "network[width=32,activation=relu]",
    "network[width=32,inputs=circle]",
    "network[width=32,inputs=cube[2]]",
    "network[width=32,depth=2]",
    "network[width=32,target=unit]",
    "network[width=3,target=hermite[3]]",
)


def half_dimension(model: models.Model) -> float:
    values = model.optimum().values()
    return sum(value.size for value in values) / 2


def main() -> None:
    heading = "".join(f"{f'β={beta:.0e}':<12}" for beta in BETAS)
    print(f"{heading}{'d/2':<8}{'λ':<8}command")
    for text in VARIANTS:
        model = models.get(text)
        cells = []
        for beta in BETAS:
            try:
                found = model.exact(beta, tolerance=0.02)
                cells.append("unknown" if found is None else f"{found.lambda_hat:.4g}")
            except (PrecisionError, ValueError):
                cells.append("refused")
        truth = model.truth().learning_coefficient
        limit = "–" if truth is None else f"{float(truth):.4g}"
        command = f"sltprob exact '{text}' --betas {','.join(f'{beta:g}' for beta in BETAS)}"
        values = "".join(f"{cell:<12}" for cell in cells)
        print(f"{values}{half_dimension(model):<8g}{limit:<8}{command}", flush=True)


if __name__ == "__main__":
    main()
