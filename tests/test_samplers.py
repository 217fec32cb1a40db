"""Does every sampler sample the density it is given, and does a broken one fail?

The suite runs over `samplers.names()`: a new file is tested before its author writes a test. The
target is a Gaussian whose lambda-hat is known at every beta, with modes that the loss sees a
little, mostly and wholly. Every key is fixed, so a failure is a change of the code; over fresh
keys |z| < 5 would fail once in 1.7 million comparisons, if the errors were normal.
"""

import dataclasses
import functools

import blackjax.mcmc.elliptical_slice
import blackjax.mcmc.proposal
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.optimize

import sltprob
from sltprob import samplers
from sltprob.samplers._stochastic import StochasticChain
from sltprob.samplers.adjusted_mclmc import _num_steps
from sltprob.samplers.base import evaluate_position
from sltprob.sampling import compilation

BETA = 10.0
CURVATURES = np.array([0.1, 1.0, 10.0])
EXACT = 0.5 * np.sum(BETA * CURVATURES / (1 + BETA * CURVATURES))
# Curvatures of the potential, prior included.
TOTAL = 1 + BETA * CURVATURES

UNADJUSTED = {"sgld", "preconditioned_sgld", "sghmc", "sgnht", "mclmc"}
# Options of the contract. Without noise of the gradient the bias on a Gaussian is a formula in
# the step size; friction slows the flat mode down.
OPTIONS = {
    "sgld": {"batch_size": "none", "steps_per_draw": 100},
    "preconditioned_sgld": {"batch_size": "none"},
    "sghmc": {"batch_size": "none", "steps_per_draw": 300},
    "sgnht": {"batch_size": "none", "steps_per_draw": 300},
    "adjusted_mclmc": {"target_acceptance_rate": 0.6},
    # Given, so that no pilot run is compiled.
    "replica_exchange": {"num_rungs": 6},
    "tempered_smc": {"num_rungs": 6},
}
# A mutant that is only a little wrong needs more draws to be seen.
DRAWS = {"adjusted_mclmc": 8000}
# What the docstrings promise for the steps that the rules choose, relative.
PROMISED_BIAS = 0.03

# Singular and regular, products and a network, in 2 to 8 dimensions; all have Gaussian priors,
# so that every sampler applies, and exact values that no sampler had a part in.
MODELS = [
    ("regular[dimension=3]", 10.0),
    ("normal_crossing[prior=normal]", 100.0),
    ("scalar_product[size=2]", 30.0),
    ("deep_linear[widths=2:2:1]", 10.0),
    ("radial[dimension=3]", 10.0),
    ("tanh_zero[width=4,embedding_prior=normal[1]]", 100.0),
]

NAMES = samplers.names()
ADJUSTED = [name for name in NAMES if name not in UNADJUSTED]


def fast(names, quick):
    """Mark all names slow but some."""
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in names]


def specification(name, **options):
    options = {**OPTIONS.get(name, {}), **options}
    inside = ",".join(f"{key}={value}" for key, value in options.items())
    return f"{name}[{inside}]" if inside else name


def gaussian(mode, y, mean=lambda w: w):
    """Give w_i a prior N(0, 1) and one datum, whose weight is its curvature."""
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(mean(w)[mode], 1.0), obs=y)


def make_target(program):
    data = sltprob.Data({"mode": np.arange(3), "y": np.zeros(3)}, CURVATURES)
    minimum = 0.5 * np.log(2 * np.pi) * np.sum(CURVATURES)
    return sltprob.temper(program, data, beta=BETA, minimum_loss=minimum)


@functools.cache
def target():
    return make_target(gaussian)


def draw(name, seed=1, draws=1000, warmup=200, chains=4, **options):
    return sltprob.sample(
        target(),
        specification(name, **options),
        draws=draws,
        warmup=warmup,
        chains=chains,
        seed=seed,
    )


@functools.cache
def run_of(name):
    """Make the run that several tests look at, of a seed whose checks all pass, as most do."""
    return draw(name, seed=2)


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    """Group the tests of one sampler, so that one process of xdist has them all."""
    return request.param


def z_score(run, expected=EXACT, allowance=0.0):
    """Distance from the exact value, beyond what is allowed, in Monte Carlo standard errors."""
    result = sltprob.estimate(run)
    return max(abs(result.value - expected) - allowance, 0.0) / result.mcse


