"""Of a file larger than the memory, what no check reads stays on the disk, or comes in pieces."""

import contextlib
import io
import json
from collections import Counter

import arviz as az
import h5netcdf.core
import numpy as np
import pytest
import xarray as xr
from test_diagnostics import make_run

import sltprob
from sltprob import draws as schema
from sltprob import foreign
from sltprob.cli import main
from sltprob.diagnostics import kept


@pytest.fixture
def reads(monkeypatch):
    """Count the bytes that are read of each variable, and keep the largest read."""
    read = h5netcdf.core.Variable.__getitem__
    total, largest = Counter(), Counter()

    def counted(self, key):
        found = read(self, key)
        size = np.asarray(found).nbytes
        total[self._h5path] += size
        largest[self._h5path] = max(largest[self._h5path], size)
        return found

    monkeypatch.setattr(h5netcdf.core.Variable, "__getitem__", counted)
    return total, largest


def judged(path):
    """Judge a file by the command."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as end:
        main(["diagnose", str(path), "--json"])
    assert end.value.code == 0
    return json.loads(out.getvalue())


def as_json(verdict):
    return [(check.name, check.value, check.advice) for check in verdict.checks]


def funnel(path, *, diverges=True, precision=float):
    """Save a run that diverges, if it does, in the neck of a funnel."""
    generator = np.random.default_rng(3)
    log_scale = generator.normal(size=(4, 1000))
    neck = (log_scale < -1.5) & (generator.uniform(size=log_scale.shape) < 0.5)
    run = make_run(diverging=neck & diverges)
    values = np.exp(log_scale)[..., None, None] * generator.normal(size=(4, 1000, 5, 3))
    posterior = {"tau": np.exp(log_scale), "a": values[..., 0, :1], "theta": values}
    run["posterior"] = az.from_dict(
        {"posterior": {name: value.astype(precision) for name, value in posterior.items()}}
    )["posterior"]
    sltprob.save(run, path)
    return path


def test_draws_that_no_check_reads_are_not_read(tmp_path, reads):
    path = funnel(tmp_path / "run.nc", diverges=False)
    found = judged(path)
    total, _ = reads
    assert total["/sample_stats/loss"] == 8 * 4000  # once
    assert not {name for name in total if name.startswith("/posterior/")} - {
        "/posterior/chain",
        "/posterior/draw",
        "/posterior/a_dim_0",
        "/posterior/theta_dim_0",
        "/posterior/theta_dim_1",
    }
    whole = sltprob.diagnose(sltprob.load(path))
    assert [(c["name"], c["value"], c["advice"]) for c in found["checks"]] == as_json(whole)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_the_place_of_divergences_is_found_in_pieces(precision, tmp_path, reads, monkeypatch):
    """The words and the numbers are the same, and no read is larger than a piece."""
    path = funnel(tmp_path / "run.nc", precision=precision)
    whole = sltprob.diagnose(sltprob.load(path))
    (check,) = (check for check in whole.failed if check.name == "divergences")
    assert "Half of them lie where" in check.advice
    assert "config={'theta': numpyro" in check.advice
    monkeypatch.setattr(kept, "_PIECE", 10_000)
    monkeypatch.setattr(kept, "_COLUMNS", 70_000)
    total, largest = reads
    total.clear(), largest.clear()
    with schema.opened(path) as tree:
        assert as_json(sltprob.diagnose(tree)) == as_json(whole)
    assert 0 < largest["/posterior/theta"] <= 10_000
    assert total["/posterior/theta"] >= 4000 * 15 * np.dtype(precision).itemsize


def test_draws_that_cannot_be_read_are_named(tmp_path):
    path = funnel(tmp_path / "run.nc")
    with schema.opened(path) as tree:
        pass
    path.unlink()
    with pytest.raises(ValueError, match=r"run\.nc: posterior/tau cannot be read"):
        sltprob.diagnose(tree)


@pytest.mark.parametrize("order", [("chain", "draw", "y_dim_0"), ("y_dim_0", "draw", "chain")])
def test_a_log_likelihood_is_added_up_in_pieces(order, tmp_path, reads, monkeypatch):
    values = np.random.default_rng(1).normal(size=(3, 100, 20))
    tree = az.from_dict({"log_likelihood": {"y": values}})
    tree["log_likelihood"] = xr.DataTree(tree["log_likelihood"].to_dataset().transpose(*order))
    tree.to_netcdf(path := tmp_path / "theirs.nc", engine="h5netcdf")
    expected = foreign.from_arviz(tree)
    monkeypatch.setattr(foreign, "_PIECE", 1_000)
    found = judged(path)
    _, largest = reads
    assert largest["/log_likelihood/y"] <= 1_000
    assert found["beta"] == 20
    with schema.opened(path) as opened:
        run = foreign.from_arviz(opened)
    np.testing.assert_array_equal(run["sample_stats"]["loss"], expected["sample_stats"]["loss"])
    assert run.attrs["loss_rounding"] == expected.attrs["loss_rounding"]
    np.testing.assert_allclose(run["sample_stats"]["loss"], -values.mean(axis=-1), rtol=1e-12)
