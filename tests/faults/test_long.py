"""Loops that go on for long, and runs of very many draws: memory that stays."""

import os
import subprocess
import sys

import pytest
from harness import attempt, environment

FLAT = "Memory stays flat over many runs with fresh objects"
MANY = "A run of 10^6 draws with keep='loss' takes memory for its losses only"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

RUNS = 300 if "SLTPROB_FAULTS" in os.environ else 100

BEGIN = """
import gc, resource, sys
import jax, numpyro
numpyro.enable_x64()
import numpyro.distributions as dist
import numpy as np
import sltprob
from sltprob.sampling import compilation

def megabytes():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6

def most():
    # Not ru_maxrss, which begins at what the process had that started this one.
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3
"""
FRESH = """
seen = []
for seed in range(MANY):
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=10.0)
    sampler = sltprob.samplers.get("mala")
    sltprob.diagnose(sltprob.sample(posterior, sampler, draws=50, warmup=50, chains=2, seed=seed))
    if seed in (MANY // 6, MANY - 1):
        seen.append(megabytes())
print(seen[1] - seen[0])
"""
PROGRAMS = """
compilation._MOST_PROGRAMS = 4  # as if hundreds had gone through
client = jax.devices()[0].client
seen = []
for turn in range(6):
    def model(x):
        w = numpyro.sample("w", dist.Normal(0.0, 1.0))
        with numpyro.plate("data", x.shape[0]):
            numpyro.sample("y", dist.Normal(w, 1.0), obs=x)
    posterior = sltprob.temper(model, {"x": np.linspace(-1, 1, 20)}, beta=10.0)
    sltprob.sample(posterior, "mala", draws=50, warmup=50, chains=2)
    del posterior, model
    jax.clear_caches()
    gc.collect()
    seen.append(len(client.live_executables()))
print(seen[-1] - seen[1])
"""
LONG = """
posterior = sltprob.temper(sltprob.models.get("regular[dimension=1]"), beta=10.0)
run = sltprob.sample(posterior, "mala", draws=1000, chains=4, keep="loss")
before = most()
run = sltprob.sample(posterior, "mala", draws=250_000, chains=4, keep="loss")
assert run["sample_stats"]["loss"].size == 10**6
print(most() - before)
"""


def number(code):
    """Run Python in a process of its own, and read the number that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(XLA_FLAGS="--xla_backend_optimization_level=0"),
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_a_loop_of_fresh_objects_takes_no_more_memory():
    with attempt(FLAT, f"{RUNS} runs, fresh models and samplers"):
        assert number(FRESH.replace("MANY", str(RUNS))) < 10  # MB


def test_programs_that_are_gone_are_forgotten():
    with attempt(FLAT, "6 programs, after jax.clear_caches()"):
        assert number(PROGRAMS) <= 0  # programs kept by XLA


def test_a_million_draws():
    with attempt(MANY, "4 chains of 250,000 draws"):
        assert number(LONG) < 1000  # MB; their scalars are 90, and judging makes copies
