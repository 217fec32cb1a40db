"""Simulation-based calibration: data from prior draws, and where those lie among the posterior's.

A parameter is drawn from the prior and data are drawn from the likelihood at it; the parameter is
then one more draw of the posterior of those data. So its rank among draws of a right sampler is
uniform, whatever the model, and no exact answer is needed.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from scipy import stats

from sltprob import models, samplers
from sltprob.array_statistics import array_stats
from sltprob.diagnostics import Check
from sltprob.diagnostics.base import VEHTARI
from sltprob.models._potential import Potential
from sltprob.models.base import Model
from sltprob.posterior import TemperedPosterior
from sltprob.probes.rerun import gradients_of
from sltprob.probes.significance import FALSE_ALARM_RATE
from sltprob.problem import problem
from sltprob.program import is_program
from sltprob.samplers.base import Sampler
from sltprob.sampling import sample
from sltprob.support import traced

__all__ = ["Calibration", "rank_checks", "simulation_based_calibration"]

TALTS = (
    "Talts, Betancourt, Simpson, Vehtari, Gelman, simulation-based calibration, arXiv 1804.06788"
)

# Ranks run from 0 to this: a hundred of them, which 5, 10 and 20 bins divide.
_KEPT = 99
_MOST_BINS = 20
_FEWEST_PER_BIN = 10
# Polynomials that test the shape of the ranks.
_SHAPES = 4


@dataclass(frozen=True)
class Calibration:
    """The ranks of true parameters among the draws of a sampler.

    Parameters
    ----------
    model, sampler : str
    n : int
        Data in every data set.
    ranks : dict of str to array, shape (data set,)
        Of the loss and of every site: how many of 99 draws are smaller.
    checks : tuple of Check
    gradients : float
        Gradient evaluations on all data, over all data sets.
    seconds : float
    """

    model: str
    sampler: str
    n: int
    ranks: dict[str, np.ndarray]
    checks: tuple[Check, ...]
    gradients: float
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether all checks have passed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    def counts(self, quantity: str) -> np.ndarray:
        """Count the ranks of a quantity in bins of equal width.

        Parameters
        ----------
        quantity : str
            ``"loss"`` or a site.

        Returns
        -------
        array, shape (bin,)
        """
        return _counts(self.ranks[quantity])

    def __str__(self) -> str:
        lines = []
        for check in self.checks:
            lines.append(str(check))
            if not check.passed:
                lines += [f"  {check.finding}", f"  {check.advice}"]
        return "\n".join(lines)


def simulation_based_calibration(
    model: Any,
    sampler: Sampler | str = "hmc",
    *,
    data: Any = None,
    n: int = 20,
    sets: int = 200,
    draws: int = 250,
    warmup: int = 250,
    chains: int = 4,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Test a sampler on data sets that are simulated from the model itself, at β = n.

    Each data set takes a parameter from the prior and data from the likelihood at it; 99 of the
    draws, at equal distances, rank the loss and the norm of every site (the value of a scalar
    one). The ranks must be uniform: a test for each, with a false-alarm rate of one in 1000 for
    all of them together. Everything is compiled once.

    Parameters
    ----------
    model : Model, str, or callable
        A NumPyro program goes with `data`.
    sampler : Sampler or str
    data : Data, mapping of str to array, data frame, or path, optional
        Arguments of a program: the observed ones are replaced, the others are kept.
    n : int
        Data in every data set of a `Model`.
    sets : int
        Data sets, at least 50.
    draws, warmup : int
        Draws per chain.
    chains : int
    seed : int
    progress : callable, optional
        Called with the number of data sets done and in all.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If data cannot be simulated from the model, or a number is out of range.
    TypeError
        If the model is of no known type.

    References
    ----------
    .. [1] S. Talts, M. Betancourt, D. Simpson, A. Vehtari, A. Gelman, "Validating Bayesian
       inference algorithms with simulation-based calibration", arXiv 1804.06788 (2018).
    .. [2] M. Modrák et al., "Simulation-based calibration checking for Bayesian computation: the
       choice of test quantities shapes sensitivity", Bayesian Analysis 20 (2025) 461-488 (why the
       loss, which depends on the data, is among the quantities).
    """
    for name, value, least in (("n", n, 1), ("sets", sets, 50), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name}={value}: it must be a whole number >= {least}")
    if chains * draws < _KEPT:
        raise ValueError(f"draws={draws} of {chains} chains: there must be at least {_KEPT} in all")
    begin = time.perf_counter()
    kernel = samplers.as_sampler(sampler)
    posterior = _template(model, data, n)
    arguments_of_sites = _arguments_of_sites(posterior)
    simulate = jax.jit(lambda key, posterior: _simulate(key, posterior, arguments_of_sites))
    seeds = np.random.SeedSequence(seed).generate_state(2 * sets)
    ranks: dict[str, list[int]] = {}
    sizes: list[float] = []
    gradients = 0.0
    for index in range(sets):
        values, arguments, loss = simulate(jax.random.key(int(seeds[2 * index])), posterior)
        run = sample(
            dataclasses.replace(posterior, arguments=arguments),
            kernel,
            draws=draws,
            warmup=warmup,
            chains=chains,
            seed=int(seeds[2 * index + 1]),
        )
        gradients += gradients_of(run)
        drawn = {"loss": np.asarray(run["sample_stats"]["loss"].values)}
        true = {"loss": float(loss)}
        group = run["posterior"].to_dataset()
        for site, value in values.items():
            drawn[site] = _scalar(np.asarray(group[site.replace("/", ".")].values), 2)
            true[site] = float(_scalar(np.asarray(value), 0))
        sizes.append(min(_effective(trace) for trace in drawn.values()))
        for name, trace in drawn.items():
            kept = trace.ravel()[np.linspace(0, trace.size - 1, _KEPT).round().astype(int)]
            ranks.setdefault(name, []).append(int(np.sum(kept < true[name])))
        if progress is not None:
            progress(index + 1, sets)
    found = {name: np.asarray(values) for name, values in ranks.items()}
    built_in = posterior.structure.model
    return Calibration(
        models.specification(built_in) if built_in else posterior.name,
        samplers.specification(kernel),
        len(posterior.weights),
        found,
        (*rank_checks(found), _size_check(sizes)),
        gradients,
        time.perf_counter() - begin,
    )


