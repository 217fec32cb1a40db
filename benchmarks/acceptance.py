"""Why trajectories aim at an acceptance of 0.95: singular posteriors at 0.8, 0.9 and 0.95.

Prints, for twelve seeds of each model and target, how many runs were not trusted, the root mean
square of z against the exact value (1 if the errors are honest), and the gradients for the same
error, relative to those at 0.8. A sampler may be chosen: ``acceptance.py nuts``. Five minutes on
two cores.
"""

import sys

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402 - after the precision is set

import sltprob  # noqa: E402

MODELS = (
    ("scalar_product[size=2]", 1e2),
    ("scalar_product[size=2]", 1e4),
    ("reduced_rank[input=2,hidden=2,output=2]", 1e3),
    ("deep_linear", 1e3),
    ("tanh_zero[width=2]", 1e3),
    ("normal_crossing", 1e3),
    ("normal_crossing[powers=1:1:1]", 1e3),
    ("cusp", 1e1),
    ("normal_crossing[powers=2:1,prior=normal]", 1e1),
)
TARGETS = (0.8, 0.9, 0.95)
SEEDS = range(12)


def measure(name: str, beta: float, sampler: str) -> tuple[int, float, float]:
    """Give the runs that were not trusted, the rms of z, and gradients times squared error."""
    model = sltprob.models.get(name)
    exact = model.exact(beta)
    assert exact is not None
    posterior = sltprob.temper(model, beta=beta)
    refused, z, cost = 0, [], []
    for seed in SEEDS:
        run = sltprob.sample(posterior, sampler, draws=1000, warmup=220, seed=seed, keep="loss")
        found = sltprob.estimate(run)
        refused += not sltprob.diagnose(run).trusted
        z.append((found.value - exact.lambda_hat) / found.mcse)
        cost.append(found.mcse**2 * float(run["sample_stats"]["num_gradients"].sum()))
    return refused, float(np.sqrt(np.nanmean(np.square(z)))), float(np.nanmedian(cost))


def main() -> None:
    sampler = sys.argv[1] if sys.argv[1:] else "hmc"
    print(f"{sampler}, {len(SEEDS)} seeds: not trusted, rms z, gradients for the same error")
    print(f"{'model':42}{'β':>8}" + "".join(f"{target:>20}" for target in TARGETS))
    for name, beta in MODELS:
        found = [
            measure(name, beta, f"{sampler}[target_acceptance_rate={target}]") for target in TARGETS
        ]
        cells = "".join(f"{bad:>8}{z:>6.2f}{cost / found[0][2]:>6.2f}" for bad, z, cost in found)
        print(f"{name:42}{beta:>8.0e}{cells}", flush=True)


if __name__ == "__main__":
    main()