def is_exact(run, allowance=0.0):
    """Say whether the answer is right, and known well enough to say so."""
    return z_score(run, allowance=allowance) < 5 and sltprob.estimate(run).mcse < 0.05 * EXACT


def parameter(run, name):
    return run["constant_data"][name].values


@pytest.mark.turns
def test_lambda_hat_is_exact_on_a_gaussian(name):
    unadjusted = samplers.get(name).unadjusted
    assert unadjusted == (name in UNADJUSTED)
    allowance = PROMISED_BIAS * EXACT if unadjusted else 0.0
    run = run_of(name)
    found = sltprob.estimate(run)
    assert is_exact(run, allowance), found
    # What the step does is in the error, but for mclmc, which measures its step by another number.
    if name != "mclmc":
        assert abs(found.value - EXACT) < 4 * found.error
    assert (found.error > 1.001 * found.mcse) == (name in UNADJUSTED - {"mclmc"})
    assert sltprob.diagnose(run).trusted, str(sltprob.diagnose(run))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "beta"), MODELS)
def test_lambda_hat_is_exact_on_every_model(name, model, beta):
    """|z| < 4 beyond the bias that an unadjusted sampler states.

    False-alarm rate: once in 16,000 for each pair, once in 160 for all 16 samplers by 6 models.
    """
    chosen = sltprob.models.get(model)
    exact = chosen.exact(beta)
    run = sltprob.sample(
        sltprob.temper(chosen, beta=beta), specification(name), draws=4000, warmup=500, seed=1
    )
    result = sltprob.estimate(run)
    allowance = PROMISED_BIAS * exact.lambda_hat if name in UNADJUSTED else 0.0
    gap = max(abs(result.value - exact.lambda_hat) - allowance, 0.0)
    assert gap < 4 * np.hypot(result.mcse, exact.mcse), (result, exact)
    assert result.mcse < 0.06 * exact.lambda_hat


@pytest.mark.turns
def test_the_seed_decides_the_draws(name):
    # As many draws each, so that nothing is compiled.
    first, again, other = (
        run["posterior"]["w"].values for run in (run_of(name), draw(name, seed=2), draw(name))
    )
    np.testing.assert_array_equal(again, first)
    assert np.all(other != first)


@pytest.mark.turns
def test_what_is_recorded_is_finite_and_has_the_right_shape(name):
    run = run_of(name)
    assert run["posterior"]["w"].shape == (4, 1000, 3)
    for variable in run["sample_stats"].data_vars.values():
        assert variable.shape[:2] == (4, 1000)
        assert np.all(np.isfinite(variable.values)), variable.name
    warmup_loss = run["warmup_sample_stats"]["loss"]
    assert warmup_loss.sizes["chain"] == 4
    assert np.all(np.isfinite(warmup_loss.values))
    for tuned in run["constant_data"].data_vars.values():
        assert np.all(np.isfinite(tuned.values)), tuned.name
    stats = run["sample_stats"]
    if "acceptance_rate" in stats:
        assert np.all((stats["acceptance_rate"] >= 0) & (stats["acceptance_rate"] <= 1))
    assert np.all(stats["num_gradients"] >= 1)
    assert run.attrs["warmup_gradients"] >= 4 * 50


def test_the_specification_round_trips(name):
    sampler = samplers.get(name)
    assert samplers.specification(sampler) == name
    changed = {
        field.name: 2 * field.default
        for field in dataclasses.fields(sampler)
        if isinstance(field.default, int) and field.init
    }
    other = dataclasses.replace(sampler, **changed)
    text = samplers.specification(other)
    assert samplers.get(text) == other
    assert hash(samplers.get(text)) == hash(other)


def test_warmup_takes_one_chain(name):
    sampler = samplers.get(name)
    positions = {"w": jnp.zeros((1, 3))}
    posterior = target()  # made here: a trace would leak into what is cached
    warm = jax.eval_shape(
        lambda positions: sampler.warmup(jax.random.key(0), posterior, positions, 20), positions
    )
    assert all(leaf.shape[0] == 1 for leaf in jax.tree.leaves(warm.states))
    assert warm.trace["loss"].shape[1] == 1
    shapes = {name: value.shape for name, value in warm.parameters.items()}
    # What is tuned has no axis of chains; on a ladder it has one of rungs.
    rungs = shapes.get("beta", ())
    assert set(shapes.values()) <= {(), (3,), rungs, (*rungs, 3)}, shapes


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_one_chain_samples_too(name):
    run = draw(name, chains=1, draws=4000)
    allowance = PROMISED_BIAS * EXACT if name in UNADJUSTED else 0.0
    assert z_score(run, allowance=allowance) < 5


