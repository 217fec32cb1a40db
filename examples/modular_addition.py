"""Local λ̂ while a network learns modular addition: memorising, grokking, clean-up.

A two-layer network adds modulo 53 on 30 % of all pairs. It memorises them first, and only much
later finds the rule: a few Fourier modes of the embedding (Nanda et al., arXiv 2301.05217). Beside
λ̂ of the whole network, of its embedding and of its readout, the page shows how many modes it uses.

    python examples/modular_addition.py
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sltprob

P, WIDTH, HIDDEN = 53, 64, 128
pairs = np.stack(np.meshgrid(np.arange(P), np.arange(P)), axis=-1).reshape(-1, 2)
sums = pairs.sum(axis=1) % P
order = np.random.default_rng(0).permutation(P * P)
train, test = np.split(order, [int(0.3 * P * P)])


def losses(params, batch):
    """Cross entropy of every pair."""
    pairs, sums = batch
    embedded = params["embedding"][pairs].sum(axis=1)
    logits = (embedded @ params["hidden"]) ** 2 @ params["readout"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, sums)


def fourier_modes(params):
    """Count the Fourier modes of the embedding: the participation ratio of their powers."""
    power = np.abs(np.fft.rfft(np.asarray(params["embedding"], float), axis=0)[1:]) ** 2
    power = power.sum(axis=1)
    return power.sum() ** 2 / (power**2).sum()


def test_loss(params):
    """Cross entropy of the pairs that the network has not seen."""
    return float(losses(params, (pairs[test], sums[test])).mean())


generator = np.random.default_rng(1)
shapes = {"embedding": (P, WIDTH), "hidden": (WIDTH, HIDDEN), "readout": (HIDDEN, P)}
params = {
    name: jnp.asarray(generator.normal(size=shape) / np.sqrt(shape[0]), jnp.float32)
    for name, shape in shapes.items()
}
optimiser = optax.adamw(1e-3, b2=0.98, weight_decay=2.0)
rows = (jnp.asarray(pairs[train]), jnp.asarray(sums[train]))


@jax.jit
def hundred_steps(params, state):
    """Run full-batch AdamW."""

    def body(carry, _):
        params, state = carry
        slope = jax.grad(lambda p: losses(p, rows).mean())(params)
        updates, state = optimiser.update(slope, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(body, (params, state), length=100)[0]


wanted = [100, 500, 1000, 3000, 10_000]
checkpoints, state = {}, optimiser.init(params)
for step in range(100, wanted[-1] + 1, 100):
    params, state = hundred_steps(params, state)
    if step in wanted:
        checkpoints[f"step {step}"] = params

path = sltprob.trajectory(
    checkpoints,
    losses,
    rows,
    gamma=100.0,
    masks={"all": None, "embedding": "embedding", "readout": "readout"},
    beside={"test loss": test_loss, "Fourier modes": fourier_modes},
    draws=250,
    warmup=150,
    half_step=False,
)
print(path)
path.write("modular_addition.html", title="Modular addition: local λ̂ over training")
last = path.rows["all"][-1]
print(f"lambda-hat({last.nbeta:g}) = {last.lambda_hat:.4g}: {last.verdict}")
