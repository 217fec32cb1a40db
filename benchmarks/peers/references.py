"""Compute the exact and reference values, once: writes references.json and digits.npz.

Nothing here is measured, and `make peers` does not run it. Half an hour, mostly long Hamiltonian
Monte Carlo on the trained network.

    python benchmarks/peers/references.py [NAME ...]
"""

from __future__ import annotations

import itertools
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
import problems
from arviz_stats.base import array_stats

numpyro.enable_x64()

import sltprob  # noqa: E402
from sltprob.models._gibbs import block_gibbs  # noqa: E402
from sltprob.models._gibbs_large import block_gibbs_large  # noqa: E402

SIZE = 4_000_000


def flagship(name):
    found = sltprob.models.get("tanh_zero").exact(problems.get(name).beta)
    return found.lambda_hat, found.mcse, "the readout integrated out, sltprob exact"


def deep_linear(name):
    width, rank, _ = problems.DEEP_LINEAR[int(name.rpartition("-")[2])]
    center = np.diag((np.arange(width) < rank) * 1.0)
    sample = block_gibbs if width < 32 else block_gibbs_large
    found = sample(1e3, center, prior_means=(center,) * 3, tolerance=0.002)
    return found.lambda_hat, found.mcse, "block Gibbs"


def eight_schools(name):
    """Integrate the effects and the mean in closed form, and tau by quadrature."""
    y, s2 = problems.EFFECTS, problems.ERRORS**2
    # tau = 5 tan(u), u uniform on (0, pi/2), is half-Cauchy.
    u = (np.arange(400_000) + 0.5) / 400_000 * math.pi / 2
    t2 = (5 * np.tan(u))[:, None] ** 2
    v = s2 + t2  # of y given mu and tau
    precision = 1 / 25 + np.sum(1 / v, axis=1)
    mean = np.sum(y / v, axis=1) / precision
    log_weight = -0.5 * np.sum(np.log(v), axis=1) - 0.5 * np.log(precision)
    log_weight += 0.5 * precision * mean**2 - 0.5 * np.sum(y**2 / v, axis=1)
    weight = np.exp(log_weight - log_weight.max())
    # The effect of a school given mu: y less it has mean (y - mu) s2/v and variance s2 t2/v.
    residual = ((y - mean[:, None]) ** 2 + 1 / precision[:, None]) * (s2 / v) ** 2 + s2 * t2 / v
    value = np.sum(0.5 * residual / s2, axis=1)
    return float(np.sum(weight * value) / np.sum(weight)), 1e-6, "quadrature"


def logistic(name):
    """Reweigh draws of a Student t around the mode."""
    x, y = problems.logistic_data()
    b = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ b))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + np.eye(len(b)) / 25
        b -= np.linalg.solve(curvature, x.T @ (p - y) + b / 25)
    root = np.linalg.cholesky(np.linalg.inv(curvature))
    generator = np.random.default_rng(1)
    values, weights = [], []
    for _ in range(40):
        z = generator.standard_normal((25_000, len(b)))
        z *= np.sqrt(10 / generator.chisquare(10, size=(25_000, 1)))
        theta = b + z @ root.T
        eta = theta @ x.T
        loss = np.sum(np.logaddexp(0, eta) - y * eta, axis=1)
        proposal = -0.5 * (10 + len(b)) * np.log1p(np.sum(z**2, axis=1) / 10)
        values.append(loss)
        weights.append(-loss - np.sum(theta**2, axis=1) / 50 - proposal)
    values, weights = np.concatenate(values), np.concatenate(weights)
    weights = np.exp(weights - weights.max())
    weights /= weights.sum()
    mean = float(weights @ values)
    error = float(np.sqrt(np.sum(weights**2 * (values - mean) ** 2)))
    problem = problems.get(name)
    return mean - problem.beta * problem.minimum_loss, error, "importance sampling, 1e6 draws"


def gaussian(name):
    h = problems.CURVATURES * problems.get(name).beta
    return float(0.5 * np.sum(h / (1 + h))), 0.0, "formula"


def mixture(name):
    """Draw from the posterior itself, which is a mixture of Gaussians."""
    problem = problems.get(name)
    numbers = problem.numbers
    tau, s, m = float(numbers["prior"]), numbers["widths"], numbers["centres"]
    variance = 1 / (1 / s**2 + 1 / tau**2)
    evidence = numbers["weights"] / (s**2 + tau**2) ** 2.5
    evidence = evidence * np.exp(-0.5 * np.sum(m**2, axis=1) / (s**2 + tau**2))
    evidence /= evidence.sum()
    generator = np.random.default_rng(2)
    total = squares = 0.0
    for share, v, centre, width in zip(evidence, variance, m, s, strict=True):
        z = generator.standard_normal((SIZE, 5))
        loss = problems.mixture_loss(centre * v / width**2 + z * math.sqrt(v), numbers)
        total += share * loss.mean()
        squares += share**2 * loss.var() / SIZE
    return total - problem.minimum_loss, math.sqrt(squares), "independent draws"


