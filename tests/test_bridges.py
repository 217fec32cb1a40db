"""From other tools to a verdict: the runs of devinterp, PyMC's own file, the weights of PyTorch.

The files in tests/foreign were written by those tools: `devinterp2.zip` by devinterp 2.0.1's
`sample(..., output_path=...)` on a linear regression with three coefficients, `pymc.nc` by
`pymc.sample(...)` of PyMC 6.4.0 with `compute_log_likelihood`, and `torch.safetensors` by
`safetensors.torch.save_file(module.state_dict(), ...)` of PyTorch 2.13.0.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import sltprob
from sltprob.cli import main

FILES = Path(__file__).parent / "foreign"


@pytest.fixture
def store(tmp_path):
    """Unpack a run of devinterp 2."""
    folder = tmp_path / "samples.zarr"
    shutil.unpack_archive(FILES / "devinterp2.zip", folder)
    return folder


def command(*words):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return stopped.value.code


def test_a_run_of_devinterp_2_is_judged_from_its_own_store(store, tmp_path, capsys):
    assert command("diagnose", store, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in found["checks"]}
    # It recorded nothing by which its step could be judged, and no trace shows the bias of that.
    assert found["verdict"] != "trusted"
    assert not checks["step_bias"]["passed"]
    assert "virial" not in checks
    page = tmp_path / "page.html"
    assert command("report", store, "--out", page) == 0
    assert "devinterp 2" in page.read_text()


def test_lambda_hat_of_that_store_is_that_of_devinterp_without_the_burn_in(store):
    run = sltprob.from_devinterp(store)
    with xr.open_datatree(store, engine="zarr", consolidated=False) as tree:
        losses = tree["sampling_loss_micro"].values.astype(float).mean((2, 3))
        start = float(tree["init_loss"].values.mean())
        options = tree.attrs["metadata"]["config"]["sampler"]
        burned, nbeta = options["num_burnin_steps"], options["n_beta"]
        assert str(sltprob.from_devinterp(tree).attrs["sampler"]) == "devinterp 2 sgmcmc_sgld"
    value = nbeta * (losses[:, burned:].mean() - start)
    np.testing.assert_allclose(sltprob.estimate(run).value, value, rtol=1e-12)
    # All rows are in its initial loss, which then has no error of its own.
    assert run.attrs["minimum_loss_error"] == 0.0
    with pytest.raises(ValueError, match="leave nbeta out"):
        sltprob.from_devinterp(store, nbeta=2 * nbeta)


def test_a_dict_of_devinterp_1_is_judged_with_the_noise_of_its_initial_loss():
    rng = np.random.default_rng(0)
    trace = 1.5 + 0.02 * rng.normal(size=(4, 2000))
    result = {"loss/trace": trace.astype(np.float32), "llc/mean": 50.0, "llc/std": 1.0}
    run = sltprob.from_devinterp(result, nbeta=1000.0)
    np.testing.assert_allclose(sltprob.estimate(run).value, 50.0, rtol=1e-9)
    # Four minibatches, each with a standard deviation of 0.02: 1000 x 0.02 / 2 = 10.
    failed = {check.name: check.value for check in sltprob.diagnose(run).failed}
    np.testing.assert_allclose(failed["minimum_loss"], 10.0, rtol=0.05)
    online = {"loss/trace": trace, "init_loss": np.float32(1.45), "llc/means": None}
    np.testing.assert_allclose(
        sltprob.estimate(sltprob.from_devinterp(online, nbeta=1000.0)).value, 50.0, atol=1.0
    )


def test_what_is_no_run_of_devinterp_is_refused(tmp_path, store):
    with pytest.raises(ValueError, match="does not keep it"):
        sltprob.from_devinterp({"loss/trace": np.ones((2, 3)), "llc/mean": 1.0})
    with pytest.raises(ValueError, match="estimate_learning_coeff_with_summary"):
        sltprob.from_devinterp({"loss": 1.0}, nbeta=10.0)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        sltprob.from_devinterp(tmp_path / "no.zarr")
    with pytest.raises(ValueError, match="no Zarr store"):
        sltprob.from_devinterp(tmp_path)
    with pytest.raises(ValueError, match="no run of devinterp 2"):
        sltprob.from_devinterp(xr.DataTree())
    header = store / "zarr.json"
    header.write_text(header.read_text().replace('"completed": 1', '"completed": 0'))
    with pytest.raises(ValueError, match="did not end"):
        sltprob.from_devinterp(store)


def test_the_file_that_pymc_writes_is_judged_and_has_a_page(tmp_path, capsys):
    assert command("diagnose", FILES / "pymc.nc", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["level"]) == ("trusted", "traces alone")
    names = {check["name"] for check in found["checks"]}
    assert {"rhat", "divergences", "bfmi", "acceptance"} <= names
    page = tmp_path / "page.html"
    assert command("report", FILES / "pymc.nc", "--out", page) == 0
    assert "pymc" in page.read_text().lower()


def test_a_state_dict_of_pytorch_is_a_pytree_and_gives_the_same_outputs():
    """Linear(3, 4), Tanh, Linear(4, 2): names and shapes as PyTorch has them."""
    params = sltprob.load_weights(FILES / "torch.safetensors")
    assert params["0"]["weight"].shape == (4, 3)
    with np.load(FILES / "torch.npz") as stored:
        x, y = stored["x"], stored["y"]

    def outputs(params, x):
        hidden = jnp.tanh(x @ params["0"]["weight"].T + params["0"]["bias"][None, :])
        return hidden @ params["2"]["weight"].T + params["2"]["bias"][None, :]

    np.testing.assert_allclose(outputs(params, x), y, rtol=1e-5, atol=1e-6)

    def losses(params, batch):
        return 0.5 * jnp.sum((outputs(params, batch[0]) - batch[1]) ** 2, axis=-1)

    posterior = sltprob.local(losses, params, (x, y), nbeta=10.0, gamma=1.0)
    assert posterior.dimension == sum(leaf.size for leaf in jax.tree.leaves(params)) == 26
