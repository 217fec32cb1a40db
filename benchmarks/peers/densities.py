"""The problems as JAX functions and as NumPyro programs, for the peers that run on JAX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import problems


def loss_of(problem: problems.Problem) -> Callable[[dict[str, Any]], Any]:
    """Give the loss of constrained values."""
    n = problem.numbers
    if problem.kind == "tanh":
        nodes, weights = jnp.asarray(n["nodes"]), jnp.asarray(n["weights"])
        return lambda t: weights @ (t["a"] @ jnp.tanh(t["w"][:, None] * nodes)) ** 2
    if problem.kind == "gaussian":
        return lambda t: 0.5 * jnp.sum(jnp.asarray(n["curvatures"]) * t["x"] ** 2)
    if problem.kind == "mixture":
        constants = jnp.log(n["weights"]) - 5 * jnp.log(n["widths"])

        def mixture(t):
            distance = jnp.sum((t["x"] - jnp.asarray(n["centres"])) ** 2, axis=-1)
            return -jax.nn.logsumexp(constants - 0.5 * distance / n["widths"] ** 2)

        return mixture
    if problem.kind == "logistic":
        x, y = jnp.asarray(n["x"]), jnp.asarray(n["y"])

        def logistic(t):
            eta = x @ t["b"]
            return jnp.mean(jnp.logaddexp(0.0, eta) - y * eta)

        return logistic
    if problem.kind == "eight-schools":
        y, sigma = jnp.asarray(n["y"]), jnp.asarray(n["sigma"])

        def schools(t):
            effects = t["mu"] + t["tau"] * t["z"]
            constant = jnp.log(sigma) + 0.5 * math.log(2 * math.pi)
            return jnp.mean(0.5 * ((y - effects) / sigma) ** 2 + constant)

        return schools
    if problem.kind == "deep-linear":
        layers, _ = problems.deep_linear(n["size"])
        target = jnp.asarray(layers[0], float)

        def deep(t):
            w = t["w"]
            return 0.5 * jnp.sum((w[2] @ w[1] @ w[0] - target) ** 2)

        return deep
    raise ValueError(f"{problem.kind}: no JAX loss")


def priors_of(problem: problems.Problem) -> dict[str, dist.Distribution]:
    """Give the priors by name of site."""
    n = problem.numbers
    if problem.kind == "tanh":
        h = n["width"]
        return {
            "w": dist.Uniform(-1.0, 1.0).expand([h]).to_event(1),
            "a": dist.Normal(0.0, 1.0).expand([h]).to_event(1),
        }
    if problem.kind == "gaussian":
        return {"x": dist.Normal(0.0, 1.0).expand([len(n["curvatures"])]).to_event(1)}
    if problem.kind == "mixture":
        return {"x": dist.Normal(0.0, float(n["prior"])).expand([5]).to_event(1)}
    if problem.kind == "logistic":
        return {"b": dist.Normal(0.0, 5.0).expand([n["x"].shape[1]]).to_event(1)}
    if problem.kind == "eight-schools":
        return {
            "mu": dist.Normal(0.0, 5.0),
            "tau": dist.HalfCauchy(5.0),
            "z": dist.Normal(0.0, 1.0).expand([8]).to_event(1),
        }
    if problem.kind == "deep-linear":
        layers, _ = problems.deep_linear(n["size"])
        center = jnp.stack([jnp.asarray(layer, float) for layer in layers])
        return {"w": dist.Normal(center, 1 / math.sqrt(n["gamma"])).to_event(3)}
    raise ValueError(f"{problem.kind}: no prior")


def program(problem: problems.Problem) -> Callable[[], None]:
    """Write the problem as a user of NumPyro would."""
    loss, priors = loss_of(problem), priors_of(problem)

    def model():
        values = {name: numpyro.sample(name, prior) for name, prior in priors.items()}
        found = numpyro.deterministic("loss", loss(values))
        numpyro.factor("tempered", -problem.beta * found)

    return model


def start_of(problem: problems.Problem, start: str, chains: int) -> dict[str, np.ndarray] | None:
    """Give constrained starting values: all in one mode, or all at the optimum."""
    generator = np.random.default_rng(3)
    if start == "one mode":
        return {"x": 0.1 * generator.normal(size=(chains, 5))}
    if start == "optimum":
        h = problem.numbers["width"]
        return {
            "a": 1e-3 * generator.normal(size=(chains, h)),
            "w": np.tile(generator.uniform(-0.9, 0.9, size=h), (chains, 1)),
        }
    return None


def unconstrained(problem: problems.Problem):
    """Give log prior and loss of a flat unconstrained vector, its draw, and its inverse map."""
    priors, loss = priors_of(problem), loss_of(problem)
    transforms = {name: dist.biject_to(prior.support) for name, prior in priors.items()}
    key = jax.random.key(0)
    example = {name: t.inv(priors[name].sample(key)) for name, t in transforms.items()}
    _, restore = jax.flatten_util.ravel_pytree(example)

    def values(flat):
        return {name: transforms[name](u) for name, u in restore(flat).items()}

    def log_prior(flat):
        total = 0.0
        for name, u in restore(flat).items():
            value = transforms[name](u)
            jacobian = jnp.sum(transforms[name].log_abs_det_jacobian(u, value))
            total = total + priors[name].log_prob(value) + jacobian
        return total

    def flat_of(constrained):
        inverse = {name: transforms[name].inv(v) for name, v in constrained.items()}
        return jax.flatten_util.ravel_pytree(inverse)[0]

    def draw(key):
        keys = jax.random.split(key, len(priors))
        return flat_of({n: p.sample(k) for (n, p), k in zip(priors.items(), keys, strict=True)})

    return log_prior, lambda flat: loss(values(flat)), draw, flat_of
