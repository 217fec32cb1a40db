"""Local lambda-hat of a small Equinox network around trained parameters."""

import math

import equinox as eqx
import jax
import numpy as np
import numpyro
import optax

import sltprob

numpyro.enable_x64()

generator = np.random.default_rng(0)
x = generator.uniform(-1, 1, (400, 1))
y = np.sin(3 * x) + 0.1 * generator.normal(size=x.shape)
network = eqx.nn.MLP(1, 1, 8, 1, activation=jax.nn.tanh, key=jax.random.key(0))
params, static = eqx.partition(network, eqx.is_inexact_array)


def loss(params, batch):
    """Squared error of each datum."""
    inputs, targets = batch
    predictions = jax.vmap(eqx.combine(params, static))(inputs)
    return ((predictions - targets) ** 2).sum(axis=1) / (2 * 0.1**2)


optimiser = optax.adam(1e-2)


@jax.jit
def train(params):
    """Run full-batch Adam."""

    def body(carry, _):
        params, state = carry
        gradient = jax.grad(lambda p: loss(p, (x, y)).mean())(params)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(body, (params, optimiser.init(params)), length=5000)[0][0]


model = sltprob.from_loss(loss, train(params), (x, y), frozen=lambda site: "layers.0" in site)
print("sampled:", ", ".join(model.priors))
n = len(x)
posterior = sltprob.temper(model, beta=n / math.log(n), localization=1.0)
draws = sltprob.sample(posterior, "hmc", draws=1000, warmup=500, init="optimum")
print(sltprob.estimate(draws))
print(sltprob.diagnose(draws))
