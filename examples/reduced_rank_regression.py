"""A singular model: reduced-rank regression, whose lambda-hat lies below d/2 = 6."""

import numpy as np
import numpyro
import numpyro.distributions as dist

import sltprob
from sltprob.theory.learning_coefficients import reduced_rank

numpyro.enable_x64()


def regression(x, y=None):
    """Map three inputs to three outputs through two units: y = B A x + noise."""
    a = numpyro.sample("a", dist.Normal(0.0, 1.0).expand([2, 3]).to_event(2))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([3, 2]).to_event(2))
    numpyro.sample("y", dist.Normal(x @ a.T @ b.T, 1.0).to_event(1), obs=y)


generator = np.random.default_rng(0)
n = 2_000
x = generator.normal(size=(n, 3))
truth = np.outer([1.0, 0.0, 0.0], [1.0, 0.0, 0.0])  # rank one: one of the two units is idle
y = x @ truth.T + generator.normal(size=(n, 3))

posterior = sltprob.temper(regression, {"x": x, "y": y}, beta=n / np.log(n))
at_truth = -dist.Normal(x @ truth.T, 1.0).log_prob(y).sum(axis=1).mean()
# A valley that turns: where one factor is large, the other is stiff.
draws = sltprob.sample(posterior, "hmc[target_acceptance_rate=0.97]", draws=1500)
print(sltprob.estimate(draws, minimum_loss=float(at_truth)))
print("theory, n to infinity:", reduced_rank(input=3, hidden=2, output=3, rank=1))
print(sltprob.diagnose(draws))
