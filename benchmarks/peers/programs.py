"""Programs and losses as a user of sltprob writes them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def eight_schools(sigma, y=None):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("schools", len(sigma)):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu + tau * z, sigma), obs=y)


def logistic(x, y=None):
    b = numpyro.sample("b", dist.Normal(0.0, 5.0).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ b), obs=y)


def deep_linear_losses(params, batch):
    x, y = batch
    for w in params:
        x = x @ w.T
    return 0.5 * jnp.sum((y - x) ** 2, axis=-1)


def digits_losses(params, batch):
    x, y = batch
    for layer in range(2):
        x = jax.nn.relu(x @ params[f"{layer}.weight"].T + params[f"{layer}.bias"])
    x = x @ params["2.weight"].T + params["2.bias"]
    return jax.nn.logsumexp(x, axis=-1) - jnp.take_along_axis(x, y[:, None], axis=-1)[:, 0]