@pytest.mark.turns
@pytest.mark.parametrize("name", fast(NAMES, {"hmc"}))
def test_gradients_are_counted(name):
    """Count the evaluations of one step by a callback in the likelihood of the program.

    Those of several rungs at once are counted one by one, and the prior alone is none.
    """
    evaluations = []

    def count(w):
        evaluations.append(1)
        return w

    @jax.custom_jvp
    def counted_mean(w):
        return jax.pure_callback(count, w, w, vmap_method="sequential")

    counted_mean.defjvp(lambda primals, tangents: (counted_mean(*primals), *tangents))

    def counting(mode, y):
        gaussian(mode, y, counted_mean)

    sampler = samplers.get(specification(name))
    tuned = {
        key: jnp.asarray(value.values)
        for key, value in run_of(name)["constant_data"].variables.items()
        if key not in ("site", "site_dimension")
    }
    key = jax.random.key(0)
    posterior = target()
    states = jax.jit(lambda positions: sampler.warmup(key, posterior, positions, 20).states)(
        {"w": jnp.full((1, 3), 0.1)}
    )
    state = jax.tree.map(lambda leaf: leaf[0], states)
    posterior = make_target(counting)
    step = jax.jit(lambda state: sampler.step(key, posterior, state, tuned))
    evaluations.clear()
    _, info = jax.block_until_ready(step(state))
    jax.effects_barrier()
    # A draw of a population counts the share of one particle.
    counted = float(info["num_gradients"]) * getattr(sampler, "num_particles", 1)
    # What a stochastic gradient sampler evaluates to be judged by is no part of the sampling.
    judging = 8 if "batch_size" in OPTIONS.get(name, {}) else 0
    assert counted <= len(evaluations) <= counted + judging


def always_accept(rng_key, log_p_accept, proposal, new_proposal):
    p_accept = jnp.clip(jnp.exp(log_p_accept), max=1)
    do_accept = jax.random.bernoulli(rng_key, 1.0)
    return new_proposal, (do_accept, p_accept, None)


def always_take(rng_key, proposal, new_proposal):
    return new_proposal._replace(
        weight=jnp.logaddexp(proposal.weight, new_proposal.weight),
        sum_log_p_accept=jnp.logaddexp(proposal.sum_log_p_accept, new_proposal.sum_log_p_accept),
    )


def take_the_first(log_likelihood, momentum_generator, mean):
    return ELLIPTICAL_PROPOSAL(lambda position: jnp.zeros(()), momentum_generator, mean)


ELLIPTICAL_PROPOSAL = blackjax.mcmc.elliptical_slice.elliptical_proposal


@pytest.fixture
def without_rejection(monkeypatch):
    """Break the acceptance of all kernels, also where it is bound as a default argument."""
    monkeypatch.setattr(compilation, "programs", {})
    proposal = blackjax.mcmc.proposal
    for function, mutant in (
        (proposal.static_binomial_sampling, always_accept),
        (proposal.progressive_uniform_sampling, always_take),
        (proposal.progressive_biased_sampling, always_take),
    ):
        monkeypatch.setattr(function, "__code__", mutant.__code__)
    monkeypatch.setattr(blackjax.mcmc.elliptical_slice, "elliptical_proposal", take_the_first)


@pytest.mark.turns
@pytest.mark.parametrize("name", fast(ADJUSTED, {"mala"}))
@pytest.mark.usefixtures("without_rejection")
def test_without_rejection_the_answer_is_wrong(name):
    """The comparison with the exact value must see the mutant; the verdict must not trust it."""
    run = draw(name, draws=DRAWS.get(name, 1000))
    assert not is_exact(run)
    assert not sltprob.diagnose(run).trusted


@pytest.mark.slow
def test_the_thermostat_forgets_a_hot_start():
    """Its friction relaxes in a time of the posterior's own, so that the bias is that of all β."""
    model = sltprob.models.get("regular[dimension=3]")
    run = sltprob.sample(sltprob.temper(model, beta=1e4), "sgnht[batch_size=none]", draws=1000)
    result, exact = sltprob.estimate(run), model.exact(1e4).lambda_hat
    gap = abs(result.value - exact) - PROMISED_BIAS * exact
    assert gap < 4 * result.mcse, result
    assert result.mcse < 0.03 * exact


