"""Our default sampler against NumPyro's NUTS at its defaults: effective draws for each second.

The tanh network with 128 units at beta = 1e4, four chains, both in this process. NumPyro runs the
same loss, on the same nodes, as a program that its user would write. All of it counts: tracing and
compilation, warm-up, sampling. NUTS saturates at 1,023 steps a draw, so that it makes few draws
here (``python benchmarks/nuts.py 500`` for more). Both are timed by the clock and by the seconds of
the processor, which hold on a busy machine too. Minutes.
"""

import resource
import sys
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from arviz_stats.base import array_stats
from numpyro.infer import MCMC, NUTS

numpyro.enable_x64()
# The cost of compilation is counted, so nothing comes from an earlier process.
jax.config.update("jax_enable_compilation_cache", False)

import sltprob  # noqa: E402

BETA, CHAINS, WARMUP = 1e4, 4, 500
NUTS_DRAWS = int(sys.argv[1]) if sys.argv[1:] else 300
OUR_DRAWS = (500, 2000, 4000)


def processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def effective(loss: np.ndarray) -> float:
    return float(array_stats.ess(loss, chain_axis=0, draw_axis=1, method="bulk"))


def line(name: str, ess: float, value: float, wall: float, processor: float) -> None:
    print(
        f"{name:28s} λ̂ {value:6.3f}  ESS {ess:6.0f}  {wall:7.1f} s by the clock  "
        f"{processor:7.1f} s of processor  ESS/s {ess / wall:8.3f}  {ess / processor:8.3f}",
        flush=True,
    )


def main() -> None:
    model = sltprob.models.get("tanh_zero")
    posterior = sltprob.temper(model, beta=BETA)
    print(f"tanh_zero, beta = {BETA:g}, exact {model.exact(BETA).lambda_hat:.4f}, {CHAINS} chains")
    ours = []
    compiling = compiling_processor = 0.0
    for draws in OUR_DRAWS:
        start, used = time.perf_counter(), processor_seconds()
        run = sltprob.sample(
            posterior, "hmc", draws=draws, warmup=WARMUP, chains=CHAINS, keep="loss"
        )
        wall, processor = time.perf_counter() - start, processor_seconds() - used
        if not ours:
            # The next runs share what this one compiled, and are charged for it.
            compiling = run.attrs["seconds_compile"]
            share = compiling / wall
            compiling_processor = share * processor
        else:
            wall, processor = wall + compiling, processor + compiling_processor
        loss = run["sample_stats"]["loss"].values
        ours.append((draws, effective(loss), wall, processor))
        value = BETA * (loss.mean() - float(posterior.minimum_loss))
        line(f"sltprob hmc, {draws} draws", effective(loss), value, wall, processor)
        gradients = float(run["sample_stats"]["num_gradients"].sum())
        print(
            f"  {1000 * effective(loss) / gradients:.1f} effective draws for 1000 gradients; "
            f"compilation {run.attrs['seconds_compile']:.1f} s, warm-up "
            f"{run.attrs['seconds_warmup']:.1f} s, sampling {run.attrs['seconds_sampling']:.1f} s"
        )

    nodes = jnp.asarray(posterior.arguments["x"])
    weights = jnp.asarray(posterior.weights)

    def program() -> None:
        w = numpyro.sample("w", dist.Uniform(-1.0, 1.0).expand([model.width]).to_event(1))
        a = numpyro.sample("a", dist.Normal(0.0, 1.0).expand([model.width]).to_event(1))
        outputs = a @ jnp.tanh(w[:, None] * nodes[None, :])
        loss = numpyro.deterministic("loss", weights @ outputs**2)
        numpyro.factor("tempered", -BETA * loss)

    start, used = time.perf_counter(), processor_seconds()
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # one device: in turn
        chain = MCMC(
            NUTS(program),
            num_warmup=WARMUP,
            num_samples=NUTS_DRAWS,
            num_chains=CHAINS,
            progress_bar=False,
        )
    chain.run(jax.random.key(0), extra_fields=("num_steps",))
    loss = np.asarray(chain.get_samples(group_by_chain=True)["loss"])
    wall, processor = time.perf_counter() - start, processor_seconds() - used
    value = BETA * (loss.mean() - float(posterior.minimum_loss))
    ess = effective(loss)
    line(f"NumPyro NUTS, {NUTS_DRAWS} draws", ess, value, wall, processor)
    steps = chain.get_extra_fields()["num_steps"]
    print(f"  steps of a draw: median {np.median(steps):.0f}")
    for draws, own, own_wall, own_processor in ours:
        print(
            f"ratio at {draws} draws: {own / own_wall / (ess / wall):.1f} by the clock, "
            f"{own / own_processor / (ess / processor):.1f} by processor"
            f"{'' if own < ess else '  (ESS of NUTS is reached)'}"
        )


if __name__ == "__main__":
    main()
