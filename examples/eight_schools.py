"""Eight schools, a NumPyro program of one's own: lambda-hat of a hierarchical model."""

import numpy as np
import numpyro
import numpyro.distributions as dist

import sltprob

numpyro.enable_x64()

EFFECTS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERRORS = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def eight_schools(sigma, y=None):
    """Rubin's model, non-centred."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("schools", len(sigma)):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu + tau * z, sigma), obs=y)


posterior = sltprob.temper(eight_schools, {"sigma": ERRORS, "y": EFFECTS}, beta=8)
least = sltprob.find_optimum(posterior)
draws = sltprob.sample(posterior, "hmc[target_acceptance_rate=0.95]", seed=2)
print(sltprob.estimate(draws, minimum_loss=least.loss))
print(sltprob.diagnose(draws))
