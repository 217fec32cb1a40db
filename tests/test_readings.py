"""Is what the user gave read in the one way that it can mean, and refused where there are two?

The kinds come from public bug reports of NumPyro, PyMC, ArviZ, devinterp and scikit-learn: shapes
that broadcast, plates that are no data, losses that are no means, points that are no minima.
"""

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from flax import nnx
from numpyro.contrib.module import random_eqx_module, random_nnx_module
from scipy.optimize import minimize
from scipy.special import gammaln

import sltprob
from sltprob import temper

GENERATOR = np.random.default_rng(11)
X = GENERATOR.normal(size=(24, 3))
Y = X @ [1.0, -1.0, 0.5] + GENERATOR.normal(size=24)
SHORT = {"draws": 400, "warmup": 250}


def coefficients(columns=3):
    return numpyro.sample("b", dist.Normal(0.0, 10.0).expand([columns]).to_event(1))


def line(x, y=None):
    numpyro.sample("y", dist.Normal(x @ coefficients(), 1.0), obs=y)


@pytest.fixture(autouse=True)
def _as_where_a_user_runs_it():
    with jax.numpy_rank_promotion("allow"):
        yield


# ---- what counts as a datum


def column_mean(x, y=None):
    b = numpyro.sample("b", dist.Normal(0.0, 10.0).expand([3, 1]).to_event(2))
    numpyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)


def row_scale(x, y=None):
    scale = numpyro.sample("s", dist.HalfNormal(1.0).expand([24, 1]).to_event(2))
    numpyro.sample("y", dist.Normal(x @ coefficients(), scale), obs=y)


@pytest.mark.parametrize("program", [column_mean, row_scale])
def test_observations_never_broadcast_against_means(program):
    with pytest.raises(ValueError, match=r"'y'.*24 log likelihoods|\(24, 24\)"):
        temper(program, {"x": X, "y": Y}, beta=24.0)


def columns_plate(y=None):
    m = numpyro.sample("m", dist.Normal(0.0, 10.0).expand([3]).to_event(1))
    with numpyro.plate("columns", 3):
        numpyro.sample("y", dist.Normal(m, 1.0), obs=y)


def test_a_plate_over_columns_is_not_the_data_in_silence():
    data = {"y": np.zeros((50, 3))}
    with pytest.raises(ValueError, match=r"50 data.*3 data.*rows="):
        temper(columns_plate, data, beta=50.0)
    assert temper(columns_plate, data, beta=50.0, rows=0).num_rows == 50
    assert temper(columns_plate, data, beta=3.0, rows="columns").num_rows == 3
    with pytest.raises(ValueError, match="is no plate"):
        temper(columns_plate, data, beta=50.0, rows="lines")
    with pytest.raises(ValueError, match="from 0 to 1"):
        temper(columns_plate, data, beta=50.0, rows=2)


def test_two_observed_sites_have_their_rows_in_common():
    def two(x, y=None, z=None):
        mean = x @ coefficients()
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)
        numpyro.sample("z", dist.Poisson(jnp.exp(0.0 * mean)), obs=z)

    both = temper(two, {"x": X, "y": Y, "z": np.ones(24)}, beta=24.0)
    assert both.num_rows == 24
    assert "y by axis 0, z by axis 0" in repr(both)

    def unequal(x, y=None, z=None):
        numpyro.sample("y", dist.Normal(x @ coefficients(), 1.0), obs=y)
        numpyro.sample("z", dist.Normal(0.0, 1.0).expand([5]), obs=z)

    with pytest.raises(ValueError, match=r"'z'.*5 data"):
        temper(unequal, {"x": X, "y": Y, "z": np.zeros(5)}, beta=24.0)


def test_what_a_mask_hides_is_no_datum():
    seen = np.arange(24) < 10

    def masked(x, seen, y=None):
        numpyro.sample("y", dist.Normal(x @ coefficients(), 1.0).mask(seen), obs=y)

    def partly(x, seen, y=None):
        numpyro.sample("y", dist.Normal(x @ coefficients(), 1.0), obs=y, obs_mask=seen)

    posterior = temper(masked, {"x": X, "y": Y, "seen": seen}, beta=10.0)
    assert posterior.num_rows == 10
    alone = temper(line, {"x": X[:10], "y": Y[:10]}, beta=10.0)
    at = {"b": jnp.ones(3)}
    np.testing.assert_allclose(posterior.logdensity(at), alone.logdensity(at), rtol=1e-12)
    with pytest.raises(ValueError, match="obs_mask"):
        temper(partly, {"x": X, "y": Y, "seen": seen}, beta=24.0)
    with pytest.raises(ValueError, match="hides all data"):
        temper(masked, {"x": X, "y": Y, "seen": seen & False}, beta=10.0)


