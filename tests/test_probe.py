"""Do the probes find what stored draws cannot tell, and leave a right sampler alone?"""

import dataclasses
import json
import math

import numpy as np
import pytest
from arviz_stats.base import array_stats

import sltprob
from sltprob import draws as schema
from sltprob.cli import main
from sltprob.estimation import LambdaHat
from sltprob.probes import coordinate_gradients, step_halving
from sltprob.probes.rerun import StoredRun
from sltprob.probes.significance import normal_limit, standard_errors

MODEL, BETA = "regular[dimension=2]", 30.0
CURVATURE = BETA + 1  # of the potential: that of the loss, and of the prior
STEP = 0.02


def exact_run(*, sampler="mala", step=STEP, stretch=1.0, offset=0.0, draws=2000, model=MODEL):
    """Make a run whose draws are independent and Gaussian, with `stretch` times the variance."""
    generator = np.random.default_rng(0)
    w = generator.normal(offset, math.sqrt(stretch / CURVATURE), (4, draws, 2))
    loss = 0.5 * np.sum(w**2, axis=-1)
    return schema.build(
        sample_stats={"loss": loss, "num_gradients": np.ones((4, draws))},
        posterior={"w": w},
        warmup={},
        tuned={"step_size": np.asarray(step)},
        site_dimensions={"w": 2},
        attributes={
            "model": model,
            "sampler": sampler,
            "beta": BETA,
            "seed": 0,
            "minimum_loss": 0.0,
            "unadjusted": int("sgld" in sampler),
            "loss_rounding": 1e-18,
            "data_error": 0.0,
            "localization": 0.0,
            "dtype": "float64",
            "warmup_gradients": 0.0,
        },
    )


def stretch_of(step):
    """Full-gradient Langevin without a test: the variance is 1/(1 - εc/2) times right, exactly."""
    return 1 / (1 - step * CURVATURE / 2)


EXACT = BETA / CURVATURE  # λ̂ of two coordinates


# ---- significance


def test_limit_of_one_and_of_many_comparisons():
    assert normal_limit(1, 0.001) == pytest.approx(3.29053, abs=1e-5)
    assert normal_limit(1, 0.05) == pytest.approx(1.95996, abs=1e-5)
    each = math.erfc(normal_limit(256, 0.001) / math.sqrt(2))
    assert 1 - (1 - each) ** 256 == pytest.approx(0.001, rel=1e-9)


@pytest.mark.parametrize(
    ("correlation", "count"),
    [
        (0.9, 500),
        *(pytest.param(c, 4000, marks=pytest.mark.slow) for c in (0.0, 0.9, 0.97, 0.99)),
    ],
)
def test_false_alarm_rate_on_correlated_draws(correlation, count):
    """Two samples of effective size 600, 33, 8 or 4 each: at most 5 % beyond the 5 % limit.

    The test itself has a false-alarm rate below 1e-3: 4 standard deviations of the count.
    """
    generator = np.random.default_rng(1)
    trace = generator.normal(size=(2, 300, 2 * count))
    for index in range(1, 300):
        kick = math.sqrt(1 - correlation**2) * trace[:, index]
        trace[:, index] = correlation * trace[:, index - 1] + kick
    mcse = array_stats.mcse(trace, method="mean", chain_axis=0, draw_axis=1)
    ess = array_stats.ess(trace, method="mean", chain_axis=0, draw_axis=1)
    mean = trace.mean(axis=(0, 1))
    z = standard_errors(mean[::2] - mean[1::2], (mcse[::2], ess[::2]), (mcse[1::2], ess[1::2]))
    assert np.sum(z > normal_limit(1, 0.05)) < 0.05 * count + 4 * math.sqrt(0.05 * count)


def test_an_error_of_zero_is_no_evidence():
    assert math.isnan(standard_errors(1.0, (0.0, 100.0)))
    assert math.isnan(standard_errors(1.0, (math.nan, 100.0)))
    assert standard_errors(100.0, (1.0, 1e6)) == pytest.approx(100)


# ---- the mean gradient


def test_gradients_are_those_of_the_potential():
    stored = StoredRun.of(exact_run(draws=50))
    gradients = coordinate_gradients.gradients_at_draws(stored)
    w = stored.draws["posterior"]["w"].values
    np.testing.assert_allclose(gradients["w"], CURVATURE * w, rtol=1e-12)


def test_draws_off_centre_are_found():
    """Their loss is right to 0.5 %: no other check has a chance."""
    fine = sltprob.probe(exact_run(), checks=["gradient"])
    assert fine.passed
    shifted = sltprob.probe(exact_run(offset=0.1 / math.sqrt(CURVATURE)), checks=["gradient"])
    assert [check.name for check in shifted.failed] == ["coordinate_gradients"]
    assert shifted.failed[0].evidence


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_never_passes(bad):
    gradients = {"w": np.random.default_rng(0).normal(size=(4, 500, 3))}
    assert coordinate_gradients.gradient_checks(gradients)[0].passed
    gradients["w"][2, 7, 1] = bad
    assert not coordinate_gradients.gradient_checks(gradients)[0].passed