def variances(name, run):
    """Predict the variance of every mode under a biased kernel, times its curvature."""
    step_size = parameter(run, "step_size")
    if name == "sgld":
        return 1 / (1 - step_size * TOTAL / 2)
    if name == "preconditioned_sgld":
        return 1 / (1 - step_size * parameter(run, "scale") ** 2 * TOTAL / 2)
    friction = float(parameter(run, "friction"))

    def kinetic(thermostat):
        """Give the variance of each momentum, when noise has friction but drag thermostat."""
        small, square = step_size * thermostat, step_size**2 * TOTAL
        loss = 1 - small / 2 - square / small + 0.75 * square - square**2 / (4 * small)
        return friction / thermostat / loss

    drag = friction
    if name == "sgnht":
        # It holds the mean at 1. That its drag fluctuates is left out.
        drag = scipy.optimize.brentq(lambda x: kinetic(x).mean() - 1, friction, 3 * friction)
    return kinetic(drag) * (1 - step_size * drag / 2 + step_size**2 * TOTAL / 2)


TOO_LARGE = {
    "sgld": {"step_size": 6e-3},
    "preconditioned_sgld": {"step_size": 0.015},
    "sghmc": {"step_size": 0.02},
    "sgnht": {"step_size": 0.03},
    "mclmc": {"step_size": 3.5},
}


NOISY = {
    "sgld": {"step_size": 2e-3},
    "preconditioned_sgld": {"step_size": 3e-3},
    "sghmc": {"step_size": 8e-3},
    "sgnht": {"step_size": 8e-3},
}


@pytest.mark.turns
@pytest.mark.parametrize("name", fast(sorted(UNADJUSTED), {"sgld"}))
def test_a_step_that_is_too_large_is_not_trusted(name):
    run = draw(name, draws=2000, **TOO_LARGE[name])
    assert z_score(run) > 5
    verdict = sltprob.diagnose(run)
    assert verdict.status == "wrong"
    check = "energy_variance" if name == "mclmc" else "step_bias"
    assert check in {failed.name for failed in verdict.failed}
    if name == "mclmc":
        return
    predicted = 0.5 * np.sum(BETA * CURVATURES / TOTAL * variances(name, run))
    allowance = 0.1 * abs(predicted - EXACT) if name == "sgnht" else 0.0
    assert z_score(run, predicted, allowance) < 5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(UNADJUSTED - {"mclmc"}))
def test_noise_of_the_gradient_is_reported(name):
    """One row of data a step, the rows of all weights: λ̂ moves by what the run says it does."""
    run = draw(name, draws=4000, batch_size=1, **NOISY[name])
    assert sltprob.diagnose(run).status == "wrong"
    if name in ("preconditioned_sgld", "sghmc"):
        result, stats = sltprob.estimate(run), run["sample_stats"]
        loss, tilt = BETA * stats["loss"].values, stats["log_tilt"].values
        reported = np.cov(loss.ravel(), tilt.ravel())[0, 1] + float(stats["noise_bias"].mean())
        assert abs(result.value - EXACT - reported) < 5 * result.mcse + 0.3 * reported


@pytest.mark.slow
def test_the_bias_of_sgld_is_of_first_order():
    """Full gradients: λ̂ = ½ Σ βh/(A(1 - εA/2)), A = βh + 1/τ², in BlackJAX's ε.

    The standard errors are those of means over independent chains.
    """
    sampler = samplers.get("sgld[batch_size=none,steps_per_draw=100]")
    posterior, chains, draws = target(), 1024, 400
    step_sizes = 5e-3 / 2.0 ** np.arange(4)

    def one(key, step_size):
        key_start, key_draws = jax.random.split(key)
        start = {"w": jax.random.normal(key_start, (3,)) / jnp.sqrt(TOTAL)}
        state = StochasticChain(evaluate_position(posterior, start), ())

        def body(state, key):
            state, _ = sampler.step(key, posterior, state, {"step_size": step_size})
            loss = posterior.loss(state.evaluation.position)
            return state, loss - posterior.minimum_loss

        _, loss = jax.lax.scan(body, state, jax.random.split(key_draws, draws))
        return BETA * jnp.mean(loss[draws // 4 :])

    keys = jax.random.split(jax.random.key(5), (len(step_sizes), chains))
    over_chains = jax.vmap(one, in_axes=(0, None))
    means = np.asarray(jax.jit(jax.vmap(over_chains))(keys, step_sizes))
    found = means.mean(axis=1)
    errors = means.std(axis=1, ddof=1) / np.sqrt(chains)
    factors = 1 / (1 - step_sizes[:, None] * TOTAL / 2)
    expected = 0.5 * np.sum(BETA * CURVATURES / TOTAL * factors, axis=1)
    assert np.all(np.abs(found - expected) < 5 * errors)
    bias = found - EXACT
    assert np.all(errors[:3] < 0.1 * bias[:3])
    # The order that two successive steps show tends to 1 from above.
    orders = np.log2(bias[:-1] / bias[1:])
    assert 0.8 < orders[1] < 1.4
    assert 0.9 < orders[0] < 1.5


def refuse(sampler, program, data):
    posterior = sltprob.temper(program, data, beta=BETA, minimum_loss=0.0)
    with pytest.raises(ValueError, match="does not apply to") as caught:
        sltprob.sample(posterior, sampler)
    return str(caught.value)


def uniform(y):
    w = numpyro.sample("w", dist.Uniform(-1.0, 1.0).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(w, 1.0), obs=y)


def hierarchy(y):
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 1.0))
    w = numpyro.sample("w", dist.Normal(0.0, scale).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(w, 1.0), obs=y)


