"""Deep linear networks as a user has them: trained parameters, rows, and an exact λ̂.

The rows are whitened and their noise is orthogonal to them, so that the mean loss over the rows is
½‖W_L … W_1 - C‖² + a constant exactly, and minibatches have the noise that they have in practice.
"""

import itertools

import jax.numpy as jnp
import numpy as np


def deep_linear(widths, rank, n, seed=0, noise=1.0):
    generator = np.random.default_rng(seed)
    x = np.linalg.qr(generator.standard_normal((n, widths[0])))[0] * np.sqrt(n)
    y = noise * generator.standard_normal((n, widths[-1]))
    y -= x @ (x.T @ y) / n
    y[:, :rank] += x[:, :rank]
    params = [
        jnp.eye(b, a, dtype=jnp.float32) * (jnp.arange(b) < rank)[:, None].astype(jnp.float32)
        for a, b in itertools.pairwise(widths)
    ]
    return params, (x.astype(np.float32), y.astype(np.float32))


def deep_linear_rows(params, batch):
    x, y = batch
    for w in params:
        x = x @ w.T
    return 0.5 * jnp.sum((y - x) ** 2, axis=-1)