def test_a_coordinate_that_stands_still_never_passes():
    gradients = {"w": np.random.default_rng(0).normal(size=(4, 500, 3))}
    gradients["w"][0, :, 1] = 0.0
    (check,) = coordinate_gradients.gradient_checks(gradients)
    assert math.isnan(check.value)
    assert not check.passed


# ---- half the step


@pytest.mark.parametrize("order", [1, 2])
def test_extrapolation_is_exact_for_its_order(order):
    def at(step):
        return LambdaHat(3.0 + 5.0 * step**order, 0.01, 1.0, 1000.0, ())

    found = step_halving.extrapolate(at(0.2), at(0.1), order)
    assert found.value == pytest.approx(3.0, rel=1e-12)
    weight = 2**order
    assert found.mcse == pytest.approx(0.01 * math.sqrt(weight**2 + 1) / (weight - 1))


@pytest.mark.slow
def test_a_large_step_is_found_and_extrapolated():
    """SGLD on a Gaussian: λ̂ at a step and at half of it are known exactly."""
    run = exact_run(sampler="sgld[batch_size=none]", stretch=stretch_of(STEP))
    result = sltprob.probe(run, checks=["step"])
    assert "step_halving" in [check.name for check in result.failed]
    half = sltprob.estimate(result.runs[0])
    assert abs(half.value - EXACT * stretch_of(STEP / 2)) < 5 * half.mcse
    # What is left is of second order.
    wanted = 2 * stretch_of(STEP / 2) - stretch_of(STEP)
    assert abs(result.extrapolated.value - EXACT * wanted) < 5 * result.extrapolated.mcse
    (cost,) = result.costs
    # Every draw is two of the sampler's, of 50 gradients each.
    assert cost.gradients > 4 * 1000 * 100
    assert result.runs[0].attrs["sampler"] == "sgld[batch_size=none]"
    assert result.runs[0].attrs["unadjusted"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["mala", "hmc", "barker"])
def test_a_metropolis_test_makes_the_step_harmless(sampler):
    """False-alarm rate of the six checks together: about 0.3 %."""
    posterior = sltprob.temper(sltprob.models.get(MODEL), beta=BETA)
    run = sltprob.sample(posterior, sampler, draws=2000)
    result = sltprob.probe(run)
    assert result.passed, str(result)
    assert result.extrapolated is None
    for new in result.runs:
        found = sltprob.estimate(new)
        assert abs(found.value - EXACT) < 5 * found.mcse


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "step"),
    [
        ("sgld[batch_size=none,steps_per_draw=20]", 0.015),
        ("preconditioned_sgld[batch_size=none,steps_per_draw=20]", 0.015),
        ("sghmc[batch_size=none,friction=10,steps_per_draw=40]", 0.1),
        ("sgnht[batch_size=none,friction=10,steps_per_draw=40]", 0.02),
        ("mclmc", 3.0),
    ],
)
def test_order_of_every_unadjusted_sampler(sampler, step):
    """λ̂ at ε, ε/2, ε/4: the two moves are in the ratio 2^order, within 4 standard errors."""
    posterior = sltprob.temper(sltprob.models.get("regular[spectrum=1:0.3:0.1:0.03]"), beta=BETA)
    made = sltprob.samplers.get(sampler)
    kernel = dataclasses.replace(made, step_size=step)
    coarse = sltprob.sample(posterior, kernel, draws=20000, keep="loss", seed=1)
    first = sltprob.probe(coarse, checks=["step"], num_draws=20000)
    middle = first.runs[0]
    stored = StoredRun.of(coarse)
    quarter = {**stored.parameters, "step_size": stored.parameters["step_size"] / 4}
    fine = stored.again(
        "a quarter", parameters=quarter, repeats=4, draws=20000, seed=5, keep="loss"
    )
    found = [sltprob.estimate(run) for run in (coarse, middle, fine)]
    ratio = 2.0**made.step_order
    left = (found[0].value - found[1].value) - ratio * (found[1].value - found[2].value)
    error = math.hypot(found[0].mcse, (1 + ratio) * found[1].mcse, ratio * found[2].mcse)
    move = found[0].value - found[1].value
    assert abs(move) > 3 * math.hypot(found[0].mcse, found[1].mcse), "the step is too small"
    # The next order is in it too: the allowance is for that.
    assert abs(left) < 4 * error + 0.35 * abs(move)


# ---- hot and cold starts


@pytest.mark.slow
def test_two_phases_do_not_meet():
    posterior = sltprob.temper(sltprob.models.get("two_phase"), beta=3000.0)
    result = sltprob.probe(sltprob.sample(posterior, "hmc"), checks=["start"])
    assert {check.name for check in result.failed} == {"hot_cold", "hot_cold_rhat"}
    assert "replica_exchange" in result.failed[0].advice


