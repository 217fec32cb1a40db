"""Does a verdict see that β, L* or the losses are not those of the sampler?"""

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sltprob
from sltprob import draws as schema


def gaussian(y):
    w = numpyro.sample("w", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(w, 1.0), obs=y)


ONE = np.ones(1)
LEAST = np.log(2 * np.pi)  # per datum, and the two are one mean


def tempered(minimum_loss=LEAST / 2, beta=100.0):
    return sltprob.temper(gaussian, {"y": np.zeros(2)}, beta=beta, minimum_loss=minimum_loss)


@pytest.fixture(scope="module")
def run():
    return sltprob.sample(tempered(), "hmc", draws=1000)


def changed(run, **attributes):
    other = run.copy(deep=True)
    other.attrs |= attributes
    return other


def failed(run):
    return [check.name for check in sltprob.diagnose(run).failed]


def test_a_run_that_nobody_changed_is_trusted(run, tmp_path):
    assert not failed(run)
    path = sltprob.save(run, tmp_path / "run.nc")
    assert not failed(sltprob.load(path))
    assert not failed(run.isel(draw=slice(100, 900)))


def test_a_run_in_single_precision_is_that_of_its_sampler(run):
    """What is kept as a number of double precision is compared as one."""
    single = run.copy(deep=True)
    losses = single["sample_stats"]["loss"].values.astype("float32")
    rebuilt = schema.build(
        sample_stats={"loss": losses},
        posterior=None,
        warmup={},
        tuned={},
        site_dimensions={},
        attributes=dict(single.attrs),
    )
    assert "as_sampled" not in failed(rebuilt)


@pytest.mark.parametrize("shift", [-1.0, -0.3, 0.3, 1.0])
def test_another_least_loss_in_the_file_is_seen(run, shift):
    other = changed(run, minimum_loss=run.attrs["minimum_loss"] + shift / run.attrs["beta"])
    assert "as_sampled" in failed(other)
    assert sltprob.diagnose(other).status == "wrong"


def test_another_beta_in_the_file_is_seen(run):
    assert "as_sampled" in failed(changed(run, beta=1.1 * run.attrs["beta"]))


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_other_losses_in_the_file_are_seen_in_a_part_of_it_too(run, factor):
    other = run.copy(deep=True)
    other["sample_stats"]["loss"] *= factor
    assert "as_sampled" in failed(other)
    assert "as_sampled" in failed(other.isel(draw=slice(500)))
    forged = changed(other, as_sampled="{}")
    assert "as_sampled" in failed(forged)


@pytest.mark.parametrize("shift", [0.3, 1.0, 3.0])
def test_a_least_loss_that_is_too_low_is_seen_by_the_draws(shift):
    """It was given, so that no copy tells: in two dimensions a draw comes within 1/4,000 of L*."""
    posterior = tempered(LEAST / 2 - shift / 100)
    assert "least_draw" in failed(sltprob.sample(posterior, "hmc", draws=1000))


@pytest.mark.turns
def test_a_least_loss_that_no_descent_comes_down_to_is_seen():
    """It looks like a model with more dimensions: the draws alone do not tell."""
    model = sltprob.models.get("regular[dimension=5]")
    right = sltprob.sample(sltprob.temper(model, beta=100.0), "hmc", draws=1000)
    assert not failed(right)
    assert 100 * right["scouts"]["attained_loss"] < 1e-3
    low = sltprob.temper(model, beta=100.0, minimum_loss=-0.003)
    run = sltprob.sample(low, "hmc", draws=1000)
    assert failed(run) == ["attained"]
    (check,) = sltprob.diagnose(run).failed
    assert check.value == pytest.approx(0.3, abs=1e-3)


def test_an_error_of_the_least_loss_is_part_of_the_interval(run):
    wide = sltprob.estimate(changed(run, minimum_loss_error=0.01))
    plain = sltprob.estimate(run)
    assert wide.high == pytest.approx(plain.high + 100 * 0.01)
    assert wide.low == plain.low


@pytest.mark.turns
def test_an_own_loss_with_a_least_loss_that_was_given_is_asked_for_it():
    """That at the trained parameters is attained there; another one is a claim."""
    params = {"w": np.zeros(3)}
    model = sltprob.from_loss(lambda p, rows: rows["x"] * (p["w"] ** 2).sum(), params, {"x": ONE})
    options = {"draws": 20, "warmup": 20, "chains": 1}
    for given, source in ((None, "trained parameters"), (-0.1, "given")):
        run = sltprob.sample(
            sltprob.temper(model, beta=10.0, minimum_loss=given), "mala", **options
        )
        assert run.attrs["minimum_loss_source"] == source
