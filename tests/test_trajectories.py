"""Sweeps and trajectories around trained parameters, their files, pages and commands."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

import sltprob
from sltprob.cli import main
from sltprob.sampling import compilation

FEW = {"draws": 200, "warmup": 100, "batch_size": 64}
LOSS = """
def losses(params, batch):
    return 0.5 * (batch["x"] @ params["layer"]["w"] - batch["y"]) ** 2
"""


def losses(params, batch):
    return 0.5 * (batch["x"] @ params["layer"]["w"] - batch["y"]) ** 2


@pytest.fixture(scope="module")
def line():
    """Ten coordinates, all well determined: λ̂ = 5 nearly, whatever nβ."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((500, 10)).astype(np.float32)
    y = 0.3 * generator.standard_normal(500).astype(np.float32)
    best = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float32)
    return {"layer": {"w": jnp.asarray(best)}}, {"x": x, "y": y}


@pytest.mark.turns
def test_a_sweep_finds_the_plateau_of_a_regular_model(line, tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "programs", {})
    params, data = line
    posterior = sltprob.local(losses, params, data, nbeta=300.0)
    before = len(compilation.programs)
    sweep = sltprob.local_sweep(posterior, nbetas=[1.0, 100.0, 300.0], gammas=[1.0], **FEW)
    assert len(compilation.programs) == before + 2  # one starts chains, one moves them
    assert [row.nbeta for row in sweep.plateau] == [100.0, 300.0]
    assert sweep.chosen.lambda_hat == pytest.approx(5, rel=0.15)
    assert "take nbeta=" in sweep.recommendation
    page = sweep.write(tmp_path / "sweep.html").read_text()
    assert "on a plateau from nβ = 100 to 300" in page
    assert "plateau" in str(sweep)


@pytest.mark.parametrize("name", ["nbetas", "gammas", "step_sizes"])
def test_settings_that_are_no_list_are_refused(line, name):
    posterior = sltprob.local(losses, *line, nbeta=1.0)
    for wrong in ("wbic", [], 3.0):
        words = re.escape(f"{name}={wrong!r}: it must be a list")
        with pytest.raises(ValueError, match=words):
            sltprob.local_sweep(posterior, **{name: wrong})


@pytest.mark.turns
def test_without_a_plateau_a_sweep_says_what_to_try(line):
    posterior = sltprob.local(losses, *line, nbeta=300.0)
    sweep = sltprob.local_sweep(posterior, nbetas=[0.1, 1.0], gammas=[1.0], **FEW)
    assert sweep.chosen is None
    assert "No plateau" in sweep.recommendation
    assert "gammas=[10]" in sweep.recommendation


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_weights_come_back_as_they_were(ending, tmp_path):
    params = {
        "layers": [{"w": jnp.ones((2, 3)), "b": jnp.arange(3)}, {"w": jnp.zeros((3, 1))}],
        "scale": jnp.asarray(2.0, jnp.float32),
    }
    path = sltprob.save_weights(params, tmp_path / f"net.{ending}")
    for found in (sltprob.load_weights(path), sltprob.load_weights(path, like=params)):
        assert found["layers"][0]["b"].tolist() == [0, 1, 2]
        assert found["layers"][1]["w"].shape == (3, 1)
        assert found["scale"].dtype == np.float32
    with pytest.raises(FileExistsError, match="overwrite=True"):
        sltprob.save_weights(params, path)
    with pytest.raises(ValueError, match="must have shape"):
        sltprob.load_weights(path, like={"scale": jnp.ones(3)})


def test_bfloat16_is_kept(tmp_path):
    path = sltprob.save_weights({"w": jnp.ones(3, jnp.bfloat16)}, tmp_path / "net.safetensors")
    assert sltprob.load_weights(path)["w"].dtype == jnp.bfloat16


def test_orbax_is_read(tmp_path):
    orbax = pytest.importorskip("orbax.checkpoint")
    with orbax.PyTreeCheckpointer() as writer:
        writer.save(tmp_path / "step-1", {"layers": [{"w": np.ones((2, 3), np.float32)}]})
    assert sltprob.load_weights(tmp_path / "step-1")["layers"][0]["w"].shape == (2, 3)


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "net.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="not a safetensors file"):
        sltprob.load_weights(tmp_path / "net.safetensors")


