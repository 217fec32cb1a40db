"""Does the loop record what happened, reproducibly, and stop when told?"""

import math

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sltprob
from sltprob.sampling import compilation
from sltprob.sampling.curvature import loss_field


def gaussian(y=None):
    """A regular model with curvatures 1, 10, 100 and prior N(0, 1)."""
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(w * np.array([1.0, 10, 100]) ** 0.5, 1.0), obs=y)


def half_squares():
    """Data by which the mean loss is ½ Σ h w² / 3, plus a constant."""
    return {"y": np.zeros(3)}


MINIMUM = 0.5 * np.log(2 * np.pi)
CURVATURES = np.array([1.0, 10, 100]) / 3


def exact(beta):
    return 0.5 * np.sum(beta * CURVATURES / (1 + beta * CURVATURES))


@pytest.fixture(scope="module")
def posterior():
    return sltprob.temper(gaussian, half_squares(), beta=30.0, minimum_loss=MINIMUM)


@pytest.fixture(scope="module")
def run(posterior):
    return sltprob.sample(posterior, "hmc", draws=1000, warmup=300, seed=3)


def test_hmc_is_right_on_a_gaussian(run):
    """False-alarm rate of |z| < 5: 6e-7."""
    result = sltprob.estimate(run)
    assert abs(result.value - exact(30.0)) < 5 * result.mcse
    assert result.mcse < 0.05
    assert sltprob.diagnose(run).trusted


def test_the_same_seed_gives_the_same_draws(posterior, run):
    again = sltprob.sample(posterior, "hmc", draws=1000, warmup=300, seed=3)
    np.testing.assert_array_equal(again["posterior"]["w"], run["posterior"]["w"])
    other = sltprob.sample(posterior, "hmc", draws=1000, warmup=300, seed=4)
    assert np.all(other["sample_stats"]["loss"].values != run["sample_stats"]["loss"].values)


@pytest.mark.turns
def test_more_draws_go_on_from_fewer(posterior, run):
    fewer = sltprob.sample(posterior, "hmc", draws=500, warmup=300, seed=3)
    np.testing.assert_array_equal(
        fewer["sample_stats"]["loss"], run["sample_stats"]["loss"][:, :500]
    )


def test_records_are_consistent(posterior, run):
    stats = run["sample_stats"]
    w = run["posterior"]["w"].values
    assert w.shape == (4, 1000, 3)
    loss = 0.5 * np.sum(CURVATURES * w**2, axis=-1) + MINIMUM
    np.testing.assert_allclose(stats["loss"].values, loss, rtol=1e-9)
    gradient = (1 + 30 * CURVATURES) * w
    np.testing.assert_allclose(stats["virial"].values[..., 0], np.sum(w * gradient, axis=-1))
    np.testing.assert_allclose(stats["squared_gradient"].values, np.sum(gradient**2, axis=-1))
    # The mean of all that is random about the field is zero; false-alarm rate of |z| < 5: 6e-7.
    values = 30 * (loss - MINIMUM) * stats["loss_field"] + stats["loss_field_energy"]
    assert abs(values.mean()) < 5 * values.std() / np.sqrt(values.size)
    used = int(run["constant_data"]["warmup_draws_used"])
    assert 100 < used <= 300
    assert run["warmup_sample_stats"]["loss"].shape == (4, used)
    assert float(stats["num_gradients"].sum()) > 0
    assert run.attrs["seconds_sampling"] > 0


@pytest.mark.turns
@pytest.mark.parametrize("kink", [False, True])
def test_the_field_along_the_gradient_has_its_divergence(kink):
    """At a point of a quadratic loss, and over the draws of exp(-30 |w|), by 4,000 probes.

    There the field jumps, and the divergence is a delta of size 1/30 at w = 0 where the density
    is 15: the mean is 1/2 with c = |g|², without the kink 0. False-alarm rate of |z| < 5: 6e-7.
    """

    def absolute(y):
        w = numpyro.sample("w", dist.ImproperUniform(dist.constraints.real_vector, (), (1,)))
        numpyro.sample("y", dist.Laplace(w, 1.0), obs=y)

    generator = np.random.default_rng(0)
    if kink:
        posterior = sltprob.temper(absolute, {"y": np.zeros(1)}, beta=30.0)
        w = generator.laplace(scale=1 / 30, size=(4000, 1))
        gradient = 30 * np.sign(w)
        expected, tolerance = 0.5, 0.02  # the step is a twentieth of the width: it smooths the peak
    else:
        posterior = sltprob.temper(gaussian, half_squares(), beta=30.0)
        w = np.broadcast_to([0.3, -0.1, 0.02], (4000, 3))
        gradient = 30 * CURVATURES * w
        weight = 1 / (np.sum(gradient[0] ** 2) + 900)
        bend = 2 * weight * np.sum(gradient[0] ** 2 * 30 * CURVATURES)
        expected, tolerance = weight * (np.sum(30 * CURVATURES) - bend), 1e-3
    found = jax.vmap(
        lambda key, at, slope: loss_field(
            key,
            posterior,
            {"w": at},
            posterior.loss({"w": at}),
            {"w": slope},
            {"w": 0 * slope},
            (900.0, 900.0),
        )
    )(jax.random.split(jax.random.key(0), 4000), w, gradient)
    values = np.asarray(found["loss_field"])
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(values.size) + tolerance
    energies = np.asarray(found["loss_field_energy"])
    mean = 0.5 if kink else weight * np.sum(gradient[0] ** 2)
    assert abs(energies.mean() - mean) < 5 * energies.std() / np.sqrt(energies.size) + tolerance


