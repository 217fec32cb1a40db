"""The real command line, with real files."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import sltprob
from sltprob import models, samplers
from sltprob.cli import main
from sltprob.collapsed import PrecisionError

CELL = [
    "model",
    "sampler",
    "beta",
    "seed",
    "lambda_hat",
    "mcse",
    "exact",
    "exact_mcse",
    "exact_method",
    "z",
    "ess",
    "rhat",
    "draws",
    "chains",
    "gradients",
    "seconds_warmup",
    "seconds_sampling",
    "seconds_compile",
    "verdict",
    "failed_checks",
]
# So few draws that no run is trusted, and none compiles scouts.
SMALL = ["--draws", "90", "--warmup", "100"]


def sltprob_command(*arguments, cwd=None, environment=None):
    """Run the command in a process of its own, which costs some seconds to start."""
    return subprocess.run(
        [sys.executable, "-m", "sltprob", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        check=False,
    )


@pytest.fixture
def here(capsys):
    """Run the command in this process, with what it does to a process undone."""

    def run(*arguments):
        try:
            with pytest.raises(SystemExit) as stopped:
                main([str(argument) for argument in arguments])
        finally:
            jax.config.update("jax_enable_x64", True)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, stopped.value.code, *printed)

    return run


def test_compare_writes_runs_summary_and_report(tmp_path, here):
    out = tmp_path / "out"
    done = here(
        *("compare", "tanh_zero[width=4]", "--samplers", "hmc,mala[steps_per_draw=5]"),
        *("--betas", "1,1e2", "--out", out, "--json", *SMALL),
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)
    assert len(cells) == 4
    for cell in cells:
        assert list(cell) == CELL
        assert cell["model"] == "tanh_zero[width=4]"
        assert cell["verdict"] in ("trusted", "doubtful", "wrong")
    with (out / "summary.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["lambda_hat"]) for row in rows] == [c["lambda_hat"] for c in cells]
    files = sorted((out / "runs").glob("*.nc"))
    assert len(files) == 4
    assert sltprob.load(files[0]).attrs["exact"] > 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "mala[steps_per_draw=5]" in page
    again = here("compare", "--out", out)
    assert again.returncode == 2
    assert "not empty" in again.stderr


def test_run_exact_list_and_diagnose_speak_json(tmp_path, here):
    path = tmp_path / "run.nc"
    done = here("run", "tanh_zero[width=4]", "--beta", "10", "--out", path, "--json", *SMALL)
    assert done.returncode == 0, done.stderr
    cell = json.loads(done.stdout)
    assert list(cell) == CELL
    judged = json.loads(here("diagnose", path, "--json").stdout)
    assert {name: judged[name] for name in CELL} == cell
    assert judged["checks"]
    rows = json.loads(here("exact", "tanh_zero[width=4]", "--betas", "1,10", "--json").stdout)
    assert [list(row) for row in rows] == [
        ["beta", "lambda_hat", "mcse", "free_energy", "free_energy_mcse", "method"]
    ] * 2
    assert rows[1]["lambda_hat"] == pytest.approx(cell["exact"], rel=0.02)
    for what, name in (("models", "tanh_zero"), ("samplers", "hmc")):
        listed = json.loads(here("list", what, "--json").stdout)
        assert name in [row["name"] for row in listed]


def test_strict_makes_an_untrusted_run_fail(here):
    done = here(
        *("run", "tanh_zero[width=4]", "--draws", "50", "--warmup", "100", "--beta", "10"),
        "--strict",
    )
    assert done.returncode == 1
    assert "doubtful" in done.stdout or "wrong" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "tanh_zero", "--sampler", "gibbs"], "unknown sampler 'gibbs'"),
        (["run", "tanh_zero", "--sampler", "hmc[leaps=3]"], "no option 'leaps'"),
        (["run", "tanh_zero", "--sampler", "hmc[num_steps=x]"], "a whole number"),
        (["run", "tanh_zero", "--beta", "0"], "beta=0"),
        (["run", "tanh_zero", "--beta", "hot"], "beta=hot"),
        (["run", "tanh_zero[width=0]"], "width=0"),
        (["run", "tanh_zero", "--beta", "1e8", "--dtype", "float32"], "float32"),
        (["run", "tanh_zero", "--chains", "0"], "chains=0"),
        (["compare", "--samplers", ","], "--samplers"),
        (["compare", "--betas", "1,-2"], "beta=-2"),
        (["compare", "--frobnicate"], "--frobnicate"),
        (["exact", "nothing"], "unknown model 'nothing'"),
        (["list", "colours"], "list models"),
        (["diagnose", "missing.nc"], "missing.nc"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, words, tmp_path, monkeypatch, here):
    monkeypatch.chdir(tmp_path)
    done = here(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert words in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.turns
def test_existing_files_are_left_alone(tmp_path, here):
    kept = tmp_path / "kept.nc"
    kept.write_text("precious")
    done = sltprob_command("run", "tanh_zero[width=4]", "--out", kept)
    assert (done.returncode, done.stdout) == (2, "")
    assert kept.read_text() == "precious"
    done = here("compare", "--out", tmp_path)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["kept.nc"]
    done = here("compare", "--out", kept / "below")
    assert done.returncode == 2


@pytest.mark.turns
def test_a_sampler_of_ones_own_is_one_file(tmp_path):
    """A file in sltprob/samplers/ is listed and read without another edit.

    That what is listed also runs is tested with the samplers of other packages, in test_plugins.
    """
    home = Path(sltprob.__file__).parent
    copy = tmp_path / "sltprob"
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("__pycache__"))
    source = (copy / "samplers" / "mala.py").read_text()
    (copy / "samplers" / "mine.py").write_text(source.replace("MALA", "Mine"))
    environment = {"PYTHONPATH": str(tmp_path)}
    listed = sltprob_command("list", "samplers", "--json", cwd=tmp_path, environment=environment)
    (options,) = [row["options"] for row in json.loads(listed.stdout) if row["name"] == "mine"]
    assert "steps_per_draw" in options
    # It is read before the model, which is wrong on purpose.
    refused = sltprob_command(
        *("run", "none", "--sampler", "mine[steps_per_draw=0]"),
        cwd=tmp_path,
        environment=environment,
    )
    assert "steps_per_draw=0: it must be" in refused.stderr


@pytest.mark.turns
def test_what_was_listed_is_listed_again_without_jax_until_a_file_changes(tmp_path):
    copy = tmp_path / "sltprob"
    home = Path(sltprob.__file__).parent
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def listing():
        return subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "sltprob", "list", "samplers"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | environment,
            check=True,
        )

    first, second = listing(), listing()
    assert first.stdout == second.stdout
    assert " jax\n" in first.stderr
    assert " jax\n" not in second.stderr
    source = copy / "samplers" / "mala.py"
    source.write_text(source.read_text() + "# Changed.\n")
    assert listing().stderr.count(" jax\n") == 1


def test_the_readme_has_every_model_and_sampler():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    for registry in (models.registry, samplers.registry):
        for name in registry.names():
            summary = (registry.type_of(name).__doc__ or "").strip().splitlines()[0]
            assert f"| `{name}` | {summary.replace('|', '&#124;')} |" in readme


def test_what_is_not_known_exactly_is_one_line_and_no_reason_not_to_sample(capsys, monkeypatch):
    """Beyond some beta exact answers of some models do not reach the tolerance."""
    regular = type(models.get("regular"))
    exact = regular.exact

    def limited(self, beta, **options):
        if beta > 100:
            raise PrecisionError(f"At beta={beta:g} it is too cold; write a smaller beta.")
        return exact(self, beta, **options)

    monkeypatch.setattr(regular, "exact", limited)
    with pytest.raises(SystemExit) as ended:
        main(["exact", "regular[dimension=1]", "--betas", "10,1000"])
    out, error = capsys.readouterr()
    assert ended.value.code == 2
    assert error == "sltprob: At beta=1000 it is too cold; write a smaller beta.\n"
    assert " 10 " in out
    short = ["--draws", "20", "--warmup", "20", "--chains", "2", "--json", "--quiet"]
    with pytest.raises(SystemExit):
        main(["run", "regular[dimension=1]", "--sampler", "mala", "--beta", "1000", *short])
    assert json.loads(capsys.readouterr().out)["exact"] is None
