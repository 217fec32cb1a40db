"""What the loop adds to a hand-written BlackJAX scan that records the loss, as a ratio.

The same kernel, parameters, positions, number of chains and threads: the difference is what the
loop records beside the loss (virial, curvature, energy) and its host part.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import blackjax
import jax
import jax.numpy as jnp
import numpyro

numpyro.enable_x64()

import sltprob  # noqa: E402

DRAWS, CHAINS, ROUNDS, LEAPFROG = 1000, 4, 7, 60


def main() -> None:
    """Time both, in turn."""
    posterior = sltprob.temper(sltprob.models.get("tanh_zero"), beta=1e4)
    sampler = f"hmc[num_steps={LEAPFROG}]"
    run = sltprob.sample(posterior, sampler, draws=50, warmup=200, chains=CHAINS)
    step_size = run.attrs["step_size"]
    metric = jnp.asarray(run["constant_data"]["inverse_mass_matrix"].values)
    keys = jax.random.split(jax.random.key(0), CHAINS)
    values = [run["posterior"][name].values[:, -1] for name in ("a", "w")]
    positions = [posterior.unconstrain({"a": a, "w": w}) for a, w in zip(*values, strict=True)]
    kernel = blackjax.hmc.build_kernel()

    @jax.jit
    def scan(keys, states):
        def body(states, index):
            folded = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
            states, info = jax.vmap(
                lambda key, state: kernel(
                    key, state, posterior.logdensity, step_size, metric, LEAPFROG
                )
            )(folded, states)
            loss = jax.vmap(posterior.loss)(states.position)
            return states, (states.position, loss, info.acceptance_rate)

        return jax.lax.scan(body, states, jnp.arange(DRAWS))

    def start(part):
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *positions[part])
        return jax.vmap(lambda p: blackjax.hmc.init(p, posterior.logdensity))(stacked)

    halves = [slice(0, CHAINS // 2), slice(CHAINS // 2, CHAINS)]
    states = [start(half) for half in halves]

    def by_hand():
        begin = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(
                pool.map(
                    lambda i: jax.block_until_ready(scan(keys[halves[i]], states[i])), range(2)
                )
            )
        return time.perf_counter() - begin

    def ours():
        result = sltprob.sample(posterior, sampler, draws=DRAWS, warmup=200, chains=CHAINS)
        return result.attrs["seconds_sampling"]

    by_hand(), ours()
    pairs = [(ours(), by_hand()) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{sampler}, beta = 1e4, {CHAINS} chains, {DRAWS} draws")
    print(f"  hand-written scan {statistics.median(b for _, b in pairs):6.2f} s")
    print(
        f"  sltprob.sample    {statistics.median(a for a, _ in pairs):6.2f} s   ratio {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