def test_one_compilation_for_all_betas_and_seeds(posterior, run):
    before = len(compilation.programs)
    sltprob.sample(posterior.at(300.0), "hmc", draws=1000, warmup=300, seed=9)
    assert len(compilation.programs) == before


@pytest.mark.parametrize(
    "sampler", [pytest.param("mala", marks=pytest.mark.slow), "elliptical_slice"]
)
def test_another_temperature_and_seed_trace_nothing(sampler):
    calls = []

    def program(y=None):
        calls.append(None)
        gaussian(y)

    posterior = sltprob.temper(program, half_squares(), beta=1.0, minimum_loss=MINIMUM)
    options = {"draws": 20, "warmup": 20, "chains": 2}
    sltprob.sample(posterior, sampler, seed=0, **options)
    before = len(calls)
    sltprob.sample(posterior.at(2.0), sampler, seed=1, **options)
    assert len(calls) == before


@pytest.mark.parametrize("sampler", ["hmc", "mala[steps_per_draw=5]"])
@pytest.mark.slow
def test_a_thousand_chains(sampler):
    """More chains than share a call warm up in groups; |z| < 5 fails once in 2e6."""
    model = sltprob.models.get("regular[dimension=2]")
    run = sltprob.sample(
        sltprob.temper(model, beta=10.0), sampler, draws=20, warmup=20, chains=1024, keep="loss"
    )
    loss = run["sample_stats"]["loss"].values
    assert loss.shape == (1024, 20)
    assert len(np.unique(loss[:, -1])) == 1024
    # Chains are independent of each other, whatever the draws of one chain are.
    means = run.attrs["beta"] * (loss.mean(axis=1) - run.attrs["minimum_loss"])
    error = means.std(ddof=1) / np.sqrt(len(means))
    assert abs(means.mean() - model.exact(10.0).lambda_hat) < 5 * error


def test_keep_loss_stores_scalars_only(posterior):
    small = sltprob.sample(posterior, "hmc", draws=100, warmup=300, keep="loss")
    assert "posterior" not in small.children
    assert small["sample_stats"]["loss"].shape == (4, 100)


def test_stops_at_the_target_error(posterior):
    run = sltprob.sample(posterior, "hmc", draws=5000, warmup=300, target_mcse=0.05)
    assert sltprob.estimate(run).mcse <= 0.05
    assert run["sample_stats"].sizes["draw"] < 5000


@pytest.mark.turns
def test_stops_when_the_better_estimate_is_good_enough():
    """Averaged over the readout, λ̂ needs fewer draws; there are enough for a verdict.

    The right value within four standard errors: a false alarm for 6e-5 of all seeds.
    """
    model = sltprob.models.get("tanh_zero[width=8]")
    posterior = sltprob.temper(model, beta=100.0)
    run = sltprob.sample(posterior, "hmc", draws=4000, seed=1, target_mcse="1%")
    assert run["sample_stats"].sizes["draw"] < 1000
    plain = sltprob.estimate(run)
    averaged = sltprob.estimate(run, rao_blackwell=True)
    assert plain.mcse > 0.01 * plain.value
    assert averaged.mcse <= 0.01 * averaged.value
    exact = model.exact(100.0)
    assert abs(averaged.value - exact.lambda_hat) < 4 * np.hypot(averaged.mcse, exact.mcse)
    assert sltprob.diagnose(run).trusted


@pytest.mark.turns
def test_progress_tells_a_running_estimate(posterior):
    seen = []
    sltprob.sample(posterior, "hmc", draws=100, warmup=300, progress=seen.append)
    assert [event.stage for event in seen][:2] == ["compile", "warm-up"]
    assert seen[-1].stage == "done"
    assert seen[-1].draws == 100
    assert np.isfinite(seen[-1].lambda_hat)


def frozen(init):
    """Run four chains that stay where they start."""
    posterior = sltprob.temper(sltprob.models.get("tanh_zero[width=3]"), beta=10.0)
    stays = "mala[step_size=1e-20,steps_per_draw=1]"
    return sltprob.sample(posterior, stays, draws=1, warmup=20, init=init)


@pytest.mark.turns
def test_given_positions_are_where_chains_start():
    start = {"a": np.full((4, 3), 0.5), "w": np.linspace(0.1, 0.4, 12).reshape(4, 3)}
    run = frozen(start)
    np.testing.assert_allclose(run["posterior"]["w"][:, 0], start["w"], rtol=1e-6)


