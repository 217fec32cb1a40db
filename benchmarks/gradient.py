"""What one gradient of the tanh loss costs, plain and with the readout map, in tanh evaluations.

The floor is one tanh for each weight and node; everything else is overhead. Measured in one run
on the same arrays, in turn, so that the ratio holds when the machine's speed drifts.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpyro

numpyro.enable_x64()

import sltprob  # noqa: E402
from sltprob.models._network import tanh_network  # noqa: E402

CHAINS, STEPS, ROUNDS = 4, 1000, 9


def repeat(function):
    """Apply a function to the state STEPS times inside one compiled loop."""

    def run(state):
        return jax.lax.fori_loop(0, STEPS, lambda _, state: function(state), state)

    return jax.jit(run)


def microseconds(run, state):
    """Time one application per chain."""
    start = time.perf_counter()
    jax.block_until_ready(run(state))
    return (time.perf_counter() - start) / STEPS / CHAINS * 1e6


def measure(width: int, nodes: int) -> None:
    """Print the cost of tanh alone, of the loss's gradient and of the posterior's."""
    model = sltprob.models.get(f"tanh_zero[width={width}]")
    posterior = sltprob.temper(model, beta=100.0)
    whitened = sltprob.temper(model, beta=100.0, reparameterise="readout")
    keys = jax.random.split(jax.random.key(0), CHAINS)
    position = jax.vmap(posterior.draw_prior)(keys)
    x = (jnp.arange(nodes) + 0.5) * (8.0 / nodes)
    weights = jnp.exp(-0.5 * x**2)
    weights /= weights.sum()

    def loss(a, w):
        return weights @ tanh_network(a, w, x) ** 2

    def move(state, gradient):
        return jax.tree.map(lambda value, change: value - 1e-9 * change, state, gradient)

    def only_tanh(state):
        activations, w = state
        activations = jnp.tanh(w[:, None, :] * x[None, :, None])
        return activations, w + 1e-9 * activations[:, 0, :]

    def loss_gradient(state):
        _, (ga, gw) = jax.vmap(jax.value_and_grad(loss, (0, 1)))(state["a"], state["w"])
        return move(state, {"a": ga, "w": gw})

    def gradient_of(posterior):
        def posterior_gradient(state):
            return move(state, jax.vmap(jax.value_and_grad(posterior.logdensity))(state)[1])

        return posterior_gradient

    empty = jnp.zeros((CHAINS, nodes, width))
    cases = {
        "tanh alone": (repeat(only_tanh), (empty, position["w"])),
        "loss value and gradient": (repeat(loss_gradient), position),
    }
    if nodes == len(posterior.weights):
        cases["posterior value and gradient"] = (repeat(gradient_of(posterior)), position)
        start = jax.vmap(whitened.draw_prior)(keys)
        cases["with the readout map"] = (repeat(gradient_of(whitened)), start)
    for run, state in cases.values():
        jax.block_until_ready(run(state))
    times = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (run, state) in cases.items():
            times[name].append(microseconds(run, state))
    print(f"h = {width}, {nodes} positive nodes, float64, {CHAINS} chains")
    for name, values in times.items():
        ratio = statistics.median(
            value / floor for value, floor in zip(values, times["tanh alone"], strict=True)
        )
        print(f"  {name:30s} {statistics.median(values):7.2f} us per chain   ratio {ratio:.2f}")


if __name__ == "__main__":
    measure(128, len(sltprob.temper(sltprob.models.get("tanh_zero"), beta=1.0).weights))
    measure(128, 40)
    measure(128, 50)
