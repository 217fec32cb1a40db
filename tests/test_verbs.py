"""Does every verb take a program of the user's own, and is its answer the one of theory?

The program is linear regression with a normal prior, whose marginal likelihood and λ̂(β) are known
exactly; the file has columns that the program does not use.
"""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import sltprob
from sltprob.cli import main

PROGRAM = """
import numpyro
import numpyro.distributions as dist


def line(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def product(x, y=None):
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(a * b * x, 1.0), obs=y)
"""
N = 40
SHORT = {"draws": 400, "warmup": 200}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    (path / "mine.py").write_text(PROGRAM)
    table().to_csv(path / "data.csv", index=False)
    return path


def table():
    generator = np.random.default_rng(3)
    x = generator.normal(size=N)
    return pd.DataFrame({"x": x, "y": 0.7 * x + generator.normal(size=N), "unused": x * 0})


def log_marginal_likelihood(beta=N):
    """Log of the mean of exp(-beta L) over the prior."""
    x, y = (np.asarray(table()[name]) for name in "xy")
    weight = beta / N
    # exp(-weight * ...) is a normal density of variance 1/weight, up to its constant.
    covariance = np.eye(N) / weight + np.outer(x, x)
    constant = 0.5 * N * (math.log(2 * math.pi / weight) - weight * math.log(2 * math.pi))
    return stats.multivariate_normal(np.zeros(N), covariance).logpdf(y) + constant


def lambda_hat(beta):
    """Of a quadratic loss: half of what the data add to the precision, and the prior's pull."""
    x, y = (np.asarray(table()[name]) for name in "xy")
    precision = 1 + beta * np.mean(x**2)
    mean = beta * np.mean(x * y) / precision
    best = np.mean(x * y) / np.mean(x**2)
    return 0.5 * beta * np.mean(x**2) * (1 / precision + (mean - best) ** 2)


def command(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments)])
    return stopped.value.code


@pytest.mark.slow
def test_compare_finds_a_reference_and_says_so(folder, capsys, tmp_path):
    """Reference and sampler against the exact values. False-alarm rate of |z| < 5: 6e-7 each."""
    code = command(
        *("compare", f"{folder}/mine.py:line", "--data", folder / "data.csv"),
        *("--samplers", "hmc", "--betas", "wbic,n", "--draws", 90, "--warmup", 200),
        *("--out", tmp_path / "out", "-q", "--json"),
    )
    cells = json.loads(capsys.readouterr().out)
    assert code == 0
    assert len(cells) == 2
    for cell in cells:
        exact = lambda_hat(cell["beta"])
        assert cell["exact_method"].startswith("reference: ")  # by the first ladder that is trusted
        assert abs(cell["exact"] - exact) < 5 * cell["exact_mcse"]
        assert abs(cell["lambda_hat"] - exact) < 5 * cell["mcse"]
        assert cell["model"] == "mine.py:line"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert ">reference</th>" in page
    assert "with an error of its own" in page


@pytest.mark.turns
def test_the_marginal_likelihood_is_the_exact_one(folder, capsys):
    """Log p(data) and F along the ladder. False-alarm rate of |z| < 5: 6e-7 each."""
    code = command(
        *("free-energy", f"{folder}/mine.py:line", "--data", folder / "data.csv"),
        # As long a warm-up as that of a reference, so that it is compiled once.
        *("--draws", 500, "--warmup", 500, "--quiet", "--json"),
    )
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found["verdict"] == "trusted"
    exact = log_marginal_likelihood()
    assert abs(found["log_marginal_likelihood"] - exact) < 5 * found["mcse"]
    assert abs(found["integrated"] - exact) < 5 * found["integrated_error"]
    for rung in found["rungs"]:
        free_energy = -log_marginal_likelihood(rung["beta"])
        assert abs(rung["free_energy"] - free_energy) < 5 * rung["free_energy_mcse"]


def test_theory_says_what_is_known_about_a_program(folder, capsys):
    assert command("rlct", f"{folder}/mine.py:line", "--data", folder / "data.csv", "--json") == 0
    regular = json.loads(capsys.readouterr().out)
    assert (regular["learning_coefficient"], regular["status"]) == ("1/2", "regular")
    assert command("rlct", "tanh_zero[width=2]", "--json") == 0
    assert json.loads(capsys.readouterr().out)["learning_coefficient"] == "2/3"


@pytest.mark.slow
def test_a_singular_program_has_bounds(folder):
    singular = sltprob.learning_coefficient(f"{folder}/mine.py:product", data=folder / "data.csv")
    assert (singular.value, singular.status) == (None, "singular")
    assert (singular.low, singular.high) == (0.5, 1.0)
    assert 0.4 < singular.measured < 1.0


