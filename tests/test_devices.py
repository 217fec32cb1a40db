"""Many chains, several devices, long runs: do draws and memory stay what they are?"""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sltprob
from sltprob.samplers import base
from sltprob.sampling import devices

SAMPLER = "random_walk[steps_per_draw=2]"


def run_python(program: str) -> list[dict]:
    """Run a program in a process of its own; every line that it prints is a JSON document."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_ENABLE_X64": "true"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


TWO_DEVICES = f"""
import json
import jax

jax.config.update("jax_num_cpu_devices", 2)
import sltprob

posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=10.0)


def draw():
    run = sltprob.sample(posterior, "{SAMPLER}", draws=60, warmup=20, chains=5)
    losses = run["sample_stats"]["loss"].values.tolist()
    print(json.dumps({{"devices": run.attrs["devices"], "losses": losses}}))


draw()
with jax.default_device(jax.devices()[1]):
    draw()
"""


@pytest.mark.slow
def test_the_same_seed_gives_the_same_draws_on_all_devices():
    """Two forced devices, one that the caller has chosen, and the one of this process."""
    both, chosen = run_python(TWO_DEVICES)
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=10.0)
    here = sltprob.sample(posterior, SAMPLER, draws=60, warmup=20, chains=5)
    assert (both["devices"], chosen["devices"], here.attrs["devices"]) == (2, 1, 1)
    np.testing.assert_array_equal(both["losses"], chosen["losses"])
    np.testing.assert_array_equal(both["losses"], here["sample_stats"]["loss"].values)


@pytest.mark.slow
def test_a_thousand_chains_are_one_run():
    """Their mean is exact λ̂ within five standard errors; false-alarm rate 6e-7."""
    model = sltprob.models.get("regular[dimension=2]")
    posterior = sltprob.temper(model, beta=10.0)
    run = sltprob.sample(
        posterior, "mala[steps_per_draw=2]", draws=30, warmup=60, chains=1024, keep="loss"
    )
    assert run["sample_stats"]["loss"].shape == (1024, 30)
    # The chains are independent: their means have a standard error of their own.
    means = 10.0 * run["sample_stats"]["loss"].values.mean(axis=1)
    error = means.std(ddof=1) / np.sqrt(1024)
    assert abs(means.mean() - model.exact(10.0).lambda_hat) < 5 * error


@pytest.mark.turns
@pytest.mark.parametrize("name", ["nuts[max_tree_depth=4]", "elliptical_slice"])
def test_an_accelerator_draws_all_chains_in_one_call(name, monkeypatch):
    """Forced here: as many groups as devices, no loop over chains, and the same draws."""
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=10.0)
    options = {"draws": 20, "warmup": 40, "chains": 5, "keep": "loss"}
    here = sltprob.sample(posterior, name, **options)
    for module in (base, devices):
        monkeypatch.setattr(module, "on_accelerator", lambda: True)
    assert devices.chain_groups(512, 1) == [slice(0, 512)]
    assert devices.chain_groups(5, 2) == [slice(0, 2), slice(2, 5)]
    sampler = sltprob.samplers.get(name)
    chains = jnp.arange(512.0)
    assert "scan" not in str(jax.make_jaxpr(lambda x: sampler.over_chains(jnp.sin, x))(chains))
    there = sltprob.sample(posterior, name, **options)
    ours, theirs = (run["sample_stats"]["loss"].values for run in (here, there))
    np.testing.assert_allclose(theirs, ours, rtol=1e-9)


MEMORY = """
import json
import resource
import sltprob

posterior = sltprob.temper(sltprob.models.get("tanh_zero"), beta=100.0)
for draws in (1_000, 20_000):
    run = sltprob.sample(
        posterior, "mala[steps_per_draw=1]", draws=draws, warmup=20, keep="loss"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak": peak, "kept": run.nbytes}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is another elsewhere")
def test_memory_grows_by_scalars_only():
    """With keep="loss", 19,000 more draws of 256 coordinates cost their scalars, some times over.

    The coordinates alone would be 256 numbers of a draw, 156 MB; the scalars are 16, 9 MB.
    """
    short, long = run_python(MEMORY)
    grown = (long["peak"] - short["peak"]) * 1024
    assert long["kept"] - short["kept"] < 20 * 8 * 4 * 19_000
    assert grown < 8 * (long["kept"] - short["kept"])
