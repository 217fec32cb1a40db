"""Our default sampler against NumPyro's NUTS at its defaults: effective draws for each second.

The tanh network with 128 units at beta = 1e4, four chains, both in this process. NumPyro runs the
same density, with the same loss on the same nodes, as a program that its user would write, and as
its documentation runs it: 1,000 draws of warm-up and 1,000 that are kept, all other options left
out, so that chains run one after the other (there is one device). It saturates at 1,023 steps a
draw. Ours is `hmc` in all coordinates, and in those of ``reparameterise="readout"``: the same
density, of which only the sampler sees other coordinates.

All of it counts: tempering, tracing and compilation, warm-up, sampling; every line is a run of its
own, for which everything is compiled again. What NumPyro would reach if its compilation and warm-up
were free is printed too. All are timed by the clock and by the seconds of
the processor, which hold on a busy machine too. ``python benchmarks/nuts.py 300`` keeps fewer draws
of NUTS. Seven minutes.
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
from sltprob.sampling.compilation import programs  # noqa: E402

BETA, CHAINS = 1e4, 4
NUTS_WARMUP = 1000
NUTS_DRAWS = int(sys.argv[1]) if sys.argv[1:] else 1000
OUR_WARMUP = 500
OUR_RUNS = [
    (None, 1000),
    (None, 4000),
    (None, 16000),
    ("readout", 1000),
    ("readout", 4000),
    ("readout", 16000),
]


def processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def effective(loss: np.ndarray) -> float:
    return float(array_stats.ess(loss, chain_axis=0, draw_axis=1, method="bulk"))


def line(name: str, ess: float, value: float, wall: float, processor: float) -> None:
    print(
        f"{name:34s} λ̂ {value:6.3f}  ESS {ess:6.0f}  {wall:7.1f} s by the clock  "
        f"{processor:7.1f} s of processor  ESS/s {ess / wall:8.2f}  {ess / processor:8.2f}",
        flush=True,
    )


def ours(reparameterise: str | None, draws: int) -> tuple[str, float, float, float]:
    """Run once; give name, effective draws, and seconds of both clocks."""
    # Nothing is left of an earlier line: this one pays for all that it compiles.
    jax.clear_caches()
    programs.clear()
    start, used = time.perf_counter(), processor_seconds()
    model = sltprob.models.get("tanh_zero")
    posterior = sltprob.temper(model, beta=BETA, reparameterise=reparameterise)
    run = sltprob.sample(
        posterior, "hmc", draws=draws, warmup=OUR_WARMUP, chains=CHAINS, keep="loss"
    )
    wall, processor = time.perf_counter() - start, processor_seconds() - used
    loss = run["sample_stats"]["loss"].values
    ess = effective(loss)
    name = f"sltprob hmc{', readout map' if reparameterise else ''}, {draws} draws"
    line(name, ess, BETA * (loss.mean() - float(posterior.minimum_loss)), wall, processor)
    gradients = float(run["sample_stats"]["num_gradients"].sum())
    print(
        f"  {1000 * ess / gradients:.1f} effective draws for 1000 gradients; compilation "
        f"{run.attrs['seconds_compile']:.1f} s, warm-up {run.attrs['seconds_warmup']:.1f} s, "
        f"sampling {run.attrs['seconds_sampling']:.1f} s"
    )
    return name, ess, wall, processor


def main() -> None:
    model = sltprob.models.get("tanh_zero")
    posterior = sltprob.temper(model, beta=BETA)
    print(f"tanh_zero, beta = {BETA:g}, exact {model.exact(BETA).lambda_hat:.4f}, {CHAINS} chains")
    lines = [ours(*run) for run in OUR_RUNS]
    jax.clear_caches()

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
            num_warmup=NUTS_WARMUP,
            num_samples=NUTS_DRAWS,
            num_chains=CHAINS,
            progress_bar=False,
        )
    chain.run(jax.random.key(0), extra_fields=("num_steps",))
    loss = np.asarray(chain.get_samples(group_by_chain=True)["loss"])
    wall, processor = time.perf_counter() - start, processor_seconds() - used
    value = BETA * (loss.mean() - float(posterior.minimum_loss))
    ess = effective(loss)
    line(f"NumPyro NUTS, {NUTS_WARMUP} + {NUTS_DRAWS} draws", ess, value, wall, processor)
    steps = chain.get_extra_fields()["num_steps"]
    share = NUTS_DRAWS / (NUTS_WARMUP + NUTS_DRAWS)
    print(
        f"  steps of a draw: median {np.median(steps):.0f}; without its warm-up and compilation "
        f"at most {ess / (share * wall):.1f} ESS/s by the clock"
    )
    for name, own, own_wall, own_processor in lines:
        print(
            f"ratio of {name}: {own / own_wall / (ess / wall):.1f} by the clock, "
            f"{own / own_processor / (ess / processor):.1f} by processor"
            f"{'' if own < ess else '  (ESS of NUTS is reached)'}"
        )


if __name__ == "__main__":
    main()
