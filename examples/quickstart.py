"""From nothing to a judged lambda-hat: the two-layer tanh network that learns zero."""

import numpyro

import sltprob

numpyro.enable_x64()

model = sltprob.models.get("tanh_zero")
posterior = sltprob.temper(model, beta=100.0)
draws = sltprob.sample(posterior, "hmc", draws=2000, seed=1)

print(sltprob.estimate(draws))
print(sltprob.diagnose(draws))
print(f"exact: {model.exact(100.0).lambda_hat:.4f}")
