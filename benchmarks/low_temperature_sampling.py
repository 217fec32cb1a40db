"""Sampling all 256 coordinates at low temperature, against the exact value: goals and what is met.

Prints one row for each goal: a Monte Carlo standard error of 2 % of lambda-hat within the seconds
of sampling, and |z| < 4. Goals, sampler and the number of seeds may be chosen:
``low_temperature_sampling.py 1e6,1e12 hmc 3``. Ten minutes on two cores for one seed.
"""

import math
import sys
from typing import NamedTuple

import jax

jax.config.update("jax_enable_x64", True)

import sltprob  # noqa: E402 - after the precision is set
from sltprob import models  # noqa: E402

MODEL = "tanh_zero"


class Goal(NamedTuple):
    """A temperature, the coordinates, the seconds of sampling allowed, and draws per chain."""

    beta: float
    reparameterise: str | None
    seconds: float
    draws: int


GOALS = (
    Goal(1e6, None, 60, 1000),
    Goal(1e8, None, 300, 500),
    Goal(1e12, "readout", 60, 1000),
)
RELATIVE_ERROR = 0.02


def measure(goal: Goal, sampler: str, seed: int) -> None:
    model = models.get(MODEL)
    exact = model.exact(goal.beta)
    assert exact is not None
    posterior = sltprob.temper(model, beta=goal.beta, reparameterise=goal.reparameterise)
    run = sltprob.sample(posterior, sampler, draws=goal.draws, warmup=500, seed=seed, keep="loss")
    found = sltprob.estimate(run)
    z = (found.value - exact.lambda_hat) / math.hypot(found.mcse, exact.mcse)
    relative = found.mcse / exact.lambda_hat
    seconds = run.attrs["seconds_sampling"]
    # The error falls like the root of the time.
    needed = seconds * (relative / RELATIVE_ERROR) ** 2
    met = needed <= goal.seconds and abs(z) < 4
    print(
        f"{goal.beta:<8.0e}{goal.reparameterise or 'none':<10}{found.value:<8.3f}"
        f"{found.mcse:<8.3f}{exact.lambda_hat:<8.3f}{z:<+7.1f}{seconds:<9.1f}{needed:<9.1f}"
        f"{goal.seconds:<7.0f}{'yes' if met else 'no':<5}{run.attrs['seconds_warmup']:<9.1f}"
        f"{float(run['sample_stats']['num_gradients'].mean()):<11.0f}"
        f"{sltprob.diagnose(run).status}",
        flush=True,
    )


def main() -> None:
    chosen = [float(part) for part in sys.argv[1].split(",")] if sys.argv[1:] else None
    sampler = sys.argv[2] if sys.argv[2:] else "hmc"
    seeds = int(sys.argv[3]) if sys.argv[3:] else 1
    print(f"{MODEL}, {sampler}, 4 chains; seconds to 2 % are extrapolated from the run's error")
    print(
        "β       map       λ̂       mcse    exact   z      sampling to 2 %   limit  met  warm-up  "
        "gradients  verdict"
    )
    for goal in GOALS:
        if chosen is None or goal.beta in chosen:
            for seed in range(seeds):
                measure(goal, sampler, seed)


if __name__ == "__main__":
    main()