def test_a_study_of_a_program_is_run_and_tabulated(folder, capsys):
    """Paths start from the folder of the study."""
    (folder / "study.toml").write_text(
        'exact = false\ndata = "data.csv"\n[[grid]]\nmodels = ["mine.py:line"]\n'
        'samplers = ["hmc"]\n'
        'betas = ["n"]\nseeds = 2\nbudget = { draws = 90, warmup = 200 }\n'
    )
    assert command("study", "run", folder / "study.toml", "-q") == 0
    assert command("study", "table", folder / "study.toml", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["model"], row["beta"], row["cells"]) == ("mine.py:line", N, 2)
    assert abs(row["lambda_hat"] - lambda_hat(N)) < 0.3  # some five standard errors
    # A program that has changed is another one.
    changed = folder / "mine.py"
    changed.write_text(PROGRAM.replace("Normal(0.0, 1.0)", "Normal(0.0, 2.0)", 1))
    try:
        assert command("study", "status", folder / "study.toml", "--json") == 0
        assert json.loads(capsys.readouterr().out)["stored"] == 0
    finally:
        changed.write_text(PROGRAM)


@pytest.mark.slow
def test_the_league_scores_a_program_against_a_reference(folder):
    found = sltprob.bench(
        [f"{folder}/mine.py:line"], ["hmc"], ["n"], data=folder / "data.csv", seeds=[0, 1], **SHORT
    )
    (row,) = found.rows
    assert row.exact_method.startswith("reference")
    assert row.relative_error < 0.3
    assert row.covered >= 1


@pytest.mark.slow
def test_a_curve_of_a_program_comes_from_a_ladder(folder):
    """False-alarm rate of |z| < 5: 6e-7 each."""
    found = sltprob.curve(f"{folder}/mine.py:line", [1.0, "wbic", "n"], data=folder / "data.csv")
    assert [row.beta for row in found.rows] == [1.0, sltprob.wbic(N), float(N)]
    for row in found.rows:
        assert abs(row.lambda_hat - lambda_hat(row.beta)) < 5 * row.mcse


@pytest.mark.turns
def test_chains_start_where_they_are_told(folder, tmp_path, capsys):
    np.savez(tmp_path / "start.npz", slope=np.array(0.5))
    own = (f"{folder}/mine.py:line", "--data", folder / "data.csv", "--beta", "n")
    for init in ("optimum", "both", tmp_path / "start.npz"):
        code = command("run", *own, "--init", init, "--draws", 100, "--warmup", 200, "-q", "--json")
        assert code == 0
        assert np.isfinite(json.loads(capsys.readouterr().out)["lambda_hat"])
    np.savez(tmp_path / "wrong.npz", other=np.array(0.5))
    assert command("run", *own, "--init", tmp_path / "wrong.npz") == 2
    assert "the latent sites are ['slope']" in capsys.readouterr().err


def test_what_no_program_has_is_one_line(folder, capsys):
    own = f"{folder}/mine.py:line"
    for arguments, words in (
        (("exact", own), "no exact answer is known for a program of your own"),
        (("rlct", "foo"), "or give a model"),
        (("rlct", "tanh_zero", "--width", 2), "write tanh_zero[option=value]"),
        (("ladder", own), "--data"),
        (("ladder", own, "--data", folder / "data.csv", "--sampler", "hmc"), "one temperature"),
        (("free-energy", "regular", "--data", folder / "data.csv"), "its own data"),
        (("calibrate", "--model", own, "--out", folder / "c"), "give a program and its data"),
        (("bench", "--models", own, "--samplers", "hmc"), "--data"),
    ):
        assert command(*arguments) == 2, arguments
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


@pytest.mark.slow
def test_the_verdict_is_calibrated_on_a_program(folder, tmp_path, capsys):
    code = command(
        *("calibrate", "--model", f"{folder}/mine.py:line", "--data", folder / "data.csv"),
        *("--betas", "n", "--out", tmp_path / "calibration", "--workers", 1, "--json"),
    )
    assert code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] > 60
    text = (tmp_path / "calibration" / "calibration.md").read_text(encoding="utf-8")
    assert text.startswith("# How often the verdict is wrong on mine.py:line")


def test_the_usual_options(capsys, monkeypatch):
    assert command("--version") == 0
    assert capsys.readouterr().out.startswith("sltprob ")
    assert command("-h") == 0
    grouped = capsys.readouterr().out
    for heading in ("Measure", "Judge and report", "Many runs", "Exact answers and theory"):
        assert heading in grouped
    monkeypatch.setenv("NO_COLOR", "1")
    assert command("list", "samplers") == 0
    assert "\x1b[" not in capsys.readouterr().out


def test_wbic_is_watanabes():
    assert sltprob.wbic(1000) == pytest.approx(1000 / math.log(1000))
    with pytest.raises(ValueError, match="n=1"):
        sltprob.wbic(1)
