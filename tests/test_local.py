"""λ̂ around trained parameters: against exact answers, and with everything that goes wrong."""

import math
import re
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep_linear_data import deep_linear, deep_linear_rows
from flax import linen, nnx

import sltprob
from sltprob.cell import summarise
from sltprob.diagnostics.base import Run
from sltprob.diagnostics.local_checks import estimate_of
from sltprob.sampling import compilation
from sltprob.sampling.local_feed import rows_of_batch

SAMPLERS = ("sgld", "preconditioned_sgld", "sghmc", "sgnht")
ROWS, DIMENSION, NBETA, GAMMA = 2000, 30, 300.0, 5.0


def line_rows(params, batch):
    x, y = batch
    return 0.5 * (x @ params["w"] - y) ** 2


@pytest.fixture(scope="module")
def line():
    """Linear regression: a posterior that is Gaussian, with an exact λ̂."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((ROWS, DIMENSION)) * np.logspace(0, -1.5, DIMENSION)
    y = generator.standard_normal(ROWS)
    y -= x @ np.linalg.lstsq(x, y, rcond=None)[0]
    curvatures = np.linalg.eigvalsh(x.T @ x / ROWS)
    exact = 0.5 * np.sum(NBETA * curvatures / (NBETA * curvatures + GAMMA))
    return {"w": jnp.zeros(DIMENSION)}, (x, y), exact


def around(line, **options):
    params, data, _ = line
    return sltprob.local(line_rows, params, data, **{"nbeta": NBETA, "gamma": GAMMA, **options})


def raw_and_corrected(run):
    """The mean of λ̂ and of λ̂ - C, the latter with its error between chains."""
    scaled = run.attrs["beta"] * (run["sample_stats"]["loss"].values - run.attrs["minimum_loss"])
    corrected = (scaled - run["sample_stats"]["step_bias"].values).mean(axis=1)
    return scaled.mean(), corrected.mean(), corrected.std(ddof=1) / math.sqrt(len(corrected))


# ---- truth


@pytest.mark.turns
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_gaussian_is_known_up_to_the_step(line, sampler):
    """λ̂ - C has no bias of step or minibatch: |t| < 9 with 5 degrees of freedom, 1 in 3,500.

    The preconditioner weighs noisy directions down, so C is then an upper bound.
    """
    run = sltprob.sample(
        around(line), sampler, draws=600, warmup=200, chains=6, batch_size=64, half_step=False
    )
    raw, corrected, error = raw_and_corrected(run)
    exact = line[2]
    assert error < 0.03 * exact
    if sampler == "preconditioned_sgld":
        assert corrected - 9 * error < exact < raw + 9 * error
    else:
        assert abs(corrected - exact) < 9 * error
    found = sltprob.estimate(run)
    # The interval is of two errors; three more make a miss as rare as above.
    assert found.low - 3 * found.mcse < exact < found.high + 3 * found.mcse
    assert sltprob.diagnose(run).trusted
    # What the step adds is taken from the chains as well.
    assert np.mean(found.per_chain) == pytest.approx(found.value, rel=1e-6)


@pytest.mark.turns
def test_without_its_correction_a_gaussian_is_wrong(line):
    """The mutant of the test above: at a large step λ̂ itself is many errors off."""
    options = {"draws": 600, "warmup": 300, "chains": 6, "batch_size": 64, "half_step": False}
    run = sltprob.sample(around(line), "sgld", target_rho=0.2, **options)
    raw, _, error = raw_and_corrected(run)
    assert raw - line[2] > 9 * error


@pytest.mark.turns
def test_half_the_step_finds_the_truth_between(line):
    run = sltprob.sample(
        around(line), "sgld", draws=1500, warmup=300, batch_size=64, target_rho=0.2
    )
    raw, corrected, _ = raw_and_corrected(run)
    found = sltprob.estimate(run)
    assert found.high - found.low < 0.7 * (raw - corrected)
    assert found.low < line[2] < found.high
    assert abs(found.value - line[2]) < 5 * found.mcse


@pytest.mark.turns
def test_a_deep_linear_network_of_432_parameters_at_its_deepest_point():
    """The exact value is block Gibbs, 56.64 ± 0.02; the mutant is the chain before it arrives."""
    params, data = deep_linear((12, 12, 12, 12), 3, 4000)
    posterior = sltprob.local(deep_linear_rows, params, data, nbeta=1e3, gamma=1.0)
    run = sltprob.sample(posterior, "sgld", draws=150, warmup=150, batch_size=512)
    found = sltprob.estimate(run)
    assert found.low < 56.64 < found.high
    verdict = sltprob.diagnose(run)
    assert not verdict.trusted
    assert any(check.name.startswith("local_drift") for check in verdict.failed)


@pytest.mark.slow
def test_a_deep_linear_network_of_432_parameters_is_trusted_when_it_has_arrived():
    """At γ = 10: at 1 chains have hardly arrived after 200,000 steps, and a verdict may say so."""
    params, data = deep_linear((12, 12, 12, 12), 3, 4000)
    posterior = sltprob.local(deep_linear_rows, params, data, nbeta=1e3, gamma=10.0)
    options = f"widths=12:12:12:12,rank=3,prior_center=optimum,prior_scale={10**-0.5!r}"
    exact = sltprob.models.get(f"deep_linear[{options}]").exact(1e3)
    run = sltprob.sample(
        posterior, "sgld", draws=5000, warmup=1000, steps_per_draw=20, batch_size=512
    )
    found = sltprob.estimate(run)
    verdict = sltprob.diagnose(run)
    assert verdict.trusted, verdict
    assert found.low < exact.lambda_hat < found.high
    assert found.high - found.low < 0.1 * found.value


@pytest.mark.turns
def test_hmc_on_all_data_is_the_reference(line):
    """The same posterior on the path of all samplers, with its own checks: |z| < 5."""
    found = sltprob.estimate(sltprob.sample(around(line), "hmc", draws=200, warmup=150, chains=2))
    assert abs(found.value - line[2]) < 5 * found.mcse


@pytest.mark.turns
def test_a_record_of_all_rows_has_no_noise_of_rows(line):
    options = {"draws": 50, "warmup": 20, "half_step": False}
    run = sltprob.sample(around(line), "sgld", record="all", keep="all", **options)
    assert np.all(run["sample_stats"]["paired_variance"].values == 0)
    values = run["posterior"]["w"].values
    x, y = line[1]
    losses = 0.5 * np.mean((values[0, -1] @ x.T - y) ** 2)
    assert run["sample_stats"]["loss"].values[0, -1] == pytest.approx(losses, rel=1e-5)


def test_chains_that_start_far_out_come_to_the_same(line):
    """Every other chain starts at a draw of N(θ*, 1/γ): |t| < 12 with 3 degrees of freedom."""
    run = sltprob.sample(
        around(line), "sgld", init="both", draws=600, warmup=300, batch_size=64, half_step=False
    )
    _, corrected, error = raw_and_corrected(run)
    assert error < 0.05 * line[2]
    assert abs(corrected - line[2]) < 12 * error


# ---- one compilation


@pytest.mark.turns
def test_other_checkpoints_compile_nothing(line, monkeypatch):
    monkeypatch.setattr(compilation, "programs", {})
    params, data, _ = line
    options = {"draws": 20, "warmup": 20, "half_step": False}
    posterior = around(line, mask=lambda site: np.arange(DIMENSION) < 20)
    sltprob.sample(posterior, "sgld", **options)
    compiled = set(compilation.programs)
    for shift in (0.1, 0.2):
        other = sltprob.local(
            line_rows,
            {"w": params["w"] + shift},
            (data[0] + shift, data[1]),
            nbeta=10.0,
            gamma=1.0,
            mask=lambda site: np.arange(DIMENSION) < 10,
        )
        sltprob.sample(other, "sgld", **options)
        sltprob.sample(other.at(nbeta=20, gamma=7), "sgld[step_size=1e-5]", seed=3, **options)
    assert set(compilation.programs) == compiled


# ---- minibatches


@pytest.mark.parametrize(("rows", "size"), [(1000, 128), (129, 128), (7, 3), (60_000, 16)])
def test_a_minibatch_has_distinct_rows_all_equally_likely(rows, size):
    keys = jax.random.split(jax.random.key(0), 2000)
    chosen = np.asarray(jax.vmap(lambda key: rows_of_batch(key, size, rows))(keys))
    assert chosen.min() >= 0
    assert chosen.max() < rows
    assert all(len(set(batch)) == size for batch in chosen)
    if rows > 2000:
        return
    counts = np.bincount(chosen.ravel(), minlength=rows)
    expected = 2000 * size / rows
    variance = expected * (1 - size / rows)
    statistic = np.sum((counts - expected) ** 2) / variance
    # Chi-square with rows - 1 degrees of freedom, five standard deviations: 1 in 2 million.
    assert abs(statistic - (rows - 1)) < 6 * math.sqrt(2 * rows)


@pytest.mark.turns
@pytest.mark.parametrize("kind", ["memmap", "zarr", "iterator"])
def test_streams_sample_the_same_posterior(line, kind, tmp_path):
    params, (x, y), exact = line
    if kind == "memmap":
        maps = []
        for name, array in (("x", x), ("y", y)):
            np.save(tmp_path / f"{name}.npy", array.astype(np.float32))
            maps.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
        data = tuple(maps)
    elif kind == "zarr":
        import zarr

        data = tuple(zarr.array(array.astype(np.float32), chunks=(100, *array.shape[1:]))
                     for array in (x, y))  # fmt: skip
    else:
        order = np.random.default_rng(1).permutation(ROWS)

        def data():
            for part in np.array_split(order, ROWS // 50):
                yield x[part].astype(np.float32), y[part].astype(np.float32)

    posterior = sltprob.local(line_rows, params, data, nbeta=NBETA, gamma=GAMMA)
    run = sltprob.sample(posterior, "sgld", draws=300, warmup=200, batch_size=50, half_step=False)
    raw, corrected, _ = raw_and_corrected(run)
    error = sltprob.estimate(run).mcse
    assert corrected - 5 * error < exact < raw + 5 * error


def test_weights_make_rows_count_as_often(line):
    """Rows of weight two are rows that are there twice, and of weight zero none."""
    params, (x, y), _ = line
    weights = np.repeat([2.0, 0.0], ROWS // 2)
    weighted = around(line, weights=weights)
    half = sltprob.local(line_rows, params, (x[: ROWS // 2], y[: ROWS // 2]), nbeta=1.0)
    assert weighted.minimum_loss == pytest.approx(half.minimum_loss, rel=1e-6)
    assert float(jnp.mean(weighted.baseline)) == pytest.approx(half.minimum_loss, rel=1e-5)


def test_tokens_may_have_weights(line):
    params, (x, y), _ = line

    def tokens(params, batch):
        losses = line_rows(params, batch)
        return jnp.stack([losses, 3 * losses], axis=1), {"aux": 1}

    plain = sltprob.local(tokens, params, (x, y), nbeta=1.0)
    only = sltprob.local(tokens, params, (x, y), nbeta=1.0, weights=np.tile([1.0, 0.0], (ROWS, 1)))
    assert plain.minimum_loss == pytest.approx(2 * only.minimum_loss, rel=1e-6)


@pytest.mark.turns
def test_observables_are_recorded_with_their_own_center(line):
    """The observable is the loss itself: the same mean as the record."""
    data = line[1]
    posterior = around(line, observables={"same": (data, line_rows)})
    run = sltprob.sample(posterior, "sgld", draws=50, warmup=20, record="all", half_step=False)
    seen = run["sample_stats"]["observable_same"].values
    excess = run["sample_stats"]["loss"].values - run.attrs["minimum_loss"]
    np.testing.assert_allclose(seen, excess, rtol=1e-3, atol=1e-5)


# ---- parameters


@pytest.mark.turns
def test_a_mask_holds_what_it_hides(line):
    data = line[1]
    moving = np.arange(DIMENSION) < 10
    posterior = around(line, mask={"w": moving})
    assert posterior.dimension == 10
    run = sltprob.sample(posterior, "sgld", draws=600, warmup=200, keep="all", half_step=False)
    values = run["posterior"]["w"].values
    assert np.all(values[..., ~moving] == 0)
    assert np.all(np.ptp(values[..., moving], axis=1) > 0)
    curvatures = np.linalg.eigvalsh(data[0][:, :10].T @ data[0][:, :10] / ROWS)
    exact = 0.5 * np.sum(NBETA * curvatures / (NBETA * curvatures + GAMMA))
    found = sltprob.estimate(run)
    assert found.low < exact < found.high


class Nnx(nnx.Module):
    def __init__(self):
        self.hidden = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
        self.readout = nnx.Linear(4, 1, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.readout(jnp.tanh(self.hidden(x)))


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(1)(jnp.tanh(linen.Dense(4)(x)))


def networks():
    network = eqx.nn.MLP(3, 1, 4, 1, activation=jnp.tanh, key=jax.random.key(0))
    params, static = eqx.partition(network, eqx.is_inexact_array)
    yield "equinox", params, lambda p, x: jax.vmap(eqx.combine(p, static))(x)
    graph, state = nnx.split(Nnx())
    yield "nnx", state, lambda p, x: nnx.merge(graph, p)(x)
    module = Linen()
    yield "linen", module.init(jax.random.key(0), jnp.zeros((1, 3))), module.apply


@pytest.mark.turns
@pytest.mark.parametrize(
    ("params", "apply"), [pytest.param(p, a, id=name) for name, p, a in networks()]
)
def test_networks_of_all_libraries(params, apply):
    x = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)

    def rows(params, batch):
        return jnp.sum((apply(params, batch) - 1.0) ** 2, axis=1)

    posterior = sltprob.local(rows, params, x, nbeta=10.0)
    assert posterior.dimension == 3 * 4 + 4 + 4 + 1
    run = sltprob.sample(posterior, "sgld", draws=20, warmup=20, batch_size=16, half_step=False)
    assert np.all(np.isfinite(run["sample_stats"]["loss"].values))
    assert (
        "readout" in " ".join(posterior.center)
        or "ayer" in " ".join(posterior.center)
        or ("Dense" in " ".join(posterior.center))
    )


def test_what_is_no_parameter_is_frozen_and_named(line):
    params = {"w": jnp.zeros(DIMENSION), "steps": jnp.asarray(3), "name": "net", "b": jnp.ones(2)}
    posterior = sltprob.local(line_rows, params, line[1], nbeta=1.0, mask="w")
    assert set(posterior.frozen) == {"steps", "name", "b"}
    assert "frozen: b, name, steps" in repr(posterior)


class Normalised(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(1)(linen.BatchNorm(use_running_average=True)(linen.Dense(4)(x)))


def normalised():
    module = Normalised()
    yield "linen", module.init(jax.random.key(0), jnp.zeros((1, 3))), module.apply
    layers = (
        nnx.Linear(3, 4, rngs=nnx.Rngs(0)),
        nnx.BatchNorm(4, use_running_average=True, rngs=nnx.Rngs(1)),
        nnx.Linear(4, 1, rngs=nnx.Rngs(2)),
    )
    graph, state = nnx.split(nnx.Sequential(*layers))
    yield "nnx", state, lambda p, x: nnx.merge(graph, p)(x)


@pytest.mark.parametrize(
    ("params", "apply"), [pytest.param(p, a, id=name) for name, p, a in normalised()]
)
def test_running_statistics_of_batches_are_no_parameters(params, apply):
    """Two means and variances of four; scale and bias of the layer are trained."""
    x = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)

    def rows(params, batch):
        return jnp.sum((apply(params, batch) - 1.0) ** 2, axis=1)

    trained = 3 * 4 + 4 + 4 + 4 + 4 + 1
    for mask in (None, "*", lambda site: True):
        posterior = sltprob.local(rows, params, x, nbeta=10.0, mask=mask)
        assert posterior.dimension == trained
        assert re.search(r"no parameters, and frozen: \S*mean\S*, \S*var", repr(posterior))
    run = sltprob.sample(
        posterior, "sgld", draws=20, warmup=20, batch_size=16, keep="all", half_step=False
    )
    assert set(run["posterior"].data_vars).isdisjoint(posterior.frozen)
    assert len(sltprob.from_loss(rows, params, x).frozen) == 2


# ---- verdicts


def failed(run):
    return {check.name.partition("[")[0] for check in sltprob.diagnose(run).failed}


@pytest.mark.turns
def test_a_frozen_leaf_is_not_changed(line):
    params, data, _ = line

    def loss(params, batch):
        return line_rows({"w": params["w"]}, batch)

    for leaf, words in (
        (np.array([2**40]), "beyond 32 bits"),
        (np.array("mlp"), "no array of num"),
    ):
        with jax.enable_x64(False), pytest.raises(ValueError, match=words):
            sltprob.local(loss, {**params, "other": leaf}, data)


def test_parameters_that_are_no_minimum_are_found_out(line):
    params, data, _ = line
    off = {"w": params["w"].at[0].set(0.5)}
    posterior = sltprob.local(line_rows, off, data, nbeta=NBETA, gamma=GAMMA)
    run = sltprob.sample(posterior, "sgld", draws=300, warmup=100, half_step=False)
    verdict = sltprob.diagnose(run)
    assert verdict.status == "wrong"
    assert "local_minimum" in failed(run)
    assert "train on" in str(verdict)


@pytest.mark.turns
def test_a_step_that_is_too_large_is_found_out_and_another_is_named(line):
    good = sltprob.sample(around(line), "sgld", draws=300, warmup=200, half_step=False)
    step = 10 * good.attrs["step_size"]
    run = sltprob.sample(
        around(line), "sgld", step_size=step, draws=300, warmup=200, half_step=False
    )
    assert "local_step_bias" in failed(run)
    advice = next(c for c in sltprob.diagnose(run).failed if c.name == "local_step_bias").advice
    wanted = float(advice.partition("step_size=")[2].partition(",")[0])
    again = sltprob.sample(
        around(line), "sgld", step_size=wanted, draws=600, warmup=200, half_step=False
    )
    assert "local_step_bias" not in failed(again)


def test_a_chain_on_a_plateau_has_left_the_basin():
    """A well of depth one and width one in 40 dimensions, and nothing that holds a chain there."""

    def well(params, batch):
        return (1 - jnp.exp(-0.5 * jnp.sum(params["w"] ** 2))) * batch

    posterior = sltprob.local(
        well, {"w": jnp.zeros(40)}, np.ones(100, np.float32), nbeta=20.0, gamma=0.1
    )
    run = sltprob.sample(posterior, "sgld", step_size=0.01, draws=200, warmup=200, half_step=False)
    verdict = sltprob.diagnose(run)
    assert verdict.status == "wrong"
    assert "local_basin" in failed(run)
    assert "gamma=1 or more" in str(verdict)


def test_rows_with_large_differences_make_the_record_noisy(line):
    """A minibatch of two rows at a low temperature says little about the mean loss."""
    options = {"batch_size": 2, "steps_per_draw": 1, "step_size": 1e-4, "half_step": False}
    run = sltprob.sample(around(line), "sgld", draws=50, warmup=20, **options)
    assert "local_record_noise" in failed(run)


@pytest.mark.turns
def test_a_kernel_that_moves_by_another_rule_is_found_out(line, monkeypatch):
    from sltprob.samplers.sgld import SGLD

    advance = SGLD.local_advance

    def broken(self, key, displacement, memory, gradient, parameters):
        double = {**parameters, "step_size": 2 * parameters["step_size"]}
        half = jax.tree.map(lambda leaf: 0.5 * leaf, gradient)
        return advance(self, key, displacement, memory, half, double)

    monkeypatch.setattr(compilation, "programs", {})
    monkeypatch.setattr(SGLD, "local_advance", broken)
    run = sltprob.sample(around(line), "sgld", draws=500, warmup=200, half_step=False)
    monkeypatch.setattr(compilation, "programs", {})
    assert "local_virial" in failed(run)


@pytest.mark.parametrize(("sampler", "center"), [("sgld", 1e6), ("preconditioned_sgld", 3e6)])
def test_parameters_that_floating_point_does_not_resolve_are_found_out(line, sampler, center):
    """A spacing of three quarters of the basin's width adds a tenth to λ̂; of a fiftieth nothing."""
    x = np.linalg.qr(line[1][0][:, :20])[0] * math.sqrt(ROWS)
    y = line[1][1] - x @ (x.T @ line[1][1]) / ROWS
    options = {"draws": 100, "warmup": 100, "half_step": False}

    def around_a_large(center):
        def rows(params, batch):
            return 0.5 * (batch[0] @ (params["w"] - center) - batch[1]) ** 2

        params = {"w": np.full(20, center)}
        return sltprob.local(rows, params, (x, y), nbeta=145.0, gamma=1.0)

    run = sltprob.sample(around_a_large(center), sampler, **options)
    assert "local_resolution" in failed(run)
    assert "dtype='float64'" in str(sltprob.diagnose(run))
    near = sltprob.sample(around_a_large(3e4), sampler, **options)
    assert "local_resolution" not in failed(near)


