"""Compiled code is kept from one command to the next, where the user says."""

import json
import os
import subprocess
import sys

import jax
import pytest

from sltprob.cli._compilation import compilation_cache_folder, keep_compiled_code


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
