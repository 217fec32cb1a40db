"""Local lambda-hat of a Flax NNX network trained on scikit-learn's digits."""

import math

import jax
import numpy as np
import numpyro
import optax
from flax import nnx
from sklearn.datasets import load_digits

import sltprob

numpyro.enable_x64()

digits = load_digits()
# The 64 pixels in 16 blocks of 2 x 2, between 0 and 1.
images = np.asarray(digits.images).reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) / 16
labels = np.asarray(digits.target)


class Classifier(nnx.Module):
    """One hidden layer of 8 tanh units."""

    def __init__(self, rngs):
        self.hidden = nnx.Linear(16, 8, rngs=rngs)
        self.readout = nnx.Linear(8, 10, rngs=rngs)

    def __call__(self, x):
        """Give the logits."""
        return self.readout(nnx.tanh(self.hidden(x)))


graph, state = nnx.split(Classifier(nnx.Rngs(0)), nnx.Param)
params = nnx.to_pure_dict(state)


def loss(params, batch):
    """Cross entropy of each datum."""
    x, y = batch
    logits = nnx.merge(graph, nnx.State(params))(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


optimiser = optax.adamw(1e-2, weight_decay=1e-2)


@jax.jit
def train(params):
    """Run full-batch AdamW."""

    def body(carry, _):
        params, state = carry
        gradient = jax.grad(lambda p: loss(p, (images, labels)).mean())(params)
        updates, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(body, (params, optimiser.init(params)), length=1000)[0][0]


model = sltprob.from_loss(loss, train(params), (images, labels), prior=3.0)
n = len(images)
posterior = sltprob.temper(model, beta=n / math.log(n), localization=30.0)
print(f"{posterior.dimension} parameters, training loss {model.minimum_loss:.4f}")
draws = sltprob.sample(
    posterior, "hmc", draws=500, warmup=200, chains=4, init="optimum", keep="loss"
)
print(sltprob.estimate(draws))
print(sltprob.diagnose(draws))