def log_normal(y):
    w = numpyro.sample("w", dist.LogNormal(1.0, 0.5).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(w, 1.0), obs=y)


def one_dimension(y):
    w = numpyro.sample("w", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(w, 1.0).expand([3]), obs=y)


@pytest.mark.parametrize("program", [uniform, hierarchy])
def test_elliptical_slice_says_which_priors_it_cannot_take(program):
    message = refuse("elliptical_slice", program, {"y": np.zeros(3)})
    assert "product of Gaussians" in message
    assert program.__name__ in message


def test_elliptical_slice_takes_what_is_gaussian_in_unconstrained_coordinates():
    posterior = sltprob.temper(log_normal, {"y": np.zeros(3)}, beta=BETA)
    sampler = samplers.get("elliptical_slice")
    assert sampler.applies_to(posterior) is None
    assert sampler.applies_to(target()) is None


def test_microcanonical_trajectories_are_as_rare_as_they_are_long():
    """Of 4,096 draws x times as many steps as the shortest mean has about one in x."""
    counts = np.asarray(jax.vmap(lambda k: _num_steps(k, 8.0, 2048.0))(jnp.arange(4096)))
    for rarity in (4, 16, 64):
        # Lengths are spread from 0 to 2 times their mean: the part above x falls like 1/x still.
        assert 0.7 < np.mean(counts > 8 * rarity) * rarity < 1.3
    assert counts.max() < 2 * 2048
    assert counts.min() >= 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "beta"), [("mclmc", 1e4), ("adjusted_mclmc", 1e6)])
def test_microcanonical_samplers_cross_a_cold_network(name, beta):
    """False-alarm rate: |z| < 5 fails once in 1.7 million comparisons over fresh keys.

    Chains that warmed up at the target alone were frozen there, or left the range of numbers.
    """
    model = sltprob.models.get("tanh_zero[width=16]")
    run = sltprob.sample(sltprob.temper(model, beta=beta), name, keep="loss")
    found, exact = sltprob.estimate(run), model.exact(beta)
    assert abs(found.value - exact.lambda_hat) < 5 * np.hypot(found.mcse, exact.mcse)
    assert sltprob.diagnose(run).trusted, str(sltprob.diagnose(run))


@pytest.mark.parametrize("name", ["mclmc", "adjusted_mclmc"])
def test_a_microcanonical_velocity_needs_two_dimensions(name):
    assert "one dimension" in refuse(name, one_dimension, {"y": np.zeros(3)})


@pytest.mark.parametrize(
    "text",
    [
        "barker[step_size=0]",
        "barker[steps_per_draw=0]",
        "random_walk[target_acceptance_rate=1]",
        "nuts[max_tree_depth=0]",
        "dynamic_hmc[trajectory_length=0]",
        "dynamic_hmc[max_num_steps=0]",
        "preconditioned_sgld[decay=1]",
        "preconditioned_sgld[damping=0]",
        "sghmc[friction=-1]",
        "sgnht[batch_size=0]",
        "mclmc[desired_energy_var=0]",
        "adjusted_mclmc[mean_num_steps=1]",
        "elliptical_slice[steps_per_draw=0]",
    ],
)
def test_options_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match="it must"):
        samplers.get(text)