@pytest.mark.slow
def test_every_other_chain_starts_at_the_optimum():
    """Two basins: chains that all start in one of them agree, and only scouts see more."""
    model = sltprob.models.get("two_phase")
    posterior, exact = sltprob.temper(model, beta=3e3), model.exact(3e3)
    cold, both = (
        sltprob.sample(posterior, "mala", draws=1000, warmup=200, init=init)
        for init in ("optimum", "both")
    )
    wrong = sltprob.estimate(cold)
    assert wrong.value < exact.lambda_hat - 100 * wrong.mcse
    assert [check.name for check in sltprob.diagnose(cold).failed] == ["scouts"]
    assert both.attrs["init"] == "both"
    (failed,) = [check for check in sltprob.diagnose(both).checks if check.name == "rhat"]
    assert not failed.passed
    assert "remember" in failed.advice


@pytest.mark.turns
def test_half_the_chains_are_those_of_each_start():
    inits = ("prior", "optimum", "both")
    runs = [frozen(init) for init in inits]
    assert tuple(run.attrs["init"] for run in runs) == inits
    hot, cold, both = (run["posterior"]["w"].values for run in runs)
    np.testing.assert_array_equal(both[::2], hot[::2])
    np.testing.assert_array_equal(both[1::2], cold[1::2])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"draws": 0}, "draws=0"),
        ({"warmup": 5}, "warmup=5"),
        ({"chains": 0}, "chains=0"),
        ({"seed": -1}, "seed=-1"),
        ({"keep": "some"}, "keep='some'"),
        ({"init": "cold"}, "init='cold'"),
        ({"init": "both", "chains": 1}, "leaves none to compare"),
        ({"target_mcse": 0.0}, "target_mcse=0"),
        ({"target_mcse": "-2%"}, "such as 0.02 or '2%'"),
    ],
)
def test_bad_arguments_are_refused(posterior, options, word):
    with pytest.raises(ValueError, match=r".") as caught:
        sltprob.sample(posterior, "hmc", **options)
    assert word in str(caught.value)


def test_one_chain_cannot_start_at_both_ends():
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=10.0)
    with pytest.raises(ValueError, match="take chains=4"):
        sltprob.sample(posterior, "hmc", init="both", chains=1)


def test_what_is_no_posterior_is_refused():
    with pytest.raises(TypeError, match="temper"):
        sltprob.sample(gaussian, "hmc")


def test_a_run_saved_and_loaded_is_equal(run, tmp_path):
    path = sltprob.save(run, tmp_path / "folder" / "run.nc")
    back = sltprob.load(path)
    assert back.identical(run)
    assert sltprob.diagnose(back) == sltprob.diagnose(run)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        sltprob.save(run, path)
    sltprob.save(run, path, overwrite=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["run.nc"]


def test_a_damaged_file_is_named(run, tmp_path):
    path = sltprob.save(run, tmp_path / "run.nc")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"run\.nc"):
        sltprob.load(path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.nc"):
        sltprob.load(tmp_path / "nothing.nc")


def test_lambda_hat_needs_the_minimum_of_the_loss():
    posterior = sltprob.temper(gaussian, half_squares(), beta=30.0)
    with pytest.raises(ValueError, match=r"2%: a part of lambda-hat needs L\*"):
        sltprob.sample(posterior, "hmc", target_mcse="2%")
    run = sltprob.sample(posterior, "hmc", draws=100, warmup=50)
    with pytest.raises(ValueError, match="minimum_loss="):
        sltprob.estimate(run)
    assert np.isfinite(sltprob.estimate(run, minimum_loss=MINIMUM).value)


@pytest.mark.slow  # the command is tested with every change
def test_a_comparison_is_a_table():
    comparison = sltprob.compare(
        "regular[dimension=2]",
        ["random_walk"],
        [1.0, 10.0],
        draws=90,
        warmup=50,
    )
    assert len(comparison.runs) == len(comparison.cells) == 2
    lines = str(comparison).splitlines()
    assert lines[0].split()[0] == "sampler"
    assert [line.split()[1] for line in lines[1:]] == ["1", "10"]
    page = comparison._repr_html_()
    assert page.count("<tr>") == 3
    assert "random_walk" in page


def test_a_sampler_that_does_not_apply_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="elliptical_slice does not apply"):
        sltprob.compare("tanh_zero[width=2]", ["hmc", "elliptical_slice"], [1.0])


@pytest.mark.slow
def test_the_readout_is_averaged_in_closed_form(run):
    """|z| < 4 fails a right program once in 16,000 times; the error is a fraction of the loss's."""
    model = sltprob.models.get("tanh_zero[width=5]")
    # So few draws that the run is not trusted, and compiles no scouts.
    both = sltprob.sample(sltprob.temper(model, beta=100.0), "hmc", draws=90, keep="loss")
    plain, averaged = sltprob.estimate(both), sltprob.estimate(both, rao_blackwell=True)
    exact = model.exact(100.0, tolerance=0.001)
    assert abs(averaged.value - exact.lambda_hat) < 4 * math.hypot(averaged.mcse, exact.mcse)
    assert averaged.mcse < plain.mcse / 3
    with pytest.raises(ValueError, match="no energy_excess"):
        sltprob.estimate(run, rao_blackwell=True)