def test_a_loss_in_half_precision_is_no_smooth_function():
    """λ̂ of the quadratic is 10: rounding to bfloat16 adds a quarter, which no trace shows."""
    generator = np.random.default_rng(0)
    x = 10 * generator.normal(size=(2000, 20))
    w = np.asarray(jnp.asarray(generator.normal(size=20), jnp.bfloat16), np.float32)
    y = x @ w + generator.normal(size=2000)

    def rows(params, batch):
        seen = params["w"].astype(jnp.bfloat16).astype(jnp.float32)
        return 0.5 * (batch[0] @ seen - batch[1]) ** 2

    options = {"draws": 100, "warmup": 100, "half_step": False}
    run = sltprob.sample(sltprob.local(rows, {"w": w}, (x, y), nbeta=480.0), "sgld", **options)
    assert run.attrs["loss_dtype"] == "bfloat16"
    assert "local_resolution" in failed(run)
    assert "let the loss compute in float32" in str(sltprob.diagnose(run))


def test_a_run_is_saved_and_judged_again_the_same(line, tmp_path):
    run = sltprob.sample(around(line), "sgld", draws=100, warmup=100, half_step=True)
    sltprob.save(run, tmp_path / "run.nc")
    again = sltprob.load(tmp_path / "run.nc")
    assert sltprob.estimate(again) == sltprob.estimate(run)
    assert str(sltprob.diagnose(again)) == str(sltprob.diagnose(run))