def test_a_posterior_shows_what_was_read_and_no_data():
    text = repr(temper(line, {"x": X, "y": Y}, beta=24.0))
    assert "x (24, 3), y (24,)" in text
    assert "24 data" in text
    assert "b (3,)" in text
    assert f"{Y[0]:.4f}" not in text


# ---- data at the door


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"y": np.where(np.arange(24) == 7, np.nan, Y)}, r"data\['y'\] is nan in row 7 \(1 of 24"),
        ({"y": np.where(np.arange(24) > 21, np.inf, Y)}, r"data\['y'\] is infinite in row 22 \(2"),
        ({"x": X[:0], "y": Y[:0]}, "no rows"),
        ({"x": np.where(X[3, 1] == X, np.nan, X)}, "row 3, column 1"),
        ({"y": pd.Series(["a"] * 24)}, r"data\['y'\] is text \('a'\) in row 0"),
        ({"y": pd.Series([1.0, None] * 12)}, r"data\['y'\] is nan in row 1 \(12 of 24"),
        ({"y": Y + 1j}, "complex"),
        ({"y": pd.date_range("2020", periods=24)}, "dates"),
        ({"y": np.ma.masked_greater(Y, 1.0)}, "is masked in row"),
        ({"y": [[1.0], [2.0, 3.0]]}, "different lengths"),
        ({"z": Y}, "cannot be called with data"),
    ],
)
def test_what_is_no_number_is_named_with_its_place(bad, words):
    with pytest.raises(ValueError, match=words):
        temper(line, {"x": X, "y": Y, **bad}, beta=24.0)


def test_columns_of_every_table_are_data():
    expected = temper(line, {"x": X, "y": Y}, beta=24.0)
    polars = pytest.importorskip("polars")
    xarray = pytest.importorskip("xarray")
    for column in (pd.Series(Y), polars.Series(Y), xarray.DataArray(Y), list(Y)):
        posterior = temper(line, {"x": X, "y": column}, beta=24.0)
        assert set(posterior.structure.rows) == {"x", "y"}
        assert posterior.structure == expected.structure  # and so is compiled once


# ---- priors and starts


@pytest.mark.turns
def test_an_improper_prior_takes_a_start_and_no_ladder():
    """A flat prior: λ̂ = d/2. False-alarm rate of |z| < 5: 6e-7."""

    def flat(x, y=None):
        b = numpyro.sample("b", dist.ImproperUniform(dist.constraints.real_vector, (), (3,)))
        numpyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)

    posterior = temper(flat, {"x": X, "y": Y}, beta=24.0)
    run = sltprob.sample(posterior, "mala", init={"b": np.zeros(3)}, draws=90, warmup=250)
    best = np.linalg.lstsq(X, Y, rcond=None)[0]
    least = 0.5 * np.mean((Y - X @ best) ** 2) + 0.5 * np.log(2 * np.pi)
    found = sltprob.estimate(run, minimum_loss=least)
    assert abs(found.value - 1.5) < 5 * found.mcse
    with pytest.raises(ValueError, match=r"'b' is improper"):
        sltprob.sample(posterior, "replica_exchange")


@pytest.mark.turns
def test_a_start_is_looked_for_where_the_prior_has_none():
    counts = np.random.default_rng(0).poisson(np.exp(0.2 * 5 * X[:, 0]))

    def poisson(x, k=None):
        b = numpyro.sample("b", dist.Normal(0.0, 100.0).expand([3]).to_event(1))
        numpyro.sample("k", dist.Poisson(jnp.exp(x @ b)), obs=k)

    def loss(b):
        rates = 5 * X @ b
        return np.mean(np.exp(rates) - counts * rates + gammaln(counts + 1))

    posterior = temper(poisson, {"x": 5 * X, "k": counts}, beta=24.0)
    run = sltprob.sample(posterior, "mala", draws=40, warmup=250)
    assert run.attrs["init"] == "near zero"
    found = sltprob.estimate(run, minimum_loss=minimize(loss, np.zeros(3)).fun)
    assert abs(found.value - 1.5) < 0.4

    def never(x, y=None):
        b = numpyro.sample("b", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(jnp.log(-1 - b**2) * x[:, 0], 1.0), obs=y)

    with pytest.raises(ValueError, match=r"init=\{'b': \.\.\.\}"):
        sltprob.sample(temper(never, {"x": X, "y": Y}, beta=24.0), "hmc")


