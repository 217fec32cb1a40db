"""What the interval of a local λ̂ is made of, on traces whose truth is known by construction."""

import jax.numpy as jnp
import numpy as np
import pytest

import sltprob
from sltprob.diagnostics.local_checks import local_estimate

SHAPE = (4, 400)


def noise(size, seed=0):
    return size * np.random.default_rng(seed).standard_normal(SHAPE)


def test_one_run_gives_the_middle_of_what_it_allows():
    found = local_estimate(100 + noise(1), 10 + noise(0.1, 1), None)
    assert found.value == pytest.approx(95, abs=0.2)
    assert (found.low, found.high) == pytest.approx((90, 100), abs=0.3)
    assert found.rho == pytest.approx(0.1, abs=1e-3)


def test_half_the_step_finds_no_bias_on_a_quadratic_loss():
    """The truth is 90: λ̂ - C is 90 at both steps."""
    halved = {"scaled": 95 + noise(0.3, 2), "bias": 5 + noise(0.01, 3)}
    found = local_estimate(100 + noise(0.3), 10 + noise(0.01, 1), halved)
    assert found.low < 90 < found.high
    assert found.value == pytest.approx(90, abs=0.3)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_thermostat_is_taken_out_before_the_truth_is_looked_for(share):
    """λ = 100; cooling takes a tenth, and of the 12 that the noise adds a share counts."""
    cooling, grown = 0.9, 12.0
    raw = cooling * 100 + share * grown + noise(0.2)
    bias = (grown + (cooling - 1) * raw) / cooling
    found = local_estimate(raw, bias, None, (1 - 1 / cooling) * raw)
    assert found.low < 100 < found.high
    assert found.high - found.low < 1.3 * grown
    # The mutant: without it, the truth is missed where none of the noise counts.
    if share == 0:
        assert local_estimate(raw, bias, None).high < 99


@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_trend_still_adds_is_in_the_interval(sign):
    rising = np.broadcast_to(np.linspace(0, 20 * sign, SHAPE[1]), SHAPE)
    found = local_estimate(100 + rising + noise(0.1), np.full(SHAPE, 1e-3), None)
    calm = local_estimate(100 + rising.mean() + noise(0.1), np.full(SHAPE, 1e-3), None)
    wider, same = found.high - calm.high, calm.low - found.low
    if sign < 0:
        wider, same = same, wider
    # Beyond what the errors of a trend add on both sides anyway.
    assert wider - same > 8


def test_chance_is_no_trend():
    """Of independent draws, one run of twenty is widened: of forty, six or more are 1 in 70."""
    widths = []
    for seed in range(40):
        found = local_estimate(100 + noise(1, seed), np.zeros(SHAPE), None)
        widths.append((found.high - found.low) / found.mcse)
    assert sum(width > 4 for width in widths) < 6


# ---- chains that R-hat can tell apart


@pytest.fixture(scope="module")
def run():
    """A Gaussian that is well sampled."""
    x = np.random.default_rng(0).standard_normal((500, 40)).astype(np.float32)

    def rows(params, batch):
        return 0.5 * (batch @ params) ** 2

    posterior = sltprob.local(rows, jnp.zeros(40), x, nbeta=200.0, gamma=1.0)
    return sltprob.sample(posterior, "sgld", draws=300, warmup=100, half_step=False)


def shifted(run, parts):
    """Give a run whose chains are apart by parts of λ̂, and have little noise."""
    other = run.copy()
    loss = other["sample_stats"]["loss"]
    least = run.attrs["minimum_loss"]
    excess = loss.values - least
    calm = excess.mean() + 0.01 * (excess - excess.mean())
    loss.values[...] = least + calm * (1 + np.asarray(parts)[:, None])
    return other


def failed(run):
    return {check.name for check in sltprob.diagnose(run).failed}


def test_chains_of_a_large_network_may_be_a_little_apart(run):
    assert not failed(run)
    near = shifted(run, [0.0, 0.01, 0.02, 0.03])
    assert not failed(near) & {"rhat", "ess_bulk", "local_spread"}
    found = sltprob.estimate(near)
    # The error is the one between chains.
    assert found.mcse > 0.005 * found.value
    assert "rhat" in failed(shifted(run, [0.0, 0.02, 0.04, 0.06]))