def test_the_same_seed_draws_the_same_and_another_does_not(line):
    runs = [
        sltprob.sample(around(line), "sgld", draws=20, warmup=20, seed=s, half_step=False)
        for s in (0, 0, 1)
    ]
    first, same, other = (run["sample_stats"]["loss"].values for run in runs)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


class Kept:
    """Pieces in memory."""

    def __init__(self, pieces=()):
        self.pieces = list(pieces)

    def restore(self):
        return list(self.pieces)

    def save(self, piece):
        self.pieces.append([np.array(array) for array in piece])


@pytest.mark.turns
@pytest.mark.parametrize(
    ("sampler", "streamed"), [("sgnht", False), ("sgld", True), ("preconditioned_sgld", True)]
)
def test_a_run_goes_on_from_its_last_piece_bit_for_bit(line, sampler, streamed, tmp_path):
    """Cut in the warm-up, among the draws, and in the run at half the step."""
    params, data, _ = line
    if streamed:
        np.save(tmp_path / "x.npy", data[0].astype(np.float32))
        np.save(tmp_path / "y.npy", data[1].astype(np.float32))
        data = tuple(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")
    posterior = sltprob.local(line_rows, params, data, nbeta=NBETA, gamma=GAMMA)
    options = {"draws": 50, "warmup": 50, "chains": 2, "half_step": True}
    kept = Kept()
    whole = sltprob.sample(posterior, sampler, checkpoint=kept, **options)
    for count in (3, len(kept.pieces) - 15, len(kept.pieces) - 2):
        again = sltprob.sample(posterior, sampler, checkpoint=Kept(kept.pieces[:count]), **options)
        for group in ("sample_stats", "half_step_sample_stats"):
            for name, value in whole[group].data_vars.items():
                np.testing.assert_array_equal(again[group][name], value)


@pytest.mark.turns
def test_a_run_stops_at_its_target_half_the_step_included(line):
    """The error that is reported is at most the target, be there one step or two."""
    run = sltprob.sample(
        around(line), "sgld", draws=4000, warmup=100, target_mcse=0.3, half_step=True
    )
    for group in ("sample_stats", "half_step_sample_stats"):
        assert 100 <= run[group]["loss"].shape[1] < 2000
    assert sltprob.estimate(run).mcse <= 0.3
    longer = sltprob.sample(
        around(line), "sgld", draws=4000, warmup=100, target_mcse="1%", half_step=False
    )
    assert run["sample_stats"]["loss"].shape[1] < longer["sample_stats"]["loss"].shape[1] < 4000
    found = sltprob.estimate(longer)
    assert found.mcse <= 0.01 * found.value


@pytest.mark.turns
def test_half_the_step_ends_when_its_own_error_is_small_beside_its_bias(line):
    told = []
    run = sltprob.sample(
        around(line), "sgld", draws=2000, warmup=100, target_rho=0.2, progress=told.append
    )
    found = estimate_of(Run.of(run))
    halved = run["half_step_sample_stats"]
    assert run["sample_stats"]["loss"].shape[1] == 2000
    assert 100 <= halved["loss"].shape[1] < 2000
    assert found.half_step_error <= found.halved[1] / 8
    # A stage of its own, with the estimate as it is reported in the end, and in the seconds.
    stages = list(dict.fromkeys(one.stage for one in told))
    assert stages == ["compile", "warm-up", "sample", "half step", "done"]
    last = [one for one in told if one.stage == "half step"][-1]
    assert last.lambda_hat == told[-1].lambda_hat == pytest.approx(found.value, rel=1e-12)
    assert run.attrs["seconds_sampling"] >= last.seconds
    drawn = run["sample_stats"]["num_gradients"].sum() + halved["num_gradients"].sum()
    assert summarise(run)["gradients"] == pytest.approx(float(drawn))


@pytest.mark.parametrize("endless", [True, False])
def test_batches_of_other_shapes_than_the_first_end_the_run(line, endless):
    params, (x, y), _ = line

    def batches():
        yield x[:64], y[:64]
        while endless:
            yield x[:32], y[:32]
        yield x[:32], y[:32]

    data = batches if endless else batches()
    posterior = sltprob.local(line_rows, params, data, nbeta=NBETA)
    with pytest.raises(ValueError, match=r"\(32, .*differ from the first, of shapes \[\(64, "):
        sltprob.sample(posterior, "sgld", draws=20, warmup=20)


# ---- refusals


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gamma": -1}, "gamma=-1: it must be >= 0"),
        ({"nbeta": "large"}, "nbeta='large': it must be a number or 'wbic'"),
        ({"nbeta": 0}, "nbeta=0: it must be > 0"),
        ({"nbeta": 1e30}, "nbeta=1e+30: it must be at most"),
        ({"nbeta": np.ones(3)}, "nbeta=array([1., 1., 1.]): it must be > 0"),
        ({"nbeta": True}, "nbeta=True: it must be > 0"),
        ({"mask": {"w": np.linspace(0, 1, DIMENSION)}}, "mask of 'w' has the value 0.03"),
        ({"mask": "layers*"}, "names no site"),
        ({"mask": {"v": True}}, "of another structure than params"),
        ({"mask": lambda site: False}, "no parameter is left to move"),
        ({"weights": np.ones(3)}, "give a number >= 0 for each of the 2000 rows"),
        ({"dtype": "float16"}, "it must be 'float32' or 'float64'"),
        ({"observables": {"o": 3}}, "must be (data, loss_rows)"),
        ({"weights": {"a": 1}}, "weights is a dict; give an array of numbers"),
        ({"nbeta": np.ones(2)}, "it must be > 0 and finite"),
        ({"row_losses": {"a/b": (np.ones(3), line_rows)}}, "row_losses has the name 'a/b'"),
        ({"observables": {"a/b": (np.ones(3), line_rows)}}, "observables has the name 'a/b'"),
        ({"observables": {3: (np.ones(3), line_rows)}}, "observables has the name 3"),
        ({"row_losses": {"": (np.ones(3), line_rows)}}, "row_losses has the name ''"),
    ],
)
def test_what_cannot_be_meant_is_refused(line, changes, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        around(line, **changes)


def test_row_losses_have_names(line):
    with pytest.raises(TypeError, match=re.escape("row_losses is a list; write {name: (data, ")):
        around(line, row_losses=[((np.ones((3, DIMENSION)), np.ones(3)), line_rows)])


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([(1.0, 2.0)], "must have one row per datum"),
        ([(np.ones((4, DIMENSION)), np.ones(3))], "must have one row per datum"),
        ([(["a", "b"], ["c", "d"])], "give arrays of numbers"),
        ([], "the iterator of batches is empty"),
        ([(np.ones((4, DIMENSION)), np.ones(4))], "cannot begin again; give a data loader, or a"),
    ],
)
def test_batches_of_a_stream_have_rows(line, batches, words):
    with pytest.raises(ValueError, match=words):
        sltprob.sample(sltprob.local(line_rows, line[0], iter(batches), nbeta=NBETA), "sgld")


