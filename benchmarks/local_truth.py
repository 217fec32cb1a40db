"""Local λ̂ of deep linear networks against exact answers: sampler by size and localisation.

The center is the deepest true point, nβ = 1000. Rows are whitened and their noise is orthogonal to
them, so that the mean loss is ½‖W_L … W_1 - C‖² + a constant exactly; exact is block Gibbs. A run
is right if the exact value lies in the reported interval. Seconds are those of the processor.

    taskset -c 0 python benchmarks/local_truth.py [--sizes 432,10800] [--samplers sgld,...]
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import functools
import time

import jax.numpy as jnp
import numpy as np

import sltprob
from sltprob.models._gibbs import block_gibbs
from sltprob.models._gibbs_large import block_gibbs_large

#: Width, rank, rows; options of `sltprob.sample`; γ of all samplers, and of sgld alone.
SIZES = {
    432: (
        (12, 3, 4_000),
        {"batch_size": 512, "steps_per_draw": 20, "draws": 2_000, "warmup": 500},
        (10.0,),
        (1.0,),
    ),
    10_800: (
        (60, 10, 10_000),
        {"batch_size": 512, "steps_per_draw": 10, "draws": 1_000, "warmup": 500, "chains": 2},
        (30.0,),
        (1.0,),
    ),
    97_200: (
        (180, 20, 20_000),
        {"batch_size": 512, "steps_per_draw": 10, "draws": 250, "warmup": 250, "chains": 2},
        (100.0,),
        (1.0, 30.0),
    ),
    995_328: (
        (576, 64, 60_000),
        {"batch_size": 256, "steps_per_draw": 10, "draws": 100, "warmup": 100, "chains": 2},
        (),
        (300.0,),
    ),
}


def losses(params, batch):
    """Give half the squared error of every row."""
    x, y = batch
    for w in params:
        x = x @ w.T
    return 0.5 * jnp.sum((y - x) ** 2, axis=-1)


def problem(width, rank, rows):
    """Make parameters and data of a network with three layers of one width."""
    generator = np.random.default_rng(0)
    x = np.linalg.qr(generator.standard_normal((rows, width)))[0] * np.sqrt(rows)
    y = generator.standard_normal((rows, width))
    y -= x @ (x.T @ y) / rows
    y[:, :rank] += x[:, :rank]
    layer = jnp.diag(jnp.arange(width) < rank).astype(jnp.float32)
    return [layer] * 3, (x.astype(np.float32), y.astype(np.float32))


@functools.cache
def exact(width, rank, nbeta, gamma):
    """Give λ̂ by block Gibbs, and its standard error; W = V/sqrt(γ) has the prior that it takes."""
    center = np.diag((np.arange(width) < rank) * 1.0)
    sample = block_gibbs if width < 32 else block_gibbs_large
    found = sample(
        nbeta / gamma**3,
        center * gamma**1.5,
        prior_means=(center * gamma**0.5,) * 3,
        tolerance=0.002,
    )
    return found.lambda_hat, found.mcse


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--samplers", default="sgld,preconditioned_sgld,sghmc,sgnht")
    asked = parser.parse_args()
    print(
        "| parameters | γ | exact | sampler | λ̂ | interval | off by | width | seconds | verdict |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for size in map(int, asked.sizes.split(",")):
        (width, rank, rows), options, gammas, of_sgld = SIZES[size]
        params, data = problem(width, rank, rows)
        posterior = sltprob.local(losses, params, data, nbeta=1e3, gamma=1.0)
        cases = [("sgld", gamma) for gamma in of_sgld]
        cases += [(name, gamma) for gamma in gammas for name in asked.samplers.split(",")]
        for name, gamma in cases:
            truth, error = exact(width, rank, 1e3, gamma)
            begin = time.process_time()
            run = sltprob.sample(posterior.at(gamma=gamma), name, **options)
            seconds = time.process_time() - begin
            found, verdict = sltprob.estimate(run), sltprob.diagnose(run)
            failed = ", ".join(f"`{check.name}`" for check in verdict.failed[:3])
            right = "" if found.low < truth < found.high else " **not in it**"
            print(
                f"| {size:,} | {gamma:g} | {truth:.5g} ± {error:.1g} | {name} | {found.value:.5g} "
                f"| {found.low:.5g} to {found.high:.5g}{right} "
                f"| {100 * (found.value / truth - 1):.1f} % "
                f"| {100 * (found.high - found.low) / found.value:.1f} % | {seconds:.0f} "
                f"| {verdict.status}{': ' if failed else ''}{failed} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