@pytest.mark.slow
def test_hot_and_cold_chains_meet_on_a_network():
    posterior = sltprob.temper(sltprob.models.get("tanh_zero[width=4]"), beta=100.0)
    run = sltprob.sample(posterior, "hmc", draws=2000)
    result = sltprob.probe(run, num_draws=2000)
    assert result.passed, str(result)
    exact = sltprob.models.get("tanh_zero[width=4]").exact(100.0)
    for new in result.runs:
        found = sltprob.estimate(new)
        assert abs(found.value - exact.lambda_hat) < 5 * math.hypot(found.mcse, exact.mcse)
    # The same seed would let two starts share their random numbers.
    assert len({new.attrs["seed"] for new in result.runs}) == 3


# ---- what is refused, and what is skipped


def test_what_does_not_apply_is_skipped_with_a_reason():
    run = exact_run(sampler="elliptical_slice")
    del run["posterior"]
    run["constant_data"] = run["constant_data"].to_dataset().drop_vars("step_size")
    result = sltprob.probe(run, checks=["gradient", "step"])
    assert dict(result.skipped).keys() == {"gradient", "step"}
    assert not result.passed, "nothing was tested"


def test_data_of_another_run_are_refused():
    other = sltprob.temper(sltprob.models.get("regular[dimension=2,n=20]"), beta=BETA)
    with pytest.raises(ValueError, match="the loss at the last draw"):
        sltprob.probe(exact_run(), posterior=other, checks=["gradient"])
    other = sltprob.temper(sltprob.models.get("regular[dimension=3]"), beta=BETA)
    with pytest.raises(ValueError, match="was sampled in"):
        sltprob.probe(exact_run(), posterior=other, checks=["gradient"])


def test_what_cannot_be_made_again_is_refused():
    with pytest.raises(ValueError, match="--program"):
        sltprob.probe(exact_run(model="mine"))
    localized = exact_run()
    localized.attrs["localization"] = 1.0
    with pytest.raises(ValueError, match="around which point"):
        sltprob.probe(localized)
    foreign = exact_run()
    del foreign["constant_data"]
    with pytest.raises(ValueError, match="not sampled by sltprob"):
        sltprob.probe(foreign)
    with pytest.raises(ValueError, match="gradient, step, start"):
        sltprob.probe(exact_run(), checks=["virial"])


# ---- the command line


def run_cli(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["probe", *arguments])
    return stop.value.code


def test_command_line(tmp_path, capsys):
    good = schema.save(exact_run(), tmp_path / "good.nc")
    out = tmp_path / "probe.json"
    assert run_cli(str(good), "--checks", "gradient", "--out", str(out), "--strict") == 0
    text = capsys.readouterr().out
    assert "coordinate_gradients" in text
    assert "gradients" in text
    stored = json.loads(out.read_text(encoding="utf-8"))
    assert stored["passed"]
    assert [cost["probe"] for cost in stored["costs"]] == ["gradient"]
    assert run_cli(str(good), "--checks", "gradient", "--out", str(out)) == 2
    assert "exists" in capsys.readouterr().err

    bad = schema.save(exact_run(offset=0.1), tmp_path / "bad.nc")
    assert run_cli(str(bad), "--checks", "gradient", "--json", "--strict") == 1
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert check["name"] == "coordinate_gradients"
    assert not check["passed"]
    assert run_cli(str(bad), "--checks", "gradient") == 0


def test_command_line_on_a_program_of_the_users_own(tmp_path, capsys):
    program = tmp_path / "mine.py"
    program.write_text(
        "import numpyro, numpyro.distributions as dist\n"
        "def model(y):\n"
        "    w = numpyro.sample('w', dist.Normal(0, 1).expand((2,)).to_event(1))\n"
        "    numpyro.sample('y', dist.Normal(w.reshape(1, 2), 1).to_event(1), obs=y)\n",
        encoding="utf-8",
    )
    np.savez(tmp_path / "data.npz", y=np.zeros((1, 2)))
    run = exact_run(model="model")
    constant = math.log(2 * math.pi)
    run["sample_stats"]["loss"] = run["sample_stats"]["loss"] + constant
    run.attrs["minimum_loss"] = constant
    path = str(schema.save(run, tmp_path / "own.nc"))
    assert run_cli(path, "--checks", "gradient") == 2
    assert "--program" in capsys.readouterr().err
    own = ("--program", f"{program}:model")
    assert run_cli(path, "--checks", "gradient", *own) == 2
    assert "--data" in capsys.readouterr().err
    assert run_cli(path, "--checks", "gradient", *own, "--data", str(tmp_path / "data.npz")) == 0
    assert "ok" in capsys.readouterr().out
