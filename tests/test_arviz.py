"""ArviZ both ways: our runs in ArviZ, and runs of other programs judged by us."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

import sltprob
from sltprob.cli import main
from sltprob.foreign import from_arviz


@pytest.fixture(scope="module")
def ours() -> xr.DataTree:
    posterior = sltprob.temper(sltprob.models.get("tanh_zero[width=2]"), beta=10.0)
    return sltprob.sample(posterior, "hmc[num_steps=8]", draws=100, warmup=50, chains=2)


Y = np.random.default_rng(0).normal(1.0, 1.0, size=50)


def normal(y):
    """One mean of known width: the least loss and λ̂ of the posterior have a formula."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 10.0))
    numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a netCDF file of NumPyro's own NUTS, by ArviZ's converter.

    One right run in a hundred is not trusted; of 400 such runs, 2 failed the check `drift`.
    """
    kernel = numpyro.infer.NUTS(normal)
    mcmc = numpyro.infer.MCMC(
        kernel,
        num_warmup=200,
        num_samples=1000,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )
    with warnings.catch_warnings(action="ignore"), jax.numpy_rank_promotion("allow"):
        extra = ("energy", "diverging", "accept_prob", "num_steps")
        mcmc.run(jax.random.key(0), jnp.asarray(Y), extra_fields=extra)
        tree = az.from_numpyro(mcmc, log_likelihood=True)
    path = tmp_path_factory.mktemp("numpyro") / "mine.nc"
    tree.to_netcdf(path, engine="h5netcdf")
    return path


def least_loss() -> float:
    return float(np.mean(0.5 * (Y - Y.mean()) ** 2 + 0.5 * np.log(2 * np.pi)))


# ---- our runs in ArviZ


@pytest.mark.parametrize("saved", [False, True])
def test_arviz_reads_our_runs(ours, saved, tmp_path):
    if saved:
        sltprob.save(ours, tmp_path / "run.nc")
        ours = az.from_netcdf(tmp_path / "run.nc")
    with warnings.catch_warnings(action="ignore"):
        table = az.summary(ours)
        assert {"w", "a"} <= {str(name).partition("[")[0] for name in table.index}
        assert "ess_bulk" in table
        assert float(az.ess(ours, group="sample_stats", var_names=["loss"])["loss"]) > 1
        for plot in (az.plot_trace, az.plot_rank, az.plot_energy):
            assert plot(ours, backend="none") is not None


# ---- runs of other programs judged by us


@pytest.mark.turns
def test_run_of_numpyro_has_the_right_lambda_hat(theirs):
    run = from_arviz(az.from_netcdf(theirs), minimum_loss=least_loss())
    assert run.attrs["beta"] == 50
    assert run.attrs["sampler"] == "numpyro"
    result = sltprob.estimate(run)
    # Of a normal mean with prior N(0, 100): the posterior is N(m, s²), and βL = n (μ - ȳ)²/2.
    variance = 1 / (50 + 0.01)
    mean = 50 * Y.mean() * variance
    exact = 50 * (variance + (mean - Y.mean()) ** 2) / 2
    assert abs(result.value - exact) < 5 * result.mcse
    verdict = sltprob.diagnose(run)
    names = {check.name for check in verdict.checks}
    assert verdict.trusted, str(verdict)
    assert {"rhat", "divergences", "bfmi", "acceptance"} <= names
    assert not any(name.startswith(("virial", "step_bias")) for name in names)


def test_verdict_on_a_foreign_run_sees_what_is_wrong(theirs):
    tree = az.from_netcdf(theirs)
    tree["log_likelihood"]["y"][1] -= 3.0
    verdict = sltprob.diagnose(from_arviz(tree))
    assert not verdict.trusted
    assert "rhat" in {check.name for check in verdict.failed}
    tree["log_likelihood"]["y"][0, 7, 3] = np.nan
    assert "finite" in {check.name for check in sltprob.diagnose(from_arviz(tree)).failed}


def test_command_line_judges_and_reports_a_foreign_file(theirs, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["diagnose", str(theirs)])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "L* is not known" in printed
    assert "checks that need gradients do not apply" in " ".join(printed.split())
    code = (
        "import sys\n"
        "for name in ('jax', 'numpyro', 'blackjax'): sys.modules[name] = None\n"
        "from sltprob.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    words = ["--minimum-loss", str(least_loss()), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, "report", theirs, "--out", tmp_path / "r.html", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    assert cell["model"] == "mine.nc"
    assert cell["verdict"] == "trusted"
    assert abs(cell["lambda_hat"] - 0.5) < 0.1
    assert "sltprob diagnose mine.nc" in (tmp_path / "r.html").read_text(encoding="utf-8")


def tree_of(log_likelihood, dims=None) -> xr.DataTree:
    return az.from_dict({"log_likelihood": log_likelihood}, dims=dims)


def test_several_sites_and_events_are_added():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 9, 5)), rng.normal(size=(2, 9, 3, 4))
    run = from_arviz(tree_of({"a": a, "b": b}))
    assert run.attrs["beta"] == 17  # each pointwise value: five of a, three times four of b
    np.testing.assert_allclose(
        17 * run["sample_stats"]["loss"], -(a.sum(2) + b.sum((2, 3))), rtol=1e-12
    )
    shared = from_arviz(tree_of({"a": a, "c": a}, {"a": ["city"], "c": ["city"]}))
    assert shared.attrs["beta"] == 5
    np.testing.assert_allclose(5 * shared["sample_stats"]["loss"], -2 * a.sum(2), rtol=1e-12)


def test_float32_at_many_data_is_told():
    """Rounding of single precision is bounded by what it does to the sum, and no more."""
    values = np.full((2, 9, 100), -1.0, dtype=np.float32)
    run = from_arviz(tree_of({"y": values}))
    eps = np.finfo(np.float32).eps
    assert run.attrs["loss_rounding"] == pytest.approx(eps * 10 / 100, rel=1e-6)


def test_what_has_no_pointwise_likelihood_is_refused():
    with pytest.raises(ValueError, match="no group log_likelihood"):
        from_arviz(xr.DataTree())
    with pytest.raises(ValueError, match="one for the data"):
        from_arviz(tree_of({"y": np.zeros((2, 9))}))
    with pytest.raises(TypeError, match="not a DataTree"):
        from_arviz({})