@pytest.mark.parametrize("sizes", [(50, 50, 50), (50, 50, 20)])
def test_a_list_of_batches_is_handed_over_as_a_function(line, sizes):
    params, (x, y), _ = line
    batches = [(x[:size], y[:size]) for size in sizes]
    with pytest.raises(ValueError, match="a list of batches as lambda: batches"):
        sltprob.local(line_rows, params, batches, nbeta=NBETA)
    assert sltprob.local(line_rows, params, lambda: batches, nbeta=NBETA).stream.batch_size == 50


def test_a_data_loader_is_a_stream(line):
    params, (x, y), _ = line

    class Loader:
        def __iter__(self):
            return ((x[start : start + 50], y[start : start + 50]) for start in range(0, 500, 50))

        def __len__(self):
            return 10

    few = {"draws": 20, "warmup": 20, "seed": 1}
    runs = [
        sltprob.sample(sltprob.local(line_rows, params, data, nbeta=NBETA), "sgld", **few)
        for data in (Loader(), lambda: iter(Loader()))
    ]
    losses = [run["sample_stats"]["loss"].values for run in runs]
    np.testing.assert_array_equal(losses[0], losses[1])


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda p, b: jnp.mean(line_rows(p, b)), "leave the mean out"),
        (lambda p, b: line_rows(p, b) > 1, "it must be of floating point"),
        (lambda p, b: p["nope"], "KeyError: 'nope'"),
        (lambda p, b: np.asarray(line_rows(p, b)), "written in jax.numpy"),
        (lambda p, b: line_rows(p, b) - jnp.mean(line_rows(p, b)), "the rows beside it"),
        (lambda p, b: line_rows(p, b)[:, None] * jnp.ones((1, 5)), None),
        (lambda p, b: jnp.stack([line_rows(p, b)] * 8), "of 4 rows has 8 values on its first axis"),
    ],
)
def test_a_loss_is_one_value_per_row(line, loss, words):
    params, data, _ = line
    if words is None:
        assert sltprob.local(loss, params, data).num_rows == ROWS
        return
    with pytest.raises(ValueError, match=words):
        sltprob.local(loss, params, data)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"record": "some"}, "record='some'"),
        ({"step_size": -1.0}, "step_size=-1.0"),
        ({"step_size": "1e-3"}, "step_size='1e-3': it must be a positive number"),
        ({"init": "zero"}, "init='zero'"),
        ({"target_rho": 0.5}, "target_rho=0.5"),
        ({"target_rho": "8%"}, "target_rho='8%': it must be a number between 0 and 0.3"),
        ({"step_size": True}, "step_size=True"),
        ({"batch_size": True}, "batch_size=True"),
        ({"half_step": "no"}, "half_step='no': it must be True, False, or None"),
        ({"vectorized": 1}, "vectorized=1"),
    ],
)
def test_options_out_of_range_are_refused(line, options, words):
    with pytest.raises(ValueError, match=words):
        sltprob.sample(around(line), "sgld", **options)


