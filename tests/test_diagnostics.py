"""Does a wrong number ever pass, and a right one fail?"""

import math

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest

import sltprob
from sltprob import draws as schema

DIMENSION = 8


def make_run(loss=None, *, beta=100.0, chains=4, draws=1000, seed=0, attributes=None, **changes):
    """Make a run of a sampler that is perfect, but for what is changed."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(chains, draws, DIMENSION))
    energy = 0.5 * np.sum(z**2, axis=-1)
    stats = {
        "loss": energy / beta if loss is None else loss,
        "lp": -energy,
        "squared_gradient": np.sum(z**2, axis=-1),
        "virial": np.sum(z**2, axis=-1, keepdims=True),
        "virial_offset": z[..., :1],
        "acceptance_rate": generator.uniform(0.7, 1.0, (chains, draws)),
        "num_gradients": np.ones((chains, draws)),
        "diverging": np.zeros((chains, draws), bool),
        "energy": energy + 0.5 * generator.chisquare(DIMENSION, (chains, draws)),
    } | changes
    return schema.build(
        sample_stats={name: value for name, value in stats.items() if value is not None},
        posterior=None,
        warmup={},
        tuned={},
        site_dimensions={"w": DIMENSION},
        attributes={
            "model": "made",
            "sampler": "made",
            "beta": beta,
            "seed": 0,
            "minimum_loss": 0.0,
            "unadjusted": 0,
            "step_size": math.nan,
            "loss_rounding": 1e-18,
            "data_error": 1e-14,
        }
        | (attributes or {}),
    )


def failed(run):
    return {check.name for check in sltprob.diagnose(run).failed}


def test_perfect_runs_are_trusted():
    """False-alarm rate: 20 runs without a failure bound it by 14 % at 95 %."""
    for seed in range(20):
        verdict = sltprob.diagnose(make_run(seed=seed))
        assert verdict.trusted, str(verdict)


def test_every_check_explains_itself():
    verdict = sltprob.diagnose(make_run(attributes={"unadjusted": 1, "step_size": 1e-6}))
    names = [check.name for check in verdict.checks]
    assert len(set(names)) == len(names)
    for check in verdict.checks:
        assert check.meaning
        assert check.advice.endswith(".")
        assert check.reference
        assert check.relation in ("<", ">")


def test_one_dead_chain_is_wrong():
    run = make_run()
    loss = run["sample_stats"]["loss"].values.copy()
    loss[2] = loss[2, 0]
    verdict = sltprob.diagnose(make_run(loss))
    assert verdict.status == "wrong"
    assert verdict.failed[0].name == "alive"
    assert math.isnan(sltprob.estimate(make_run(loss)).value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_draw_is_wrong(bad):
    loss = make_run()["sample_stats"]["loss"].values.copy()
    loss[1, 500] = bad
    assert sltprob.diagnose(make_run(loss)).status == "wrong"
    assert math.isnan(sltprob.estimate(make_run(loss)).value)


def test_a_chain_elsewhere_is_doubtful():
    loss = make_run()["sample_stats"]["loss"].values.copy()
    loss[0] *= 1.5
    assert "rhat" in failed(make_run(loss))


def test_a_drift_is_seen():
    loss = make_run()["sample_stats"]["loss"].values
    loss = loss * np.linspace(1.3, 0.7, loss.shape[1])
    assert "drift" in failed(make_run(loss))


def test_few_draws_are_doubtful():
    assert {"ess_bulk", "mcse"} <= failed(make_run(draws=20))


def test_a_wrong_spread_is_evidence():
    run = make_run()
    verdict = sltprob.diagnose(make_run(virial=1.1 * run["sample_stats"]["virial"].values))
    assert verdict.status == "wrong"
    assert verdict.failed[0].name == "virial[w]"


def test_the_offset_is_a_control_variate():
    """A virial about a distant point is as noisy as the distance, but not as the check sees it."""
    run = make_run()["sample_stats"]
    far = run["virial"].values + 1e3 * run["virial_offset"].values
    assert sltprob.diagnose(make_run(virial=far)).trusted


def test_flat_directions_that_stand_still_are_doubtful():
    generator = np.random.default_rng(0)
    walk = DIMENSION + 0.1 * np.cumsum(generator.normal(size=(4, 1000, 1)), axis=1)
    assert {"virial_rhat[w]", "virial_ess[w]"} <= failed(make_run(virial=walk))


def test_step_bias_is_measured_on_a_gaussian():
    """On a Gaussian of unit variances the bias of λ̂ is ε/4 per coordinate, to first order."""
    for step, wanted in ((0.02, True), (0.2, False)):
        tilt = step / 4 * make_run(draws=4000)["sample_stats"]["squared_gradient"].values
        run = make_run(attributes={"unadjusted": 1}, draws=4000, log_tilt=tilt)
        check = next(c for c in sltprob.diagnose(run).checks if c.name == "step_bias")
        assert check.value == pytest.approx(step / 2, rel=0.1)
        assert check.passed is wanted


def test_an_unadjusted_sampler_that_tells_nothing_is_not_trusted():
    assert "step_bias" in failed(make_run(attributes={"unadjusted": 1}))


def test_divergences_and_acceptance():
    diverging = np.zeros((4, 1000), bool)
    diverging[0, 3] = True
    assert failed(make_run(diverging=diverging)) == {"divergences"}
    assert failed(make_run(acceptance_rate=np.full((4, 1000), 0.01))) == {"acceptance"}


def test_precision_is_judged_against_beta():
    assert "precision" in failed(make_run(attributes={"loss_rounding": 1e-3}))
    assert "precision" in failed(make_run(attributes={"data_error": 0.1}))


def test_low_energy_mixing_is_seen():
    generator = np.random.default_rng(0)
    slow = np.cumsum(generator.normal(size=(4, 1000)), axis=1)
    assert "bfmi" in failed(make_run(energy=slow))


def test_optional_records_may_be_missing():
    names = ("virial", "virial_offset", "squared_gradient", "acceptance_rate", "energy")
    run = make_run(**dict.fromkeys(names), diverging=None, lp=None)
    assert sltprob.diagnose(run).trusted


traces = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(0, 12)),
    elements=st.floats(allow_nan=True, allow_infinity=True),
)


@hypothesis.given(traces)
def test_short_and_broken_traces_never_pass_and_never_crash(loss):
    run = make_run(loss, chains=loss.shape[0], draws=loss.shape[1])
    assert not sltprob.diagnose(run).trusted
    result = sltprob.estimate(run)
    assert math.isnan(result.value) or np.all(np.isfinite(loss))


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    st.sampled_from(["loss", "lp", "squared_gradient", "virial", "acceptance_rate", "energy"]),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.integers(0, 999),
)
def test_a_value_that_is_not_finite_never_passes(name, bad, index):
    values = make_run()["sample_stats"][name].values.astype(float).copy()
    values[0, index] = bad
    assert not sltprob.diagnose(make_run(**{name: values})).trusted


def test_what_is_no_run_is_refused():
    with pytest.raises(TypeError, match=r"sltprob\.sample"):
        sltprob.diagnose({"loss": 1})
    run = make_run()
    del run.attrs["beta"]
    with pytest.raises(ValueError, match="beta"):
        sltprob.diagnose(run)


def test_judging_needs_no_jax():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['jax'] = sys.modules['blackjax'] = sys.modules['numpyro'] = None;"
        "import sltprob; sltprob.diagnose, sltprob.estimate, sltprob.load"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
