"""How much memory a local run takes, in units of its parameters.

Each size runs in a process of its own; its peak is counted from that of a tiny network, so that
what JAX and the compiler take drops out. What there is: the user's own parameters, the center, the
chains, and two arrays of parameters in a step; and one batch. glibc keeps freed blocks of less
than 32 MiB for itself unless told otherwise, which here it is.

    python benchmarks/local_memory.py [--chains 2] [--samplers sgld,sghmc]
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys

WIDTHS = {"1e6": 668, "1e7": 2790}


def losses(params, batch):
    """Give the cross entropy of every row."""
    import jax
    import jax.numpy as jnp

    x, y = batch
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    x = x @ params[-1]["w"] + params[-1]["b"]
    return jax.nn.logsumexp(x, axis=-1) - jnp.take_along_axis(x, y[:, None], axis=-1)[:, 0]


def one(width, chains, sampler):
    """Run once, and print the number of parameters and the peak in bytes."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import sltprob

    widths = (784, width, width, 10)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((1000, 784), dtype=np.float32)
    y = generator.integers(0, 10, 1000).astype(np.int32)
    params = []
    for a, b in itertools.pairwise(widths):
        weights = generator.standard_normal((a, b), dtype=np.float32) * np.float32(np.sqrt(2 / a))
        params.append({"w": jnp.array(weights), "b": jnp.zeros(b, jnp.float32)})
        del weights
    posterior = sltprob.local(losses, params, (x, y), nbeta=1000.0, gamma=100.0)
    options = {"draws": 2, "warmup": 20, "steps_per_draw": 2, "step_size": 1e-9}
    sltprob.sample(posterior, sampler, chains=chains, half_step=False, **options)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([count, peak]))


def measured(width, chains, sampler):
    """Run in a process of its own."""
    command = [sys.executable, __file__, "--one", str(width), str(chains), sampler]
    # Blocks that are freed go back to the system.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def main():
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--samplers", default="sgld,preconditioned_sgld,sghmc,sgnht")
    parser.add_argument("--one", nargs=3)
    asked = parser.parse_args()
    if asked.one:
        one(int(asked.one[0]), int(asked.one[1]), asked.one[2])
        return
    print("parameters  sampler               peak, MiB  beyond a tiny network, in parameters")
    for sampler in asked.samplers.split(","):
        _, least = measured(16, asked.chains, sampler)
        for width in WIDTHS.values():
            count, peak = measured(width, asked.chains, sampler)
            times = (peak - least) / (4 * count)
            print(f"{count:>10}  {sampler:20}  {peak / 2**20:>9.0f}  {times:.1f}", flush=True)


if __name__ == "__main__":
    main()