def test_numbers_of_numpy_count_and_what_a_run_does_not_take_is_refused(line):
    options = {"draws": 20, "warmup": 20, "half_step": np.False_}
    sizes = {"batch_size": np.int64(64), "steps_per_draw": np.int32(3)}
    sizes["step_size"] = jnp.asarray(1e-4)
    run = sltprob.sample(around(line), "sgld", **sizes, **options)
    assert (run.attrs["batch_size"], run.attrs["steps_per_draw"]) == (64, 3)
    with pytest.raises(ValueError, match="is around trained parameters, and what is probed"):
        sltprob.probe(run, posterior=around(line))
    with pytest.raises(ValueError, match="takes the loss of every row less that at the parameters"):
        sltprob.estimate(run, minimum_loss=0.4)


def test_options_of_minibatches_do_not_go_with_other_posteriors(line):
    with pytest.raises(ValueError, match=r"sgld\[batch_size="):
        sltprob.sample(sltprob.temper(sltprob.models.get("cusp"), beta=1.0), "sgld", batch_size=3)


def test_at_changes_what_it_says(line):
    posterior = around(line)
    other = posterior.at(nbeta=7, gamma=2)
    assert (float(other.nbeta), float(other.gamma)) == (7, 2)
    assert replace(other, nbeta=posterior.nbeta, gamma=posterior.gamma).center is posterior.center


@pytest.mark.turns
@pytest.mark.parametrize("sampler", ["sgld", "sghmc"])
def test_warm_up_finds_a_step_in_a_narrow_basin_beside_a_plateau(sampler):
    """Thrown out of it, a chain has no gradient that would tell that its step is too large."""
    x = np.random.default_rng(0).standard_normal((500, 10)) * np.logspace(0, -1, 10)

    def bounded_rows(params, batch):
        return 100 * (1 - jnp.exp(-0.5 * (batch @ params) ** 2))

    posterior = sltprob.local(bounded_rows, np.zeros(10), x, nbeta=1000.0, gamma=10.0)
    run = sltprob.sample(posterior, sampler, batch_size=32, draws=200, warmup=200, seed=0)
    curvatures = np.linalg.eigvalsh(1e5 * x.T @ x / len(x))
    exact = float(np.sum(curvatures / (curvatures + 10.0))) / 2
    found = sltprob.estimate(run)
    assert found.low < exact < found.high
    assert found.high - found.low < 0.5 * exact
