"""Sweeps and trajectories around trained parameters, their files, pages and commands."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sltprob
from sltprob.cli import main
from sltprob.sampling import compilation
from sltprob.trajectories.trajectory import Trajectory

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


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_numbers_are_not_damaged_on_their_way(ending, tmp_path):
    params = {"turned": np.array([1.0, 2.0], ">f4"), "small": np.array([3, -4])}
    path = sltprob.save_weights(params, tmp_path / f"net.{ending}")
    found = sltprob.load_weights(path)
    assert found["turned"].tolist() == [1, 2]
    assert found["small"].tolist() == [3, -4]
    like = {"turned": jnp.zeros(2, jnp.bfloat16), "small": jnp.zeros(2, jnp.int8)}
    assert sltprob.load_weights(path, like)["small"].tolist() == [3, -4]
    large = {"whole": np.array([2**40]), "real": np.array([1e300])}
    path = sltprob.save_weights(large, tmp_path / f"large.{ending}")
    with jax.enable_x64(False):
        found = sltprob.load_weights(path)
    assert found["whole"].tolist() == [2**40]
    assert found["real"].tolist() == [1e300]
    with pytest.raises(ValueError, match="int64 that int8 of like= cannot hold"):
        sltprob.load_weights(path, like={"whole": jnp.zeros(1, jnp.int8)})
    with pytest.raises(ValueError, match="float64 that int32 of like= cannot hold"):
        sltprob.load_weights(path, like={"real": jnp.zeros(1, jnp.int32)})


@pytest.mark.parametrize(
    ("params", "ending", "words"),
    [
        ({"w": jnp.ones(2, jnp.bfloat16)}, "npz", "which npz cannot give back"),
        ({"w": np.array(["a"])}, "npz", "which npz cannot give back"),
        ({"w": np.ones(2, np.complex64)}, "safetensors", "which safetensors has not"),
        ({"a": {"b": np.ones(1)}, "a.b": np.ones(1)}, "safetensors", "two leaves of the name"),
        ({"k": jax.random.key(0)}, "safetensors", "write jax.random.key_data"),
    ],
)
def test_what_a_file_cannot_give_back_is_not_saved(params, ending, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        sltprob.save_weights(params, tmp_path / f"net.{ending}")
    assert not list(tmp_path.iterdir())


def test_names_of_which_no_pytree_is_made_need_like(tmp_path):
    params = {"a": np.zeros(1), "a.b": np.ones(1)}
    path = sltprob.save_weights(params, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"'a' and 'a\.b' are both there"):
        sltprob.load_weights(path)
    assert sltprob.load_weights(path, like=params)["a.b"].tolist() == [1]


def test_orbax_is_read(tmp_path):
    orbax = pytest.importorskip("orbax.checkpoint")
    with orbax.PyTreeCheckpointer() as writer:
        writer.save(tmp_path / "step-1", {"layers": [{"w": np.ones((2, 3), np.float32)}]})
    assert sltprob.load_weights(tmp_path / "step-1")["layers"][0]["w"].shape == (2, 3)


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "net.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="not a safetensors file"):
        sltprob.load_weights(tmp_path / "net.safetensors")
    (tmp_path / "net.npz").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="not an npz file of arrays"):
        sltprob.load_weights(tmp_path / "net.npz")
    np.savez(tmp_path / "pickled.npz", w=np.array([1, None], dtype=object))
    with pytest.raises(ValueError, match="not an npz file of arrays"):
        sltprob.load_weights(tmp_path / "pickled.npz")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ([1, 2], "its header is a list"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 16]}}, "takes 4 bytes"),
        ({"w": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}, "0 to 32 of 16"),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, "-8 to 0 of 16"),
        ({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}, "F8_E4M3"),
        ({"w": 3}, "damaged one"),
    ],
)
def test_a_header_that_does_not_fit_its_data_is_refused(header, words, tmp_path):
    text = json.dumps(header).encode()
    raw = len(text).to_bytes(8, "little") + text + bytes(16)
    (tmp_path / "net.safetensors").write_bytes(raw)
    with pytest.raises(ValueError, match=words):
        sltprob.load_weights(tmp_path / "net.safetensors")


def test_a_folder_that_is_none_of_orbax_is_one_line(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    (tmp_path / "step-1").mkdir()
    with pytest.raises(ValueError, match="not a checkpoint of Orbax"):
        sltprob.load_weights(tmp_path / "step-1")


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


def hundredth(params, batch):
    return 0.01 * losses(params, batch)


def kept_runs(folder, params, data, loss=losses, **options):
    """Measure one checkpoint into a folder, and give its row and what the folder then has."""
    few = {"draws": 20, "warmup": 20, "batch_size": 64, "half_step": False}
    path = sltprob.trajectory({"step-1": params}, loss, data, folder=folder, **few, **options)
    (row,) = (row for rows in path.rows.values() for row in rows)
    return row, {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.turns
@pytest.mark.parametrize(
    "change",
    [
        {"loss": hundredth},
        {"data": lambda data: {**data, "x": data["x"] * np.float32(0.1)}},
        {"data": lambda data: {"x": data["x"][:250], "y": data["y"][:250]}},
        {"weights": np.arange(500) < 100},
        {"masks": {"all": lambda site: np.arange(10) < 3}},
        {"params": lambda params: {"layer": {"w": params["layer"]["w"] + 0.1}}},
        {"nbeta": 50.0},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_kept_run_is_only_taken_for_one_that_measures_the_same(line, tmp_path, change):
    params, data = line
    kept_runs(tmp_path / "kept", params, data)
    row, before = kept_runs(tmp_path / "kept", params, data)
    assert list(before) == ["step-1-all.nc"]
    arguments = {"params": params, "data": data}
    for name, value in change.items():
        arguments[name] = value(arguments[name]) if name in arguments else value
    other, after = kept_runs(tmp_path / "kept", **arguments)
    fresh, _ = kept_runs(tmp_path / "new", **arguments)
    assert other.lambda_hat == fresh.lambda_hat != row.lambda_hat
    assert set(after) == {"step-1-all.nc", "step-1-all-2.nc"}
    assert after["step-1-all.nc"] == before["step-1-all.nc"]
    again, same = kept_runs(tmp_path / "kept", params, data)
    assert (again, same) == (row, after)


def test_losses_that_agree_at_the_center_alone_are_told_apart(line, tmp_path):
    """A network that fits its data: every loss is zero there, of whatever scale."""
    params, data = line
    fitted = {**data, "y": data["x"] @ np.asarray(params["layer"]["w"])}
    row, _ = kept_runs(tmp_path, params, fitted)
    other, _ = kept_runs(tmp_path, params, fitted, hundredth)
    assert other.lambda_hat < row.lambda_hat


@pytest.mark.turns
@pytest.mark.parametrize("kind", ["memory map", "iterator", "function"])
def test_runs_on_streams_are_kept_by_what_is_known_of_them(line, tmp_path, kind):
    params, data = line

    def stream(factor):
        x = data["x"] * np.float32(factor)
        if kind == "memory map":
            np.save(tmp_path / f"x-{factor}.npy", x)
            return {**data, "x": np.load(tmp_path / f"x-{factor}.npy", mmap_mode="r")}

        def batches():
            while True:
                yield {"x": x[:64], "y": data["y"][:64]}

        return batches if kind == "function" else batches()

    folder, at = tmp_path / "kept", {"nbeta": 100.0}
    row, first = kept_runs(folder, params, stream(1), **at)
    again, second = kept_runs(folder, params, stream(1), **at)
    other, third = kept_runs(folder, params, stream(0.1), **at)
    scaled, fourth = kept_runs(folder, params, stream(1), hundredth, **at)
    assert again == row
    assert [len(files) for files in (first, second, third, fourth)] == [1, 1, 2, 3]
    assert len({row.lambda_hat, other.lambda_hat, scaled.lambda_hat}) == 3


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (("step-100-v2", "step-200-v2"), (100, 200)),
        (("1e3", "2e3", "1e4"), (1000, 2000, 10000)),
        (("step100/model", "step200/model"), (100, 200)),
        (("epoch-1-step-100", "epoch-2-step-50"), (1, 2)),
        (("step-100-loss-0.31", "step-200-loss-0.25"), (100, 200)),
        (("step-100", "step-200-v2"), (100, 200)),
        (("init-0", "step-100", "final-200"), (0, 100, 200)),
        (("-1", "0"), (-1, 0)),
        (("a-1", "b-1"), (0, 1)),
        (("init", "step-1"), (0, 1)),
        (("1e999", "7"), (0, 1)),
    ],
)
def test_a_step_is_the_number_that_differs(names, steps):
    assert Trajectory(names, {}, {}).steps == steps


def test_files_of_one_name_are_called_by_their_folders(line, tmp_path):
    params, data = line
    for step in (100, 20):
        (tmp_path / f"step{step}").mkdir()
        moved = {"layer": {"w": params["layer"]["w"] + 1 / step}}
        sltprob.save_weights(moved, tmp_path / f"step{step}" / "model.npz")
    few = {"draws": 20, "warmup": 20, "batch_size": 64, "half_step": False}
    kept = tmp_path / "kept"
    pattern = str(tmp_path / "*" / "model.npz")
    path = sltprob.trajectory(pattern, losses, data, folder=kept, **few)
    assert path.names == ("step20/model", "step100/model")
    assert path.steps == (20, 100)
    assert {file.name for file in kept.iterdir()} == {
        "step20_model-all.nc",
        "step100_model-all.nc",
    }
    # Two names that are one as a file are two runs all the same.
    both = {"a/b": params, "a_b": {"layer": {"w": params["layer"]["w"] + 0.1}}}
    first = sltprob.trajectory(both, losses, data, folder=kept, **few)
    again = sltprob.trajectory(both, losses, data, folder=kept, **few)
    assert again.rows == first.rows
    assert len(list(kept.iterdir())) == 4


@pytest.mark.parametrize(
    ("checkpoints", "words"),
    [
        (lambda params, path: [path, path], "twice; leave one out"),
        (lambda params, path: {1: params, "1": params}, "two of the name '1'; rename one"),
        (lambda params, path: [params], "give paths, or parameters by name"),
        (
            lambda params, path: {"good": params, "bad": {"layer": {"w": np.full(10, np.nan)}}},
            r"checkpoint 'bad': params\['layer.w'\] is not finite",
        ),
        (
            lambda params, path: {"good": params, "bad": {"layer": {"w": np.ones(4)}}},
            "checkpoint 'bad': the loss fails",
        ),
    ],
)
def test_checkpoints_that_cannot_be_meant_are_refused_by_name(line, tmp_path, checkpoints, words):
    params, data = line
    path = sltprob.save_weights(params, tmp_path / "net.npz")
    few = {"draws": 20, "warmup": 20, "batch_size": 64, "half_step": False}
    with pytest.raises((TypeError, ValueError), match=words):
        sltprob.trajectory(checkpoints(params, path), losses, data, **few)


def test_what_is_beside_a_trajectory_is_a_number(line):
    params, data = line
    with pytest.raises(
        TypeError, match=r"checkpoint '1': beside\['w'\] gives a .* of shape \(10,\)"
    ):
        sltprob.trajectory({1: params}, losses, data, beside={"w": lambda p: p["layer"]["w"]})


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