def rank_checks(ranks: Mapping[str, Sequence[int] | np.ndarray]) -> list[Check]:
    """Test that ranks are uniform on 0 … 99, by Neyman's smooth test with Šidák's correction.

    The mean, the spread and two finer shapes of the ranks are the first four orthonormal
    polynomials; the sum of their squares is a chi-square of four degrees of freedom. Bins would
    spend their power on shapes that a wrong sampler does not make.

    References
    ----------
    .. [1] J. Neyman, "Smooth test for goodness of fit", Skandinavisk Aktuarietidskrift 20 (1937)
       149-199.
    """
    each = -math.expm1(math.log1p(-FALSE_ALARM_RATE) / len(ranks))
    limit = float(stats.chi2.isf(each, _SHAPES))
    checks = []
    for name, values in ranks.items():
        shapes = _shapes(np.asarray(values))
        statistic = float(np.sum(shapes**2))
        what = "loss" if name == "loss" else f"site {name}"
        checks.append(
            Check(
                f"sbc[{name}]",
                statistic,
                limit,
                "<",
                bool(statistic < limit),
                True,
                f"chi-square of the shape of the ranks of the true {what}, {len(values)} data sets",
                f"{_words(shapes)}: take a smaller step, longer runs, or another sampler.",
                TALTS,
                each,
            )
        )
    return checks


def _size_check(sizes: Sequence[float]) -> Check:
    """Require draws that are nearly independent: ranks among correlated ones are not uniform."""
    size = float(np.median(sizes))
    return Check(
        "sbc_ess",
        size,
        float(_KEPT),
        ">",
        bool(size > _KEPT),
        False,
        "effective sample size of the slowest quantity, median over the data sets",
        "The draws that are ranked are correlated, and their ranks not uniform for that alone: "
        "give more draws.",
        VEHTARI,
    )


