"""Compiled code is kept from one command to the next, where the user says."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import sltprob
from sltprob.cli._compilation import compilation_cache_folder, keep_compiled_code
from sltprob.sampling import compilation


def test_the_folder_is_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation_cache_folder().is_relative_to(tmp_path / "sltprob")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compilation_cache_folder().is_relative_to(tmp_path / ".cache" / "sltprob")


@pytest.mark.parametrize("value", ["", "elsewhere"])
def test_the_variable_of_jax_comes_first(value, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", value)
    before = jax.config.jax_compilation_cache_dir
    keep_compiled_code()
    assert jax.config.jax_compilation_cache_dir == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_second_command_hardly_compiles_and_draws_the_same(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)

    def run():
        command = [*("run", "tanh_zero[width=4]", "--beta", "10"), "--draws", "100", "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "sltprob", *command],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        return json.loads(done.stdout)

    first, second = run(), run()
    assert list((tmp_path / "sltprob").rglob("*-cache"))
    assert second["lambda_hat"] == first["lambda_hat"]
    assert second["seconds_compile"] < 0.7 * first["seconds_compile"]


@pytest.fixture
def compilations():
    """Count what XLA compiles."""
    counted = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            counted.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield counted
    jax.monitoring.unregister_event_duration_listener(listen)


SHORT = {"draws": 20, "warmup": 20, "chains": 2}


@pytest.mark.turns
def test_equal_models_compile_once(compilations):
    """Another object of the same model, another beta, data set, seed: nothing compiles again."""
    counts = []
    for number, beta in enumerate((10.0, 30.0, 90.0)):
        model = sltprob.models.get(f"regular[dimension=3,n=20,seed={number}]")
        sltprob.sample(sltprob.temper(model, beta=beta), "mala", seed=number, **SHORT)
        counts.append(len(compilations))
    assert counts[0] > 0
    assert counts[2] == counts[1]


@pytest.mark.turns
def test_equal_losses_compile_once(compilations):
    rows = np.random.default_rng(0).normal(size=(2, 30, 3))

    def loss(params, batch):
        return jnp.sum((batch - params["w"][None]) ** 2, axis=1)

    counts = []
    for number in range(3):
        model = sltprob.from_loss(loss, {"w": jnp.full(3, 0.1 * number)}, rows[number % 2])
        sltprob.sample(sltprob.temper(model, beta=10.0 + number), "mala", seed=number, **SHORT)
        counts.append(len(compilations))
    assert counts[2] == counts[1]


@pytest.mark.parametrize("verb", ["compare", "bench"])
def test_a_verb_compiles_once_for_all_betas_and_seeds(verb, compilations):
    def run(betas, seed):
        model = sltprob.models.get("even_powers")
        if verb == "compare":
            sltprob.compare(model, ["mala"], betas, seed=seed, **SHORT)
        else:
            sltprob.bench([model], ["mala"], betas, seeds=[seed], **SHORT)

    run([10.0], 0)
    first = len(compilations)
    run([20.0, 40.0], 1)
    # The exact values of other betas are computed anew, in NumPy.
    assert len(compilations) == first


@pytest.mark.turns
def test_scouts_that_are_compiled_at_once_see_the_same(monkeypatch):
    """With many cores they are compiled beside the draws, and put off where nobody asks."""
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=10.0)
    runs = []
    for cores, draws in ((4, 200), (1, 1500), (4, 1500)):
        monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
        runs.append(sltprob.sample(posterior, "mala", draws=draws, warmup=200, chains=2, seed=0))
    refused, late, early = runs
    assert "scouts" not in refused
    assert "scouts" in late
    xr.testing.assert_equal(late["scouts"].to_dataset(), early["scouts"].to_dataset())
    xr.testing.assert_equal(late["sample_stats"].to_dataset(), early["sample_stats"].to_dataset())


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["hmc", "tempered_smc[num_rungs=8]", "sgld"])
def test_a_run_with_scouts_compiles_once(sampler, compilations):
    """Scouts of a ladder change kernels; as many rungs as it needs would be another shape."""
    counts = []
    for number in range(3):
        model = sltprob.models.get(f"regular[dimension=2,n=20,seed={number}]")
        posterior = sltprob.temper(model, beta=10.0 * (number + 1))
        run = sltprob.sample(posterior, sampler, draws=1500, seed=number)
        if number < 2:
            assert "scouts" in run
        # What makes the draws of scouts is compiled even where none has anywhere to go.
        for program in list(compilation.programs.values()):
            program.ready(compilation.Clock())
        counts.append(len(compilations))
    assert counts[2] == counts[1]
