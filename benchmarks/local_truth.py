"""Local λ̂ of deep linear networks against exact answers: sampler by size.

The center is the deepest true point, nβ = 1000, γ = 1. Rows are whitened and their noise is
orthogonal to them, so that the mean loss is ½‖W_L … W_1 - C‖² + a constant exactly; exact is block
Gibbs (`sltprob.models.get("deep_linear[...]").exact`). A run is right if the exact value lies in
the reported interval. The step may bias λ̂ by a fifth, so that chains arrive soon; the run at half
the step takes that out.

    python benchmarks/local_truth.py [--sizes 432,10800,97200] [--samplers sgld,...]
"""

import argparse
import time

import jax.numpy as jnp
import numpy as np

import sltprob

#: Width, rank, rows, batch, steps a draw, draws, warm-up, chains.
SIZES = {
    432: (12, 3, 4_000, 512, 20, 2_000, 500, 4),
    10_800: (60, 10, 10_000, 512, 20, 600, 400, 2),
    97_200: (180, 20, 20_000, 512, 10, 300, 300, 2),
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


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--samplers", default="sgld,preconditioned_sgld,sghmc,sgnht")
    asked = parser.parse_args()
    print("parameters  sampler              exact    λ̂        interval            raw     ρ     "
          "right  seconds  verdict")  # fmt: skip
    for size in map(int, asked.sizes.split(",")):
        width, rank, rows, batch, steps, draws, warmup, chains = SIZES[size]
        model = f"deep_linear[widths={':'.join([str(width)] * 4)},rank={rank},prior_center=optimum]"
        exact = sltprob.models.get(model).exact(1e3, tolerance=0.002).lambda_hat
        params, data = problem(width, rank, rows)
        posterior = sltprob.local(losses, params, data, nbeta=1e3, gamma=1.0)
        for name in asked.samplers.split(","):
            begin = time.perf_counter()
            run = sltprob.sample(
                posterior,
                name,
                batch_size=batch,
                steps_per_draw=steps,
                draws=draws,
                warmup=warmup,
                chains=chains,
                target_rho=0.2,
                half_step=True,
            )
            seconds = time.perf_counter() - begin
            found, verdict = sltprob.estimate(run), sltprob.diagnose(run)
            rho = next(c.value for c in verdict.checks if c.name == "local_step_bias")
            raw = np.mean(found.per_chain)
            print(
                f"{size:>10}  {name:20} {exact:<8.5g} {found.value:<8.5g} "
                f"[{found.low:.5g}, {found.high:.5g}]".ljust(72)
                + f"{raw:<8.5g} {rho:.2f}  {found.low < exact < found.high!s:5}  {seconds:>6.0f}  "
                f"{verdict.status} {','.join(c.name for c in verdict.failed)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
