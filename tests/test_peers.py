"""What the page of peers rests on, held by counts that no busy machine changes.

Seconds are measured by `make peers` alone. Here: how many gradients, compilations, fused loops and
bytes the same work takes, that every job has a reference, and that the page is that of the results.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import sltprob

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"


@pytest.fixture
def peers(monkeypatch):
    """Import a script of benchmarks/peers."""
    monkeypatch.syspath_prepend(str(PEERS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(PEERS)):
            del sys.modules[name]


def test_every_job_has_a_name_of_its_own_and_a_reference(peers):
    work, problems = peers("work"), peers("problems")
    jobs = work.jobs()
    assert len({job["name"] for job in jobs}) == len(jobs)
    for name in {job["problem"] for job in jobs}:
        problem = problems.get(name)
        assert problem.reference["mcse"] < 0.01 * problem.reference["lambda_hat"]
    with pytest.raises(ValueError, match="no such setting"):
        work.job("sltprob", "hmc", "gaussian", drws=3)


def test_the_page_is_made_from_the_results(peers, tmp_path):
    page = peers("page")
    results = json.loads((PEERS / "results.json").read_text())
    text = page.write(results)
    assert text == (PEERS.parents[1] / "docs" / "peers.md").read_text()
    assert {job["name"] for job in results["jobs"]} == {job["name"] for job in peers("work").jobs()}


def test_silence_and_speech_are_told_apart(peers):
    """The column that says whether a wrong run says so, on records that are known."""
    says = peers("measures").says
    silent = {"peer": "blackjax", "lambda_hat": 1.0, "heard": [], "shown": [], "ess": 5000.0}
    assert says(silent | {"rhat": 1.0}) == "no"
    assert says(silent | {"rhat": 1.3}) == "if one asks for R-hat and ESS"
    assert says(silent | {"ess": 20.0}) == "if one asks for R-hat and ESS"
    shown = {"peer": "numpyro", "shown": ["R-hat of every parameter"], "rhat_of_parameters": 1.2}
    assert says(silent | shown) == "in what it shows"
    assert says(silent | {"peer": "pymc", "heard": ["The rhat statistic is …"]}) == "by itself"
    assert says(silent | {"peer": "sltprob", "verdict": "doubtful"}) == "by itself"
    assert says(silent | {"peer": "sltprob", "verdict": "trusted"}) == "no"


def test_a_gradient_of_the_flagship_is_few_loops_and_little_memory():
    posterior = sltprob.temper(sltprob.models.get("tanh_zero"), beta=1e4)
    position = posterior.draw_prior(jax.random.key(0))
    gradient = jax.jit(jax.value_and_grad(posterior.logdensity)).lower(position).compile()
    loops = re.findall(r"^\s+(?:ROOT )?%\S+ = .* fusion\(", gradient.as_text(), re.MULTILINE)
    assert len(loops) <= 20
    # tanh at every weight and node, kept once for the way back.
    table = 128 * len(posterior.weights) * 8
    assert gradient.memory_analysis().temp_size_in_bytes <= 2.5 * table


@pytest.mark.slow
def test_a_run_takes_the_gradients_that_it_says_and_compiles_a_known_number_of_times():
    counted = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            counted.append(duration)

    posterior = sltprob.temper(sltprob.models.get("tanh_zero[width=8]"), beta=100.0)
    options = {"draws": 50, "warmup": 50, "chains": 2, "keep": "loss"}
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        run = sltprob.sample(posterior, "hmc[num_steps=10]", **options)
        first = len(counted)
        sltprob.sample(posterior.at(beta=10.0), "hmc[num_steps=10]", seed=1, **options)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    gradients = np.asarray(run["sample_stats"]["num_gradients"])
    np.testing.assert_array_equal(gradients, 10)
    assert first <= 14
    assert len(counted) == first, "another temperature and seed compile nothing again"
    assert run.nbytes <= 20_000