@pytest.mark.turns
def test_a_trajectory_compiles_once_and_goes_on_where_it_was(line, tmp_path, monkeypatch):
    params, data = line
    for step in (9, 10, 100):
        moved = {"layer": {"w": params["layer"]["w"] + 0.3 / step}}
        sltprob.save_weights(moved, tmp_path / f"step-{step}.safetensors")
    monkeypatch.setattr(compilation, "programs", {})
    seen = []
    arguments = (str(tmp_path / "step-*.safetensors"), losses, data)
    options = {
        "masks": {"all": None, "first": lambda site: np.arange(10) < 3},
        "folder": tmp_path / "runs",
        "nbeta": 100.0,
        "beside": {"norm": lambda p: float(jnp.sum(p["layer"]["w"] ** 2))},
        **FEW,
    }
    first = sltprob.trajectory(*arguments, progress=seen.append, **options)
    assert first.names == ("step-9", "step-10", "step-100")
    assert first.steps == (9, 10, 100)
    compiled = len(compilation.programs)
    assert first.rows["all"][-1].lambda_hat == pytest.approx(5, rel=0.2)
    assert first.rows["first"][-1].lambda_hat == pytest.approx(1.5, rel=0.3)
    (tmp_path / "runs" / "step-10-all.nc").unlink()
    again = sltprob.trajectory(*arguments, **options)
    assert again.rows["first"] == first.rows["first"]
    assert again.rows["all"][1].lambda_hat == first.rows["all"][1].lambda_hat
    assert len(compilation.programs) == compiled
    page = again.write(tmp_path / "page.html").read_text()
    assert "Training loss" in page
    assert "norm" in page
    with pytest.raises(ValueError, match="there are none"):
        sltprob.trajectory(str(tmp_path / "none-*.npz"), losses, data)


@pytest.fixture
def files(line, tmp_path):
    params, data = line
    (tmp_path / "mine.py").write_text(LOSS)
    np.savez(tmp_path / "train.npz", **data)
    for step in (1, 2):
        sltprob.save_weights(params, tmp_path / f"net-{step}.safetensors")
    return tmp_path


@pytest.mark.turns
@pytest.mark.parametrize(
    "arguments",
    [
        ["--params", "{}/net-1.safetensors"],
        ["--params", "{}/net-1.safetensors", "--sweep"],
        ["--checkpoints", "{}/net-*.safetensors", "--mask", "layer.*"],
    ],
)
def test_the_command(files, arguments, capsys):
    command = ["local", f"{files}/mine.py:losses", "--data", f"{files}/train.npz", "--json"]
    command += [part.format(files) for part in arguments]
    command += ["--draws", "50", "--warmup", "40", "--out", f"{files}/page.html"]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 0
    document = json.loads(capsys.readouterr().out)
    row = document["rows"][0] if "rows" in document else document
    row = row[0] if isinstance(row, list) else row
    assert row["low"] <= row["lambda_hat"] <= row["high"]
    assert (files / "page.html").read_text().startswith("<!doctype html>")


@pytest.mark.turns
def test_the_command_says_what_is_done_unless_it_is_to_be_quiet(files, capsys):
    command = ["local", f"{files}/mine.py:losses", "--data", f"{files}/train.npz"]
    command += ["--checkpoints", f"{files}/net-*.safetensors", "--draws", "20", "--warmup", "20"]
    said = []
    for quiet in ([], ["-q"]):
        with pytest.raises(SystemExit):
            main(command + quiet)
        said.append(capsys.readouterr().err.splitlines())
    assert [line.partition(":")[0] for line in said[0]] == ["net-1", "net-2"]
    assert not said[1]


def test_the_command_leaves_to_a_sampler_what_it_has_itself(files, capsys):
    """Its own batch size counts, and hmc, which has none, samples too."""
    command = ["local", f"{files}/mine.py:losses", "--data", f"{files}/train.npz", "--json", "-q"]
    command += ["--params", f"{files}/net-1.safetensors", "--draws", "20", "--warmup", "20"]
    found = []
    for sampler in (
        ["sgld"],
        ["sgld[batch_size=8,steps_per_draw=3]"],
        ["sgld", "--batch-size", "8", "--steps-per-draw", "3"],
        ["hmc"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--sampler", *sampler])
        assert stopped.value.code == 0
        row = json.loads(capsys.readouterr().out)
        found.append(row["lambda_hat"])
        assert row["gamma"] == 1
    assert found[1] == found[2] != found[0]


def test_the_command_wants_one_source(files, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["local", f"{files}/mine.py:losses", "--data", f"{files}/train.npz"])
    assert stopped.value.code == 2
    assert "--params" in capsys.readouterr().err