def train() -> None:
    """Train the network on digits to a minimum of the full loss, and store it with its data."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x, y = x[: problems.DIGITS_ROWS], y[: problems.DIGITS_ROWS]
    widths = (64, 256, 360, 10)
    generator = np.random.default_rng(0)
    params = {}
    for layer, (a, b) in enumerate(itertools.pairwise(widths)):
        params[f"{layer}.weight"] = generator.normal(size=(b, a)) * math.sqrt(2 / a)
        params[f"{layer}.bias"] = np.zeros(b)
    params = jax.tree.map(jnp.asarray, params)
    data = jnp.asarray(x / 16), jnp.asarray(y)
    schedule = optax.cosine_decay_schedule(1e-3, 4000)
    optimiser = optax.adam(schedule)

    def loss(params):
        return jnp.mean(losses(params, data))

    @jax.jit
    def fit(params):
        def step(carry, _):
            params, state = carry
            slope = jax.grad(loss)(params)
            updates, state = optimiser.update(slope, state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimiser.init(params)), length=4000)[0][0]

    params = fit(params)
    slope = jax.grad(loss)(params)
    print("loss", loss(params), "gradient", optax.tree.norm(slope))
    arrays = {name: np.asarray(value, np.float16) for name, value in params.items()}
    np.savez_compressed(
        problems.HERE / "digits.npz", x=x.astype(np.uint8), y=y.astype(np.uint8), **arrays
    )


def losses(params, batch):
    """Give the cross entropy of every row."""
    x, y = batch
    for layer in range(2):
        x = jax.nn.relu(x @ params[f"{layer}.weight"].T + params[f"{layer}.bias"])
    x = x @ params["2.weight"].T + params["2.bias"]
    return jax.nn.logsumexp(x, axis=-1) - jnp.take_along_axis(x, y[:, None], axis=-1)[:, 0]


def digits(name):
    """Sample the trained network by Hamiltonian Monte Carlo on all data."""
    import blackjax

    problem = problems.get(name)
    params, (x, y) = problems.digits()
    data = jnp.asarray(x), jnp.asarray(y.astype(np.int32))
    center, restore = jax.flatten_util.ravel_pytree(
        {name: jnp.asarray(value) for name, value in params.items()}
    )
    at_center = losses(restore(center), data)

    def rise(delta):
        return jnp.mean(losses(restore(center + delta), data) - at_center)

    def logdensity(delta):
        return -problem.beta * rise(delta) - 0.5 * problem.numbers["gamma"] * jnp.sum(delta**2)

    @jax.jit
    def chain(key, delta, step_size):
        def one(carry, key):
            state, _ = carry
            state, info = kernel(key, state, logdensity, step_size, metric, STEPS)
            return (state, 0), (rise(state.position), info.acceptance_rate)

        start = blackjax.hmc.init(delta, logdensity)
        (state, _), record = jax.lax.scan(one, (start, 0), jax.random.split(key, 20))
        return state.position, record

    kernel, metric = blackjax.hmc.build_kernel(), jnp.ones(center.shape, center.dtype)
    rises = []
    for seed in range(2):
        key = jax.random.key(seed)
        delta = jax.random.normal(key, center.shape, center.dtype) * seed / math.sqrt(10)
        step, trace = 0.02, []
        for block in range(BLOCKS):
            delta, (rise_of, accepted) = chain(jax.random.fold_in(key, block), delta, step)
            mean = float(jnp.mean(accepted))
            if block < BLOCKS // 4:
                step *= math.exp(0.6 * (mean - 0.8))
            else:
                trace.append(np.asarray(rise_of, float))
            print(block, step, mean, problem.beta * float(jnp.mean(rise_of)), flush=True)
        rises.append(np.concatenate(trace))
    trace = problem.beta * np.stack(rises)
    error = float(array_stats.mcse(trace, chain_axis=0, draw_axis=1, method="mean"))
    rhat = float(array_stats.rhat(trace, chain_axis=0, draw_axis=1, method="rank"))
    return float(trace.mean()), error, f"HMC on all rows from two starts, R-hat {rhat:.3f}"


STEPS, BLOCKS = 16, 60

KINDS = {
    "tanh-1e2": flagship,
    "tanh-1e4": flagship,
    "tanh-1e6": flagship,
    "deep-linear-432": deep_linear,
    "deep-linear-10800": deep_linear,
    "deep-linear-97200": deep_linear,
    "eight-schools": eight_schools,
    "logistic": logistic,
    "gaussian": gaussian,
    "mixture": mixture,
    "two-modes": mixture,
    "digits": digits,
}


def main() -> None:
    if "train" in sys.argv:
        train()
        return
    path = problems.HERE / "references.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for name in sys.argv[1:] or KINDS:
        value, error, method = KINDS[name](name)
        known[name] = {"lambda_hat": float(value), "mcse": float(error), "method": method}
        print(name, known[name], flush=True)
        path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