@pytest.mark.turns
def test_a_site_without_coordinates_changes_nothing():
    def empty(x, y=None):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        e = numpyro.sample("e", dist.Normal(0.0, 1.0).expand([x.shape[1]]).to_event(1))
        numpyro.sample("y", dist.Normal(a + x @ e, 1.0), obs=y)

    posterior = temper(empty, {"x": np.zeros((24, 0)), "y": Y}, beta=24.0)
    run = sltprob.sample(posterior, "mala", draws=90, warmup=250)
    # So few draws that scouts are not compiled, and nothing else is wrong.
    failed = {check.name for check in sltprob.diagnose(run).failed}
    assert failed <= {"ess_bulk", "ess_tail", "mcse"}


def test_a_module_with_priors_is_a_program():
    layer = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    other = equinox.nn.Linear(3, 1, key=jax.random.key(0))

    def network(x, y=None):
        f = random_nnx_module("net", layer, dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(f(x)[:, 0], 1.0), obs=y)

    def half(x, y=None):
        f = random_nnx_module("net", layer, {"kernel": dist.Normal(0.0, 1.0)})
        numpyro.sample("y", dist.Normal(f(x)[:, 0], 1.0), obs=y)

    def equinox_network(x, y=None, prior=None):
        f = random_eqx_module("net", other, prior or dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(jax.vmap(f)(x)[:, 0], 1.0), obs=y)

    def equinox_half(x, y=None):
        equinox_network(x, y, {"weight": dist.Normal(0.0, 1.0)})

    for program in (network, equinox_network):
        assert temper(program, {"x": X, "y": Y}, beta=24.0).dimension == 4
    for program in (half, equinox_half):
        with pytest.raises(ValueError, match="1 of its arrays have no prior"):
            temper(program, {"x": X, "y": Y}, beta=24.0)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("chain",), "for an axis"),
        (("a/b", "a.b"), "under one name"),
        (("x", "x_dim_0"), "an axis"),
    ],
)
def test_names_that_a_file_cannot_keep_apart_are_refused(names, words):
    def named(y=None):
        total = 0.0
        for name in names:
            total = total + jnp.sum(numpyro.sample(name, dist.Normal(0.0, 1.0).expand([2])))
        numpyro.sample("y", dist.Normal(total, 1.0).expand([24]), obs=y)

    with pytest.raises(ValueError, match=words):
        temper(named, {"y": Y}, beta=24.0)


@pytest.mark.turns
def test_names_with_slashes_survive_the_file(tmp_path):
    def named(y=None):
        mean = numpyro.sample("net/layer.0", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mean, 1.0).expand([24]), obs=y)

    run = sltprob.sample(temper(named, {"y": Y}, beta=24.0), "mala", draws=50, warmup=50)
    back = sltprob.load(sltprob.save(run, tmp_path / "run.nc"))
    assert list(back["posterior"].data_vars) == list(run["posterior"].data_vars)
    assert back.identical(run)


def test_a_plate_of_fixed_size_and_statistics_refuse_minibatches():
    def fixed(x, y=None):
        b = coefficients()
        with numpyro.plate("rows", 24):
            numpyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)

    def centred(x, y=None):
        numpyro.sample("y", dist.Normal((x - x.mean(0)) @ coefficients(), 1.0), obs=y)

    for program, words in ((fixed, r"plate\('rows', x\.shape\[0\]\)"), (centred, "another one")):
        posterior = temper(program, {"x": X, "y": Y}, beta=24.0)
        with pytest.raises(ValueError, match=words):
            sltprob.sample(posterior, "sgld[batch_size=4]", draws=20, warmup=20)


# ---- losses


def squares(params, batch):
    return (batch[0] @ params["w"] - batch[1]) ** 2


PARAMS = {"w": jnp.asarray(np.linalg.lstsq(X, Y, rcond=None)[0])}


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda p, b: jnp.sqrt(jnp.mean(squares(p, b))), "no mean over rows"),
        (lambda p, b: jnp.sum(squares(p, b)), "their sum"),
        (lambda p, b: jnp.median(squares(p, b)), "no mean over rows"),
        (lambda p, b: squares(p, b)[:, None], r"loss\[:, 0\]"),
        (lambda p, b: squares(p, b) - jnp.mean(squares(p, b)), "rows beside it"),
        (lambda p, b: {"loss": jnp.mean(squares(p, b))}, "gives a dict"),
        (lambda p, b: (squares(p, b) > 1).astype(int), "real number of floating point"),
        (
            lambda p, b: jnp.mean(squares(p, b)) + 0.1 * jnp.sum(p["w"] ** 2) * len(b[1]),
            "their own",
        ),
    ],
)
def test_a_loss_is_held_to_be_a_mean_over_rows(loss, words):
    with pytest.raises(ValueError, match=words):
        sltprob.from_loss(loss, PARAMS, (X, Y))


