"""hmc at its defaults against NumPyro's NUTS at its own, on posteriors that ask for a good metric.

Fifty normal coordinates with precisions from 2 to 10,001, plain and rotated; logistic regressions,
one with predictors that share almost all of their variance; eight schools; a regular model of the
league. Both sample the same log density in this process, in float64: 4 chains, 1,000 draws each.
NumPyro's kernel runs in a loop of its own, compiled once as ours is, with 1,000 draws of warm-up.

Prints ratios to NUTS of effective draws for each second by the clock, while sampling and with
warm-up, of the loss and of the worst coordinate; nothing counts compilation. Names of problems and
the number of seeds may be given: ``hard.py rotated,logistic 3``. On one core, such as by ``taskset
-c 0``, neither has two at work. Six minutes.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import scipy.stats
from arviz_stats.base import array_stats
from jax.flatten_util import ravel_pytree
from numpyro.infer import NUTS

numpyro.enable_x64()

import sltprob  # noqa: E402 - after the precision is set

CHAINS, DRAWS, NUTS_WARMUP = 4, 1000, 1000
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
CURVATURES = np.logspace(-4, 0, 50)


def gaussian() -> Any:
    spectrum = ":".join(repr(float(h)) for h in CURVATURES)
    return sltprob.temper(sltprob.models.get(f"regular[spectrum={spectrum}]"), beta=1e4)


def rotated() -> Any:
    directions = jnp.asarray(scipy.stats.ortho_group.rvs(50, random_state=0))

    def program(mode: Any, y: Any) -> None:
        w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([50]).to_event(1))
        numpyro.sample("y", dist.Normal((directions.T @ w)[mode], 1.0), obs=y)

    data = sltprob.Data({"mode": np.arange(50), "y": np.zeros(50)}, CURVATURES)
    minimum = 0.5 * np.log(2 * np.pi) * CURVATURES.sum()
    return sltprob.temper(program, data, beta=1e4, minimum_loss=minimum)


def regression(dimension: int, own: float, common: float) -> Any:
    """Predictors have a part of their own and one in common."""
    generator = np.random.default_rng(0)
    x = own * generator.normal(size=(500, dimension)) + common * generator.normal(size=(500, 1))
    logits = x @ generator.normal(size=dimension)
    y = (generator.uniform(size=500) < 1 / (1 + np.exp(-logits))).astype(int)

    def program(x: Any, y: Any) -> None:
        b = numpyro.sample("b", dist.Normal(0.0, 5.0).expand([dimension]).to_event(1))
        numpyro.sample("y", dist.Bernoulli(logits=x @ b), obs=y)

    return sltprob.temper(program, {"x": x, "y": y}, beta=500.0, minimum_loss=0.0)


def eight_schools() -> Any:
    def program(sigma: Any, y: Any) -> None:
        mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
        with numpyro.plate("schools", 8):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("y", dist.Normal(mu + tau * z, sigma), obs=y)

    return sltprob.temper(program, {"sigma": ERRORS, "y": EFFECTS}, beta=8.0, minimum_loss=0.0)


PROBLEMS: dict[str, Callable[[], Any]] = {
    "gaussian": gaussian,
    "rotated": rotated,
    "logistic": lambda: regression(10, 1.0, 0.7),
    "correlated": lambda: regression(20, 0.1, 1.0),
    "eight": eight_schools,
    "regular": lambda: sltprob.temper(sltprob.models.get("regular"), beta=1e3),
}


def effective(draws: np.ndarray) -> float:
    return float(array_stats.ess(draws, chain_axis=0, draw_axis=1, method="bulk"))


def line(name: str, loss: Any, flat: Any, gradients: float, sampling: float, warmup: float) -> Any:
    """Print one run; give what is compared: effective draws a second, of loss and coordinates."""
    found = effective(loss), min(effective(flat[..., i]) for i in range(flat.shape[-1]))
    print(
        f"  {name:6s} ESS of the loss {found[0]:6.0f}, of the worst coordinate {found[1]:6.0f}, "
        f"{gradients / loss.size:6.1f} gradients a draw, {gradients / found[0]:6.1f} and "
        f"{gradients / found[1]:6.1f} for an effective one; sampling {sampling:.3f} s, "
        f"warm-up {warmup:.3f} s",
        flush=True,
    )
    return np.array([each / t for t in (sampling, sampling + warmup) for each in found])


def ours(posterior: Any, seed: int) -> Any:
    run = sltprob.sample(posterior, "hmc", draws=DRAWS, chains=CHAINS, seed=seed)
    values = run["posterior"].to_dataset().data_vars.values()
    flat = np.concatenate([v.values.reshape(CHAINS, DRAWS, -1) for v in values], axis=2)
    stats = run["sample_stats"]
    seconds = run.attrs["seconds_sampling"], run.attrs["seconds_warmup"]
    return line("hmc", stats["loss"].values, flat, float(stats["num_gradients"].sum()), *seconds)


def theirs(posterior: Any) -> Callable[[int], Any]:
    """Compile NumPyro's kernel in loops; chains run one after the other."""
    kernel = NUTS(potential_fn=lambda position: -posterior.logdensity(position))
    example = posterior.draw_prior(jax.random.key(0))

    def begin(key: Any) -> Any:
        near = {
            name: jax.random.uniform(key, x.shape, minval=-2, maxval=2)
            for name, x in example.items()
        }
        return kernel.init(key, NUTS_WARMUP, near, (), {})

    def step(state: Any, _: Any) -> Any:
        state = kernel.sample(state, (), {})
        return state, (state.z, state.num_steps)

    begin(jax.random.key(0))
    warm = jax.jit(
        lambda state: jax.lax.fori_loop(
            0, NUTS_WARMUP, lambda _, state: step(state, None)[0], state
        )
    )
    draw = jax.jit(lambda state: jax.lax.scan(step, state, length=DRAWS)[1])
    look = jax.jit(
        jax.vmap(jax.vmap(lambda z: (posterior.loss(z), ravel_pytree(posterior.constrain(z))[0])))
    )

    def run(seed: int) -> Any:
        states = [begin(key) for key in jax.random.split(jax.random.key(seed), CHAINS)]
        start = time.perf_counter()
        states = jax.block_until_ready([warm(state) for state in states])
        warmed = time.perf_counter()
        drawn = jax.block_until_ready([draw(state) for state in states])
        done = time.perf_counter()
        places, steps = jax.tree.map(lambda *chains: jnp.stack(chains), *drawn)
        loss, flat = map(np.asarray, look(places))
        return line("NUTS", loss, flat, float(steps.sum()), done - warmed, warmed - start)

    return run


def main() -> None:
    names = sys.argv[1].split(",") if sys.argv[1:] else list(PROBLEMS)
    seeds = int(sys.argv[2]) if sys.argv[2:] else 2
    for name in names:
        posterior = PROBLEMS[name]()
        print(f"{name}, {posterior.dimension} dimensions", flush=True)
        run = theirs(posterior)
        print("  not counted, since it compiles:")
        ours(posterior, seeds), run(seeds)
        print("  counted:")
        found = np.log([[ours(posterior, seed), run(seed)] for seed in range(seeds)])
        loss, worst, loss_all, worst_all = np.exp(np.mean(found[:, 0] - found[:, 1], axis=0))
        print(
            f"  hmc to NUTS, ESS a second: of the loss {loss:.2f}, of the worst coordinate "
            f"{worst:.2f}; with warm-up {loss_all:.2f} and {worst_all:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
