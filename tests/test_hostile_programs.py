"""Programs and data of a user's own that would go wrong in silence: each is right, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.contrib.control_flow import scan

import sltprob
from sltprob import temper

N = 20
generator = np.random.default_rng(0)
X, NOISE = generator.normal(size=N), generator.normal(size=N)
GROUP = np.arange(N) % 3


def line(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def groups(group, y=None):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0).expand([int(group.max()) + 1]).to_event(1))
    numpyro.sample("y", dist.Normal(mean[group], 1.0), obs=y)


@pytest.fixture
def single_precision():
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (1_600_000_000_000 + np.arange(N), "whole numbers beyond 32 bits in row 0"),
        (np.where(np.arange(N) == 3, 1e300, X), "beyond float32 in row 3"),
        (1.6e12 + 1e4 * X, "varies by less than float32 can tell"),
    ],
)
def test_single_precision_changes_no_data(single_precision, x, said):
    with pytest.raises(ValueError, match=said) as caught:
        temper(line, {"x": x, "y": NOISE}, beta=20.0)
    assert "data['x']" in str(caught.value)
    assert "numpyro.enable_x64()" in str(caught.value)
    temper(line, {"x": 1e3 + X, "y": NOISE}, beta=20.0)
    jax.config.update("jax_enable_x64", True)
    temper(line, {"x": x, "y": NOISE}, beta=20.0)


@pytest.mark.turns
def test_single_precision_takes_a_few_thousand_data(single_precision):
    x = np.random.default_rng(1).normal(size=3000)
    y = 0.3 * x + np.random.default_rng(2).normal(size=3000)
    posterior = temper(line, {"x": x, "y": y}, beta=3000.0)
    run = sltprob.sample(posterior, "hmc", draws=100, warmup=100, keep="loss")
    assert run.attrs["init"] == "prior"
    # What float32 cannot tell apart is said, and what to write.
    with pytest.raises(ValueError, match="enable_x64"):
        sltprob.sample(temper(line, {"x": 1e5 * x, "y": y}, beta=3000.0), "hmc")


def test_weights_of_a_table_are_shares():
    table = pd.DataFrame({"x": X, "y": NOISE, "weights": np.ones(N)})
    with pytest.raises(ValueError, match="weights sum to 20") as caught:
        temper(line, table, beta=20.0)
    assert "np.repeat" in str(caught.value)
    shares = temper(line, table.assign(weights=1 / N), beta=20.0)
    plain = temper(line, {"x": X, "y": NOISE}, beta=20.0)
    assert shares.loss({"slope": jnp.asarray(0.5)}) == pytest.approx(
        float(plain.loss({"slope": jnp.asarray(0.5)})), rel=1e-12
    )


def test_n_is_the_number_of_data_or_is_not_known():
    counts = np.arange(1.0, N + 1)
    data = sltprob.Data({"x": X, "y": NOISE}, counts / counts.sum())
    with pytest.raises(ValueError, match="beta=n: n is the number of data"):
        sltprob.evidence(line, data=data)


@pytest.mark.turns
def test_one_datum_has_an_evidence():
    run = sltprob.evidence(
        line, data={"x": np.array([2.0]), "y": np.array([1.0])}, draws=400, warmup=200, seed=3
    )
    exact = -0.5 * (np.log(2 * np.pi * 5) + 1 / 5)
    # Two-sided, one false alarm in 16,000.
    assert abs(run.log_marginal_likelihood - exact) < 4 * run.mcse
    with pytest.raises(ValueError, match="n is 1"):
        sltprob.compare(line, "hmc", "wbic", data={"x": np.array([2.0]), "y": np.array([1.0])})


def test_what_a_program_reads_outside_its_arguments_is_read_again():
    scale = [1.0]

    def model(y=None):
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mean, scale[0]).expand([N]), obs=y)

    def loss():
        return float(temper(model, {"y": NOISE}, beta=20.0).loss({"mean": jnp.zeros(())}))

    def exact():
        return float(np.mean(0.5 * (NOISE / scale[0]) ** 2) + np.log(scale[0] * np.sqrt(2 * np.pi)))

    assert loss() == pytest.approx(exact(), rel=1e-12)
    before = temper(model, {"y": NOISE}, beta=20.0)
    assert temper(model, {"y": NOISE[::-1]}, beta=3.0).structure == before.structure
    scale[0] = 0.1
    assert loss() == pytest.approx(exact(), rel=1e-12)
    with pytest.raises(ValueError, match="reads values outside its arguments"):
        sltprob.sample(before, "hmc", draws=20, warmup=20)


def test_what_a_loss_reads_outside_its_arguments_is_read_again():
    factor = [1.0]

    def rows(params, batch):
        return factor[0] * 0.5 * (params["w"] - batch) ** 2

    def minimum_losses():
        local = sltprob.local(rows, {"w": np.mean(NOISE)}, NOISE)
        other = sltprob.local(
            lambda params, batch: (params["w"] - batch) ** 2,
            {"w": np.mean(NOISE)},
            NOISE,
            observables={"rows": (NOISE, rows)},
        )
        whole = sltprob.from_loss(rows, {"w": jnp.mean(NOISE)}, NOISE)
        tempered = temper(whole, beta=5.0)
        return (
            local.minimum_loss,
            float(np.mean(other.observables["rows"].baseline)),
            whole.minimum_loss,
            float(tempered.loss({"w": jnp.mean(NOISE)})),
        )

    np.testing.assert_allclose(minimum_losses(), 0.5 * np.var(NOISE), rtol=1e-5)
    factor[0] = 100.0
    np.testing.assert_allclose(minimum_losses(), 50 * np.var(NOISE), rtol=1e-5)


@pytest.mark.turns
def test_a_program_may_look_at_its_data():
    y = GROUP + NOISE
    posterior = temper(groups, {"group": GROUP, "y": y}, beta=float(N))
    assert posterior.structure.shapes == (("mean", (3,)),)
    assert posterior.structure == temper(groups, {"group": GROUP, "y": -y}, beta=1.0).structure
    run = sltprob.sample(posterior, "hmc", draws=500, warmup=200, seed=2)
    counts = np.bincount(GROUP)
    exact = np.bincount(GROUP, weights=y) / (counts + 1)
    error = np.sqrt(1 / (counts + 1) / 400)
    # Each of three means, at 400 effective draws of 2,000: one false alarm in 5,000.
    assert np.all(np.abs(run["posterior"]["mean"].mean(("chain", "draw")) - exact) < 4 * error)

    with pytest.raises(ValueError, match="batch_size=5"):
        sltprob.sample(posterior, "sgld[batch_size=5]", draws=20, warmup=20)

    def branches(y=None):
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        numpyro.sample("y", dist.Normal(0.0, scale if scale > 1 else 1.0).expand([N]), obs=y)

    with pytest.raises(ValueError, match=r"looks at values that it draws .* jnp\.where"):
        temper(branches, {"y": y}, beta=1.0)


def test_groups_are_counted_from_zero():
    def pooled(group, y=None):
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
        numpyro.sample("y", dist.Normal(mean[group], 1.0), obs=y)

    temper(pooled, {"group": GROUP, "y": NOISE}, beta=1.0)
    with pytest.raises(ValueError, match=r"index 3 .* count from 0 in group"):
        temper(pooled, {"group": GROUP + 1, "y": NOISE}, beta=1.0)


@pytest.mark.parametrize("verb", ["sample", "find_optimum"])
def test_data_that_no_parameters_explain_are_named(verb):
    def coin(x, y=None):
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Bernoulli(logits=slope * x), obs=y)

    labels = 1 + (NOISE > 0)
    first = int(np.argmax(labels == 2))
    posterior = temper(coin, {"x": X, "y": labels}, beta=20.0)
    with pytest.raises(ValueError, match=rf"'y' observes 2 in row {first} .*Bernoulli"):
        sltprob.sample(posterior, "hmc") if verb == "sample" else sltprob.find_optimum(posterior)


def test_a_plate_of_groups_before_the_data_is_two_readings():
    def nested(y=None):
        with numpyro.plate("group", 4, dim=-2):
            mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
            with numpyro.plate("row", 5, dim=-1):
                numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    y = NOISE.reshape(4, 5)
    with pytest.raises(ValueError, match=r"rows='group'.*rows='row'"):
        temper(nested, {"y": y}, beta=1.0)
    assert temper(nested, {"y": y}, beta=1.0, rows="row").num_rows == 5


def walk(y):
    step = numpyro.sample("step", dist.HalfNormal(1.0))

    def move(place, seen):
        place = numpyro.sample("place", dist.Normal(place, step))
        numpyro.sample("y", dist.Normal(place, 1.0), obs=seen)
        return place, None

    scan(move, 0.0, y)


def sphere(y=None):
    mean = numpyro.sample("mean", dist.ProjectedNormal(jnp.ones(2)))
    numpyro.sample("y", dist.Normal(mean[0], 1.0).expand([N]), obs=y)


def blocked(y=None):
    with numpyro.handlers.block():
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(mean, scale).expand([N]), obs=y)


def noisy(y=None):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    noise = jax.random.normal(numpyro.prng_key(), (N,))
    numpyro.sample("y", dist.Normal(mean + noise, 1.0), obs=y)


def short(y=None):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0).expand([7]).to_event(1))
    numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (walk, "scan or cond"),
        (sphere, "support, Sphere"),
        (blocked, r"handlers\.block"),
        (noisy, r"numpyro\.prng_key"),
        (short, r"no density for observations of shape \(20,\)"),
    ],
)
def test_a_program_that_cannot_be_tempered_is_refused_in_one_line(program, said):
    with pytest.raises(ValueError, match=said) as caught:
        temper(program, {"y": NOISE}, beta=1.0)
    assert "\n" not in str(caught.value)


@pytest.mark.turns
def test_one_sampler_and_one_temperature_need_no_list():
    found = sltprob.compare("regular", "hmc", 10.0, draws=100, warmup=100)
    assert [(cell["sampler"], cell["beta"]) for cell in found.cells] == [("hmc", 10.0)]
