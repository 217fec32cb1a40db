"""What a local run costs beside a hand-written JAX scan of the same minibatch steps, as a ratio.

The scan keeps nothing but the parameters and the minibatch loss. A local run has the paired record
and all that its checks need. Both take 10 steps a draw on minibatches of 128 rows, 4 chains; the
scan with its chains in turn or vectorised, whichever is faster. Time is that of the processor, on
one core, so that what else the machine does counts little; each pair is repeated in turn.

    taskset -c 0 python benchmarks/local.py [--quick] [--large] [--rows 1000000]
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import functools
import math
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import sltprob

BATCH, STEPS, CHAINS = 128, 10, 4
SIZES = {
    3_754: (20, 64, 32, 10),
    113_834: (784, 128, 96, 10),
    301_184: (784, 256, 384, 10),
    10_007_620: (784, 2790, 2790, 10),
}
#: Of a million rows of 64 numbers, which fit into memory twice.
SMALL_ROWS = {3_754: (20, 64, 32, 10), 112_770: (64, 256, 360, 10)}


def network(widths, key):
    """Make the parameters of a network."""
    keys = jax.random.split(key, len(widths) - 1)
    return [
        {"w": jax.random.normal(k, (a, b)) * math.sqrt(2 / a), "b": jnp.zeros(b)}
        for k, a, b in zip(keys, widths, widths[1:], strict=False)
    ]


def losses(params, batch):
    """Give the cross entropy of every row."""
    x, y = batch
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    x = x @ params[-1]["w"] + params[-1]["b"]
    return jax.nn.logsumexp(x, axis=-1) - jnp.take_along_axis(x, y[:, None], axis=-1)[:, 0]


def scan_by_hand(params, data, nbeta, gamma, step_size, draws, vectorised):
    """Write SGLD as one would."""
    count = len(data[0])

    def step(theta, key):
        key_rows, key_noise = jax.random.split(key)
        chosen = jax.random.randint(key_rows, (BATCH,), 0, count)
        batch = tuple(array[chosen] for array in data)
        loss, slope = jax.value_and_grad(lambda p: jnp.mean(losses(p, batch)))(theta)
        leaves, tree = jax.tree.flatten(theta)
        keys = jax.random.split(key_noise, len(leaves))
        noise = jax.tree.unflatten(
            tree, [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
        )
        moved = jax.tree.map(
            lambda t, g, c, z: (
                t - step_size * (nbeta * g + gamma * (t - c)) + jnp.sqrt(2 * step_size) * z
            ),
            theta,
            slope,
            params,
            noise,
        )
        return moved, loss

    @functools.partial(jax.jit, donate_argnums=0)
    def chain(theta, key):
        return jax.lax.scan(step, theta, jax.random.split(key, draws * STEPS))

    every = jax.jit(jax.vmap(chain), donate_argnums=0)

    def run(thetas, keys):
        if vectorised:
            return jax.block_until_ready(every(thetas, keys))[0]
        return [jax.block_until_ready(chain(t, k))[0] for t, k in zip(thetas, keys, strict=True)]

    copies = [jax.tree.map(lambda leaf: leaf + 0, params) for _ in range(CHAINS)]
    start = jax.tree.map(lambda *parts: jnp.stack(parts), *copies) if vectorised else copies
    return run, start


def spent(function):
    """Time a call by the processor."""
    begin = time.process_time()
    result = function()
    return time.process_time() - begin, result


def one(widths, rows, draws, rounds, source="memory"):
    """Compare both at one size; give microseconds a step and chain, and the ratio."""
    from sltprob.samplers.sgld import SGLD
    from sltprob.sampling.local_run import LocalOptions, LocalRun

    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, widths[0]), dtype=np.float32)
    y = generator.integers(0, widths[-1], rows).astype(np.int32)
    params = network(widths, jax.random.key(0))
    given = (x, y)
    folder = tempfile.TemporaryDirectory()
    if source == "memmap":
        given = []
        for name, array in (("x", x), ("y", y)):
            path = Path(folder.name) / f"{name}.npy"
            np.save(path, array)
            given.append(np.load(path, mmap_mode="r"))
        given = tuple(given)
    posterior = sltprob.local(losses, params, given, nbeta=1000.0, gamma=100.0)
    step = 1e-9
    # The run's own loop, without warm-up and compilation.
    options = LocalOptions(
        batch_size=BATCH,
        steps_per_draw=STEPS,
        step_size=step,
        draws=draws,
        warmup=10 * draws,
        chains=CHAINS,
        seed=0,
        init="optimum",
        record="paired",
        keep="loss",
        vectorized=None,
        half_step=False,
        target_rho=0.1,
    )
    run = LocalRun(posterior, SGLD(batch_size=None, steps_per_draw=1), options)
    run.chunk = draws
    data = tuple(map(jnp.asarray, (x, y)))
    keys = jax.random.split(jax.random.key(1), CHAINS)
    by_hand = []
    for vectorised in (False, True) if sum(widths) < 3000 else (False,):
        function, state = scan_by_hand(params, data, 1000.0, 100.0, step, draws, vectorised)
        by_hand.append([function, function(state, keys)])
    run.advance(step)
    times = [[] for _ in by_hand]
    ours = []
    for _ in range(rounds):
        for index, pair in enumerate(by_hand):
            seconds, pair[1] = spent(lambda pair=pair: pair[0](pair[1], keys))
            times[index].append(seconds)
        ours.append(spent(lambda: run.advance(step))[0])
    best = min(times, key=min)
    scale = 1e6 / (draws * STEPS * CHAINS)
    folder.cleanup()
    return min(best) * scale, min(ours) * scale, min(ours) / min(best)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--rows", type=int, help="only this number of rows")
    asked = parser.parse_args()
    print("parameters     rows  from      scan us  local us  ratio")
    cases = [
        (count, widths, rows)
        for count, widths in SIZES.items()
        for rows in (1_000, 10_000, 60_000)
        if count < 1e6 or asked.large
    ]
    cases += [(count, widths, 1_000_000) for count, widths in SMALL_ROWS.items()]
    for count, widths, rows in cases:
        if asked.rows and rows != asked.rows:
            continue
        for source in ("memory", "memmap") if rows >= 60_000 else ("memory",):
            draws = 1 if count > 1e6 else 5 if count > 1e5 else 50
            rounds = 3 if asked.quick or count > 1e6 else 8
            hand, ours, ratio = one(widths, rows, draws, rounds, source)
            print(
                f"{count:>10}  {rows:>7}  {source:8} {hand:>8.0f}  {ours:>8.0f}  {ratio:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