def _template(model: Any, data: Any, n: int) -> TemperedPosterior:
    """Temper a data set of the right size at β = n."""
    if isinstance(model, str) and not is_program(model):
        model = models.get(model)
    if isinstance(model, Model):
        if data is not None:
            raise ValueError("data go with a program of your own; a model takes n")
        if model.draw_data(np.random.default_rng(0), n) is None:
            raise ValueError(
                f"{models.specification(model)} has no data to draw; take a model with a "
                "likelihood, such as 'regular', 'network' or 'tanh_zero'"
            )
        model = dataclasses.replace(model, n=n)
    posterior = problem(model, data, minimum_loss=0.0).posterior
    weights = np.asarray(posterior.weights)
    if not np.allclose(weights, 1 / len(weights)):
        raise ValueError("the data have weights, which no simulated data set has; leave them out")
    return posterior.at(len(weights))


def _arguments_of_sites(posterior: TemperedPosterior) -> dict[str, str]:
    """Find the argument that every observed site observes."""
    structure = posterior.structure
    program = handlers.seed(structure.run, jax.random.key(0))
    sites = traced(program, posterior.arguments)
    found = {}
    for name, _ in structure.observed:
        fn = sites[name]["fn"]
        if isinstance(fn, Potential) and type(fn).sample is Potential.sample:
            raise ValueError(
                f"the likelihood of site {name!r} is a loss, from which no data can be drawn; "
                "write it as a distribution of the data"
            )
        value = sites[name]["value"]
        arguments = [key for key, given in posterior.arguments.items() if given is value]
        if not arguments:
            raise ValueError(
                f"site {name!r} does not observe an argument of the program as it is; write "
                f"numpyro.sample({name!r}, distribution, obs=y) with an argument y"
            )
        found[name] = arguments[0]
    return found


def _simulate(
    rng_key: Any, posterior: TemperedPosterior, arguments_of_sites: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Draw a parameter and data: values of the sites, arguments, and the loss of the two."""
    key_prior, key_data = jax.random.split(rng_key)
    structure = posterior.structure
    program = handlers.seed(structure.run, key_prior)
    sites = traced(program, posterior.arguments)
    values = {name: sites[name]["value"] for name in structure.sites}
    arguments = dict(posterior.arguments)
    for index, (name, argument) in enumerate(arguments_of_sites.items()):
        fn, old = sites[name]["fn"], sites[name]["value"]
        batch = jnp.shape(old)[: jnp.ndim(old) - fn.event_dim]
        new = fn.expand(batch).sample(jax.random.fold_in(key_data, index))
        arguments[argument] = new.astype(old.dtype)
    fitted = dataclasses.replace(posterior, arguments=arguments)
    return values, arguments, fitted.loss(fitted.unconstrain(values))


def _scalar(values: np.ndarray, leading: int) -> np.ndarray:
    """Give one number for each draw of a site: its norm, or the value of a scalar."""
    flat = values.reshape(*values.shape[:leading], -1)
    if flat.shape[-1] == 1:
        return flat[..., 0]
    return np.asarray(np.linalg.norm(flat, axis=-1))


def _effective(trace: np.ndarray) -> float:
    """Give the effective sample size, zero where there is none."""
    if not np.all(np.isfinite(trace)) or not np.all(np.ptp(trace, axis=1) > 0):
        return 0.0
    return float(array_stats.ess(trace, chain_axis=0, draw_axis=1, method="bulk"))


def _counts(ranks: np.ndarray) -> np.ndarray:
    bins = next((b for b in (_MOST_BINS, 10) if len(ranks) >= _FEWEST_PER_BIN * b), 5)
    return np.bincount(ranks * bins // (_KEPT + 1), minlength=bins)


def _shapes(ranks: np.ndarray) -> np.ndarray:
    """Give the components of ranks along polynomials, standard normal for uniform ranks."""
    places = np.linspace(-1, 1, _KEPT + 1)
    basis, triangle = np.linalg.qr(np.vander(places, _SHAPES + 1, increasing=True))
    polynomials = basis * np.sign(np.diag(triangle)) * math.sqrt(places.size)
    components: np.ndarray = polynomials[ranks, 1:].sum(axis=0) / math.sqrt(len(ranks))
    return components


def _words(shapes: np.ndarray) -> str:
    """Say what is wrong, by the larger of the components of the mean and of the spread."""
    shift, spread = shapes[:2]
    if abs(shift) > abs(spread):
        return f"The draws are too {'small' if shift > 0 else 'large'}"
    return f"The draws are spread too {'narrowly' if spread > 0 else 'widely'}"