@pytest.mark.parametrize(
    "loss",
    [
        squares,
        lambda p, b: jnp.mean(squares(p, b)),
        lambda p, b: (jnp.mean(squares(p, b)), {"rms": 0.0}),
        lambda p, b: (squares(p, b), None),
    ],
)
def test_a_loss_with_anything_beside_it_is_the_same_loss(loss):
    model = sltprob.from_loss(loss, PARAMS, (X, Y))
    assert model.minimum_loss == pytest.approx(float(jnp.mean(squares(PARAMS, (X, Y)))), rel=1e-12)


def test_every_leaf_is_sampled_or_named_as_frozen():
    def loss(params, batch):
        return (batch[0][:, 0] * params["scale"] * params["steps"] - batch[1]) ** 2

    params = {"scale": 0.5, "steps": 3, "empty": np.zeros((0, 2)), "phase": np.array(1j), "n": "a"}
    model = sltprob.from_loss(loss, params, (X, Y))
    assert list(model.priors) == ["scale"]
    assert set(model.frozen) == {"steps", "empty", "phase", "n"}
    with pytest.raises(ValueError, match="no parameter is left to sample"):
        sltprob.from_loss(loss, {"scale": 1, "steps": 3}, (X, Y))


@pytest.mark.turns
def test_a_point_that_is_no_minimum_is_not_trusted():
    """Draws lie below L*: λ̂ is far below zero, and no statistic of the chains shows it."""

    def loss(params, batch):
        return 0.5 * jnp.sum((params["w"][None] - batch) ** 2, axis=1)

    for start in (0.3, 3.0):
        model = sltprob.from_loss(loss, {"w": jnp.full(4, start)}, np.zeros((100, 4)))
        posterior = temper(model, beta=100.0, localization=1.0)
        run = sltprob.sample(posterior, "mala", init="optimum", **SHORT)
        verdict = sltprob.diagnose(run)
        assert verdict.status == "wrong"
        assert "minimum_loss" in [check.name for check in verdict.failed]


# ---- L*


def test_a_loss_without_a_least_value_is_refused():
    x, y = GENERATOR.normal(size=(6, 8)), GENERATOR.normal(size=6)

    def free(x, y=None):
        s = numpyro.sample("s", dist.HalfNormal(1.0))
        numpyro.sample("y", dist.Normal(x @ coefficients(8), s), obs=y)

    with pytest.raises(ValueError, match="no least value"):
        sltprob.find_optimum(temper(free, {"x": x, "y": y}, beta=6.0))


def test_an_optimum_says_whether_it_is_one():
    found = sltprob.find_optimum(temper(line, {"x": X, "y": Y}, beta=24.0))
    assert found.is_minimum
    assert found.curvature == pytest.approx(np.linalg.eigvalsh(X.T @ X / 24)[0], rel=1e-6)
    assert found.gradient < 1e-6
    assert 0 <= found.error < 1e-10
    assert max(found.losses) - min(found.losses) < 1e-8


@pytest.mark.turns
def test_few_divergences_are_enough():
    """Eight schools, centred: the neck of the funnel is missed, and the divergences say so."""
    sigma = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])

    def centred(sigma, y=None):
        mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
        theta = numpyro.sample("theta", dist.Normal(mu, tau).expand([8]).to_event(1))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)

    least = float(np.mean(np.log(sigma) + 0.5 * np.log(2 * np.pi)))
    posterior = temper(centred, {"sigma": sigma, "y": y}, beta=8.0, minimum_loss=least)
    run = sltprob.sample(posterior, "hmc", draws=1000, warmup=500)
    divergent = int(run["sample_stats"]["diverging"].sum())
    assert divergent > 4
    verdict = sltprob.diagnose(run)
    assert not verdict.trusted
    (check,) = [check for check in verdict.failed if check.name == "divergences"]
    assert "where tau is below 0." in check.advice
    assert "config={'theta': numpyro.infer.reparam.LocScaleReparam(0)})" in check.advice
    # Anywhere is no place; false-alarm rate 1e-3, of 15 columns and two ends.
    anywhere = np.random.default_rng(0).permutation(run["sample_stats"]["diverging"].values.ravel())
    run["sample_stats"]["diverging"].values = anywhere.reshape(4, 1000)
    (check,) = [check for check in sltprob.diagnose(run).failed if check.name == "divergences"]
    assert "Half of them" not in check.advice


# ---- compiled once


def test_equal_structures_are_one():
    first = temper(line, {"x": X, "y": Y}, beta=24.0)
    again = temper(line, {"x": 2 * X, "y": Y + 1}, beta=1.0)
    assert first.structure == again.structure
    assert hash(first.structure) == hash(again.structure)
    model = sltprob.models.get("regular[dimension=3]")
    other = sltprob.models.get("regular[dimension=3]")
    assert temper(model, beta=1.0).structure == temper(other, beta=2.0).structure
    assert jax.tree.structure(first) == jax.tree.structure(again)
