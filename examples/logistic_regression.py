"""A regular model: over an n sweep lambda-hat of a logistic regression goes to d/2."""

import math

import numpy as np
import numpyro
import numpyro.distributions as dist

import sltprob

numpyro.enable_x64()


def logistic(x, y=None):
    """Four coefficients, wide prior."""
    b = numpyro.sample("b", dist.Normal(0.0, 10.0).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ b), obs=y)


generator = np.random.default_rng(0)
for n in (100, 1_000, 10_000):
    x = generator.normal(size=(n, 4))
    chance = 1 / (1 + np.exp(-x @ [1.0, -1.0, 0.5, 0.0]))
    y = (generator.uniform(size=n) < chance).astype(int)
    posterior = sltprob.temper(logistic, {"x": x, "y": y}, beta=n / math.log(n))
    least = sltprob.find_optimum(posterior)
    draws = sltprob.sample(posterior, "hmc", draws=500, warmup=200)
    result = sltprob.estimate(draws, minimum_loss=least.loss)
    print(f"n = {n:6d}: {result}, d/2 = 2, {sltprob.diagnose(draws).status}")
    assert abs(result.value - 2) < 5 * result.mcse + 20 / n
