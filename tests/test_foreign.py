"""Files of other programs: examples, the layouts that they write, and what is said of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import arviz_base as az
import numpy as np
import pytest
import xarray as xr

import sltprob
from sltprob.cli import main
from sltprob.report.judged import judge

EXAMPLES = Path(importlib.util.find_spec("arviz_base").origin).parent / "example_data" / "data"

#: Statistics of a draw by the names that each program gives them.
LAYOUTS = {
    "PyMC": {"acceptance_rate": 0.9, "diverging": False, "energy": None, "n_steps": 7, "lp": None},
    "nutpie": {
        "mean_tree_accept": 0.9,
        "diverging": False,
        "energy": None,
        "n_steps": 7,
        "logp": None,
    },
    "CmdStan": {
        "accept_stat__": 0.9,
        "divergent__": 0,
        "energy__": None,
        "n_leapfrog__": 7,
        "lp__": None,
    },
    "NumPyro": {
        "accept_prob": 0.9,
        "diverging": False,
        "energy": None,
        "num_steps": 7,
        "lp": None,
    },
    "Pyro": {"diverging": False},
}


def tree_of(statistics):
    """Draw from a Gaussian mean of 40 data, as each of these programs would have stored it."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=40)
    mean = y.mean() + rng.normal(size=(4, 500)) / np.sqrt(40)
    likelihood = -0.5 * (y - mean[..., None]) ** 2 - 0.5 * np.log(2 * np.pi)
    energy = rng.normal(size=mean.shape)
    filled = {
        name: energy if value is None else np.full(mean.shape, value)
        for name, value in statistics.items()
    }
    groups = {"posterior": {"mean": mean}, "log_likelihood": {"y": likelihood}}
    return az.from_dict(groups | {"sample_stats": filled})


@pytest.mark.parametrize("program", LAYOUTS)
def test_each_layout_is_read_and_trusted_on_traces_alone(program):
    run = sltprob.from_arviz(tree_of(LAYOUTS[program]))
    verdict = sltprob.diagnose(run)
    names = {check.name for check in verdict.checks}
    assert verdict.trusted
    assert (verdict.level, verdict.words) == ("traces alone", "trusted on traces alone")
    assert str(verdict).startswith("trusted on traces alone: ")
    assert "on traces alone" in verdict._repr_html_()
    assert "divergences" in names
    assert ({"bfmi", "acceptance"} <= names) == (program != "Pyro")
    (judged,) = judge([run])
    assert judged.status in ("trusted on traces alone", "incomplete")
    assert "none of them saw a gradient" in judged.reason or judged.cell["lambda_hat"] is None


@pytest.mark.parametrize("program", ["nutpie", "stan"])
def test_a_file_that_another_program_wrote_is_read_and_trusted(program, tmp_path, capsys):
    """`files/make_nutpie.py` has the model and its three data: a Gaussian mean, λ = 1/2."""
    path = Path(__file__).parent / "files" / f"{program}.nc"
    tree = xr.open_datatree(path)
    y = np.random.default_rng(0).normal(size=3)
    least = float(0.5 * np.var(y) + 0.5 * np.log(2 * np.pi))
    run = sltprob.from_arviz(tree, minimum_loss=least)
    verdict = sltprob.diagnose(run)
    assert verdict.words == "trusted on traces alone"
    assert {"divergences", "bfmi", "acceptance"} <= {check.name for check in verdict.checks}
    found = sltprob.estimate(run)
    # β (L - L*) = n (mean - ȳ)²/2 under the posterior N(ȳ n / (n + 0.01), 1 / (n + 0.01)).
    spread, offset = 1 / 3.01, y.mean() * (1 - 3 / 3.01)
    assert abs(found.value - 1.5 * (spread + offset**2)) < 5 * found.mcse
    page = tmp_path / "page.html"
    given = ["--minimum-loss", str(least)]
    for command in (["diagnose", str(path)], ["report", str(path), "--out", str(page)]):
        with pytest.raises(SystemExit) as end:
            main([*command, *given])
        assert end.value.code == 0
    assert "trusted on traces alone" in capsys.readouterr().out
    assert "trusted on traces alone" in page.read_text(encoding="utf-8")


def test_a_file_without_log_likelihood_is_told_what_it_needs(tmp_path, capsys):
    """As PyMC writes it by default."""
    path = tmp_path / "pymc.nc"
    az.from_dict({"posterior": {"mean": np.zeros((2, 9))}}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(SystemExit) as stopped:
        main(["diagnose", str(path)])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "pymc.nc: the DataTree has no group log_likelihood" in said
    assert "pymc.compute_log_likelihood(...)" in said


def test_a_run_of_ours_saw_gradients():
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=1]"), beta=10.0)
    verdict = sltprob.diagnose(sltprob.sample(posterior, "hmc", draws=50, warmup=50, chains=2))
    assert verdict.level == "gradients"
    assert verdict.words == verdict.status


@pytest.mark.parametrize(
    ("name", "words", "failed"),
    [
        ("non_centered_eight", "trusted on traces alone", set()),
        ("centered_eight", "doubtful", {"divergences", "bfmi"}),
    ],
)
def test_the_examples_of_arviz_are_judged_as_the_books_say(name, words, failed, capsys):
    """The centred parameterisation of the eight schools is the standard example of a bad run."""
    with pytest.raises(SystemExit) as stopped:
        main(["diagnose", str(EXAMPLES / f"{name}.nc")])
    assert stopped.value.code == 0
    assert f"{words}: " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["diagnose", str(EXAMPLES / f"{name}.nc"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["level"] == "traces alone"
    assert failed <= {check["name"] for check in found["checks"] if not check["passed"]}
