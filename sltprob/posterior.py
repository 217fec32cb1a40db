"""The tempered posterior of a NumPyro program: the only place that knows temperature.

The density is p(θ) ∝ prior(θ) exp(-β L(θ) - γ/2 |θ - θ*|²), where L is the weighted mean of the
negative log likelihoods of the data. It lives on unconstrained coordinates, with the Jacobian of
the transforms in the prior. Only the likelihood is tempered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import compute_log_probs

from sltprob.data import Data
from sltprob.models.base import Model
from sltprob.reparameterise import ReadoutReparam, base_name, reparameterised

__all__ = ["TemperedPosterior", "temper"]

Position = dict[str, Any]

# Rounding of beta*L that is still far below the statistical error of any run.
_LARGEST_ROUNDING = 0.01
# The regression of a readout costs about a seventh of its size in gradients, for every draw.
_LARGEST_REGRESSION = 256


@dataclass(frozen=True)
class Structure:
    """What about a program cannot change without compiling again.

    Parameters
    ----------
    program : callable
        The NumPyro program.
    model : Model or None
        The model that it comes from, if it comes from one.
    shapes : tuple of (name, shape)
        Unconstrained shape of every latent site.
    observed : tuple of (name, axis)
        The observed sites and the axis of their log likelihood that counts the data.
    rows : tuple of str
        The arguments that have one row per datum.
    constants : tuple of (name, value)
        The arguments that are no arrays, such as sizes, flags and names.
    readout : str or None
        The site that is replaced by its base, if one is.
    population : bool
        Whether the data stand for the population of the model.
    """

    program: Callable[..., Any]
    model: Model | None
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    observed: tuple[tuple[str, int], ...]
    rows: tuple[str, ...]
    constants: tuple[tuple[str, Any], ...] = ()
    readout: str | None = None
    population: bool = False

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the latent sites of the program."""
        names = (name for name, _ in self.shapes)
        if self.readout is None:
            return tuple(names)
        base = base_name(self.readout)
        return tuple(self.readout if name == base else name for name in names)

    def run(self, **arguments: Any) -> Any:
        """Run the program with its constants.

        Parameters
        ----------
        **arguments : array
        """
        return self.program(**arguments, **dict(self.constants))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TemperedPosterior:
    """A tempered posterior on unconstrained coordinates.

    It is a pytree: data, weights, beta, localization and center are leaves and may change
    without compiling again. A position is a dict from site name to unconstrained array.
    Make one with `temper`.

    Parameters
    ----------
    arguments : dict of str to array
        Keyword arguments of the program.
    weights : array, shape (n,)
        Weight of each datum in the mean loss.
    beta : array, shape ()
        Inverse temperature, dimensionless; it multiplies the mean loss.
    localization : array, shape ()
        γ >= 0 of the Gaussian around `center`, in constrained coordinates.
    center : dict of str to array
        Constrained values.
    minimum_loss : array, shape ()
        L*, or NaN where it is not known.
    data_error : array, shape ()
        Relative error of the mean loss, from quadrature.
    structure : Structure
    """

    arguments: dict[str, Any]
    weights: Any
    beta: Any
    localization: Any
    center: dict[str, Any]
    minimum_loss: Any
    data_error: Any
    structure: Structure = field(metadata={"static": True})

    @property
    def dimensions(self) -> dict[str, int]:
        """Number of unconstrained coordinates of every site."""
        return {name: math.prod(shape) for name, shape in self.structure.shapes}

    @property
    def dimension(self) -> int:
        """Number of unconstrained coordinates."""
        return sum(self.dimensions.values())

    def at(self, beta: float) -> TemperedPosterior:
        """Give the same posterior at another inverse temperature.

        Parameters
        ----------
        beta : float, dimensionless

        Returns
        -------
        TemperedPosterior

        Raises
        ------
        ValueError
            If beta is not positive and finite, or float32 cannot resolve it.
        """
        return replace(self, beta=jnp.asarray(_checked_beta(beta)))

    def heated(self, factor: Any) -> TemperedPosterior:
        """Give the same posterior with beta multiplied, also in traced code.

        Parameters
        ----------
        factor : array, shape ()

        Returns
        -------
        TemperedPosterior
        """
        return replace(self, beta=self.beta * factor)

    def _reparam(self, values: Mapping[str, Any]) -> ReadoutReparam:
        """Make the map of the readout at values of the other sites; all data shape it."""
        assert self.structure.model is not None
        readout = self.structure.model.readout()
        assert readout is not None
        return ReadoutReparam(
            features=readout.features(values, self.arguments),
            target=self.arguments[readout.target],
            precisions=self.beta * readout.curvature * self.weights,
            localization=self.localization,
            center=self.center.get(readout.site, 0.0),
        )

    @property
    def _program(self) -> Callable[..., Any]:
        """The program whose sites a position has."""
        if self.structure.readout is None:
            return self.structure.run
        return reparameterised(self.structure.run, self.structure.readout, self._reparam)

    def _evaluate(
        self, position: Position, arguments: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Run the program once: log density of the sites, log likelihoods, constrained values.

        The density is the prior with Jacobian and localization; the whole posterior where the
        readout is replaced.
        """
        log_jacobians = []
        values = {}

        def substitute(site: dict[str, Any]) -> Any:
            name = site["name"]
            if site["type"] != "sample" or name not in position:
                return None
            transform = biject_to(site["fn"].support)
            value = transform(position[name])
            log_jacobians.append(jnp.sum(transform.log_abs_det_jacobian(position[name], value)))
            values[name] = value
            return value

        program = handlers.substitute(self._program, substitute_fn=substitute)
        log_probs, trace = compute_log_probs(program, (), dict(arguments), {}, sum_log_prob=False)
        log_density = sum(log_jacobians, jnp.zeros(()))
        log_density += sum(jnp.sum(log_probs[name]) for name in position)
        likelihoods = {name: log_probs[name] for name, _ in self.structure.observed}
        localized = set(self.center)
        if (readout := self.structure.readout) is not None:
            del values[base_name(readout)]
            values[readout] = trace[readout]["value"]
            log_density += log_probs[f"{readout}_evidence"]
            localized -= {readout}
        # Localization with gamma = 0 is exact: the term is 0 times a finite number.
        distance = sum(jnp.sum((values[name] - self.center[name]) ** 2) for name in localized)
        return log_density - 0.5 * self.localization * distance, likelihoods, values

    def _mean_loss(self, likelihoods: Mapping[str, Any], weights: Any) -> Any:
        total = jnp.zeros(())
        for name, axis in self.structure.observed:
            losses = -jnp.moveaxis(likelihoods[name], axis, 0)
            total += weights @ losses.reshape(losses.shape[0], -1).sum(axis=1)
        return total

    def log_prior(self, position: Position) -> Any:
        """Evaluate the log prior with Jacobian and localization: all but -βL.

        Where the readout is replaced, the Jacobian of its map depends on beta.

        Parameters
        ----------
        position : dict of str to array

        Returns
        -------
        array, shape ()
        """
        log_density, likelihoods, _ = self._evaluate(position, self.arguments)
        if self.structure.readout is None:
            return log_density
        return log_density + self.beta * self._mean_loss(likelihoods, self.weights)

    def loss(self, position: Position) -> Any:
        """Evaluate the mean loss L on all data.

        Parameters
        ----------
        position : dict of str to array

        Returns
        -------
        array, shape ()
        """
        return self._mean_loss(self._evaluate(position, self.arguments)[1], self.weights)

    def logdensity(self, position: Position) -> Any:
        """Evaluate the log density, up to a constant.

        Parameters
        ----------
        position : dict of str to array

        Returns
        -------
        array, shape ()
        """
        log_density, likelihoods, _ = self._evaluate(position, self.arguments)
        if self.structure.readout is not None:
            return log_density
        return log_density - self.beta * self._mean_loss(likelihoods, self.weights)

    def loss_from_logdensity(self, position: Position, logdensity: Any) -> Any:
        """Recover the loss from a log density that is already known, at the cost of the prior.

        Where the readout is replaced the likelihood is no part of the density, and the loss is
        evaluated.

        Parameters
        ----------
        position : dict of str to array
        logdensity : array, shape ()

        Returns
        -------
        array, shape ()
        """
        if self.structure.readout is not None:
            return self.loss(position)
        return (self.log_prior(position) - logdensity) / self.beta

    def expected_energy(self, position: Position) -> Any:
        """Evaluate E[βL] over the readout, all other sites as they are: a ridge regression.

        The mean of βL - E[βL | other sites] is zero, which no error of the sampler that the
        readout sees leaves as it is.

        Parameters
        ----------
        position : dict of str to array

        Returns
        -------
        array, shape (), or None
            None where the model has no readout, or one too large to be worth its time.

        References
        ----------
        .. [1] A. E. Gelfand, A. F. M. Smith, "Sampling-based approaches to calculating marginal
           densities", J. Amer. Statist. Assoc. 85 (1990) 398-409 (Rao and Blackwell's theorem).
        """
        readout = None if self.structure.model is None else self.structure.model.readout()
        if readout is None:
            return None
        values = self.constrain(position)
        if min(len(self.weights), jnp.size(values[readout.site])) > _LARGEST_REGRESSION:
            return None
        program = handlers.substitute(
            handlers.seed(self.structure.run, jax.random.PRNGKey(0)), data=values
        )
        prior = handlers.trace(program).get_trace(**self.arguments)[readout.site]["fn"]
        return self._reparam(values).expected_energy(prior)

    def minibatch_logdensity(self, position: Position, minibatch: Mapping[str, Any]) -> Any:
        """Evaluate the unbiased estimate of the log density on a minibatch.

        Parameters
        ----------
        position : dict of str to array
        minibatch : mapping of str to array
            From `draw_minibatch`.

        Returns
        -------
        array, shape ()
        """
        log_prior, likelihoods, _ = self._evaluate(position, minibatch)
        if self.structure.readout is not None:
            log_prior = self.log_prior(position)
        name, axis = self.structure.observed[0]
        size = likelihoods[name].shape[axis]
        weights = jnp.full(size, jnp.sum(self.weights) / size)
        return log_prior - self.beta * self._mean_loss(likelihoods, weights)

    def draw_minibatch(self, rng_key: Any, size: int) -> dict[str, Any]:
        """Draw a minibatch: fresh data from a population, rows (by weight) from a data set.

        Parameters
        ----------
        rng_key : PRNG key
        size : int

        Returns
        -------
        dict of str to array
        """
        if self.structure.population:
            assert self.structure.model is not None
            fresh = self.structure.model.minibatch(rng_key, size)
            if fresh is not None:
                # Without the barrier XLA draws x again for every weight that it meets: 4 times
                # the cost of the whole gradient.
                return jax.lax.optimization_barrier(fresh)
        chosen = jax.random.choice(
            rng_key, len(self.weights), (size,), p=self.weights / jnp.sum(self.weights)
        )
        return {
            name: value[chosen] if name in self.structure.rows else value
            for name, value in self.arguments.items()
        }

    def constrain(self, position: Position) -> dict[str, Any]:
        """Map a position to the values of the latent sites.

        Parameters
        ----------
        position : dict of str to array

        Returns
        -------
        dict of str to array
        """
        return self._evaluate(position, self.arguments)[2]

    def unconstrain(self, values: Mapping[str, Any]) -> Position:
        """Map values of the latent sites to a position.

        Parameters
        ----------
        values : mapping of str to array

        Returns
        -------
        dict of str to array

        Raises
        ------
        ValueError
            If a site is missing or has another shape.
        """
        names = self.structure.sites
        if set(values) != set(names):
            raise ValueError(
                f"values are given for {sorted(values)}; the latent sites are {sorted(names)}"
            )
        program = handlers.substitute(
            handlers.seed(self.structure.run, jax.random.PRNGKey(0)),
            data={name: jnp.asarray(values[name]) for name in names},
        )
        sites = handlers.trace(program).get_trace(**self.arguments)
        position = {}
        for name, (base, shape) in zip(names, self.structure.shapes, strict=True):
            support = sites[name]["fn"].support
            position[base] = biject_to(support).inv(sites[name]["value"])
            if position[base].shape != shape:
                raise ValueError(
                    f"the value of site {name!r} has shape {jnp.shape(values[name])}, which "
                    f"maps to {position[base].shape} unconstrained; it must map to {shape}"
                )
        if (readout := self.structure.readout) is not None:
            found = {name: sites[name]["value"] for name in names}
            base = self._reparam(found).base(sites[readout]["fn"], found[readout])
            position[base_name(readout)] = base
        return position

    def draw_prior(self, rng_key: Any) -> Position:
        """Draw a position from the prior, its readout from the posterior where it is replaced.

        Parameters
        ----------
        rng_key : PRNG key

        Returns
        -------
        dict of str to array
        """
        program = handlers.seed(self._program, rng_key)
        sites = handlers.trace(program).get_trace(**self.arguments)
        return {
            name: biject_to(sites[name]["fn"].support).inv(sites[name]["value"])
            for name, _ in self.structure.shapes
        }


def temper(
    model: Any,
    data: Any = None,
    *,
    beta: float,
    localization: float = 0.0,
    center: Mapping[str, Any] | None = None,
    minimum_loss: float | None = None,
    reparameterise: str | None = None,
) -> TemperedPosterior:
    """Temper a NumPyro program.

    Parameters
    ----------
    model : Model or callable
        A model of this package, or any NumPyro program with at least one observed site that has
        a batch dimension.
    data : Data, mapping of str to array, or None
        Keyword arguments of the program, with weights if they are not equal. None stands for
        the population of a `Model`.
    beta : float, dimensionless
        Inverse temperature; it multiplies the mean loss, so that n is the ordinary posterior of
        n data and n/log(n) is WBIC's.
    localization : float
        γ of the Gaussian exp(-γ/2 |θ - center|²) on constrained values; 0 for none.
    center : mapping of str to array, optional
        Constrained values, by default the optimum of a `Model`.
    minimum_loss : float, optional
        L* of the definition of lambda-hat, by default that of a `Model`: its least loss on the
        population, and on a data set the loss at its true parameter.
    reparameterise : str, optional
        ``"readout"``: sample the site in which the loss is quadratic in coordinates that are
        N(0, I) whatever beta and the other sites are. The density is the same, only better
        conditioned. For a `Model` that has such a site, such as ``tanh_zero`` and ``network``.

    Returns
    -------
    TemperedPosterior

    Raises
    ------
    ValueError
        If a value is out of range, if the program cannot be tempered correctly (the message
        names the site and says what to write instead), or if float32 cannot resolve beta times
        the loss.
    TypeError
        If the model or the data are of no known type.

    References
    ----------
    .. [1] S. Watanabe, "A widely applicable Bayesian information criterion", JMLR 14 (2013).
    .. [2] E. Lau et al., "The local learning coefficient", arXiv 2308.12108 (localization).
    """
    built_in = model if isinstance(model, Model) else None
    program = built_in.program if built_in is not None else model
    if not callable(program):
        raise TypeError(
            f"the model is a {type(model).__name__}; give a NumPyro program (a callable) or a "
            "Model, such as sltprob.models.get('tanh_zero')"
        )
    at_truth = population = False
    if data is None:
        if built_in is None:
            raise TypeError("a program needs data: temper(program, {'x': x, 'y': y}, beta=...)")
        data = built_in.data()
        population = built_in.n is None
        if minimum_loss is None:
            # On a data set the definition takes the loss at the true parameter.
            at_truth = built_in.n is not None
            minimum_loss = None if at_truth else built_in.minimum_loss
    if isinstance(data, Mapping):
        data = Data(data)
    if not isinstance(data, Data):
        raise TypeError(
            f"data is a {type(data).__name__}; give a mapping of the program's arguments, such "
            "as {'x': x, 'y': y}, or Data(arguments, weights)"
        )
    beta = _checked_beta(beta)
    if not 0 <= localization < math.inf:
        raise ValueError(f"localization={localization}: it must be >= 0 and finite")
    arguments, constants = {}, []
    for name, value in data.arguments.items():
        if isinstance(value, np.ndarray | np.generic | jax.Array | list | float):
            arguments[name] = jnp.asarray(value)
        else:
            constants.append((name, value))
    found, observed, size = _inspect(program, {**arguments, **dict(constants)}, data)
    readout = None
    if reparameterise is not None:
        readout = _checked_readout(reparameterise, built_in, [name for name, _ in found])
    shapes = tuple((base_name(name) if name == readout else name, shape) for name, shape in found)
    weights = np.full(size, 1 / size) if data.weights is None else np.asarray(data.weights)
    rows = tuple(
        name
        for name, value in arguments.items()
        if np.ndim(value) >= 1 and np.shape(value)[0] == size
    )
    if center is None and localization > 0:
        if built_in is None:
            raise ValueError(
                f"localization={localization} needs a center: pass center={{'site': value, ...}}"
            )
        center = built_in.optimum()
    posterior = TemperedPosterior(
        arguments=arguments,
        weights=jnp.asarray(weights, dtype=float),
        beta=jnp.asarray(beta),
        localization=jnp.asarray(float(localization)),
        center={} if center is None else {k: jnp.asarray(v) for k, v in center.items()},
        minimum_loss=jnp.asarray(math.nan if minimum_loss is None else float(minimum_loss)),
        data_error=jnp.asarray(float(data.error)),
        structure=Structure(
            program, built_in, shapes, observed, rows, tuple(constants), readout, population
        ),
    )
    if center is not None:
        posterior.unconstrain(posterior.center)
    if at_truth and built_in is not None:
        truth = posterior.loss(posterior.unconstrain(built_in.optimum()))
        posterior = replace(posterior, minimum_loss=truth)
    return posterior


def _checked_beta(beta: float) -> float:
    try:
        beta = float(beta)
    except (TypeError, ValueError):
        raise ValueError(f"beta={beta!r}: it must be a positive number, such as 1e4") from None
    if not 0 < beta < math.inf:
        raise ValueError(f"beta={beta:g}: it must be positive and finite, such as 1e4")
    precision = jnp.finfo(jnp.zeros(()).dtype)
    if precision.bits < 64 and beta * float(precision.eps) > _LARGEST_ROUNDING:
        raise ValueError(
            f"float32 resolves beta*L only to {beta * float(precision.eps):.2g} at "
            f"beta={beta:g} (limit {_LARGEST_ROUNDING}); use beta <= "
            f"{_LARGEST_ROUNDING / float(precision.eps):.2g}, or write numpyro.enable_x64() "
            "before anything else (--dtype float64 on the command line)"
        )
    return beta


def _checked_readout(reparameterise: str, model: Model | None, latent: list[str]) -> str:
    """Give the name of the site in which the loss is quadratic."""
    if reparameterise != "readout":
        raise ValueError(f"reparameterise={reparameterise!r}: it must be 'readout', or None")
    readout = None if model is None else model.readout()
    if readout is None:
        what = "a program of your own" if model is None else type(model).__name__
        raise ValueError(
            f"reparameterise='readout': {what} has no site in which its loss is known to be "
            "quadratic; leave it out, or take a model that has one, such as 'tanh_zero'"
        )
    assert readout.site in latent
    return readout.site


def _inspect(
    program: Callable[..., Any], arguments: Mapping[str, Any], data: Data
) -> tuple[tuple[tuple[str, tuple[int, ...]], ...], tuple[tuple[str, int], ...], int]:
    """Give the latent sites with their unconstrained shapes, the observed ones, and the size."""
    answers = []

    def look() -> None:
        seeded = handlers.seed(program, jax.random.PRNGKey(0))
        latent, observed, size = _sites(handlers.trace(seeded).get_trace(**arguments), data)
        shapes = tuple(
            (
                site["name"],
                biject_to(site["fn"].support).inverse_shape(jnp.shape(site["value"])),
            )
            for site in latent
        )
        answers.append((shapes, observed, size))

    try:
        # Only shapes are needed. To draw values would compile every operation of the program.
        jax.eval_shape(look)
    except jax.errors.JAXTypeError:  # a program that looks at its values
        look()
    return answers[-1]


def _refuse(name: str, what: str, instead: str) -> ValueError:
    return ValueError(f"site {name!r} cannot be tempered: {what}; {instead}")


def _sites(
    sites: Mapping[str, Any], data: Data
) -> tuple[list[Any], tuple[tuple[str, int], ...], int]:
    """Sort the sites of a trace into latent and observed, and refuse what would go wrong."""
    latent, likelihoods = [], []
    for name, site in sites.items():
        kind = site["type"]
        if kind == "plate":
            full, subsample = site["args"]
            if subsample is not None and subsample != full:
                raise _refuse(
                    name,
                    f"the plate takes {subsample} of {full} rows",
                    "write plate(name, size) without subsample_size, and let the sampler "
                    "draw minibatches, as in sgld[batch_size=32]",
                )
        elif kind == "param":
            raise _refuse(name, "a param has no prior", "write numpyro.sample(name, prior) instead")
        elif kind == "control_flow":
            raise _refuse(
                name,
                "sites inside scan or cond are not seen",
                "write the loop with plates or a Python loop",
            )
        if kind != "sample":
            continue
        if site["infer"].get("is_auxiliary", False):
            raise _refuse(
                name,
                "a factor does not say whether it is prior or likelihood",
                "write a likelihood as numpyro.sample(name, distribution, obs=y) and a prior "
                "as numpyro.sample(name, distribution)",
            )
        if site["scale"] is not None and not np.all(np.asarray(site["scale"]) == 1):
            raise _refuse(
                name,
                "a scale handler changes its weight",
                "leave the handler out and pass Data(arguments, weights=...) and beta",
            )
        if site["infer"].get("enumerate") is not None:
            raise _refuse(name, "it is enumerated", "sum it out by hand, as in MixtureSameFamily")
        if site["is_observed"]:
            likelihoods.append(site)
            continue
        if site["fn"].support.is_discrete:
            raise _refuse(name, "it is discrete", "sum it out by hand, as in MixtureSameFamily")
        latent.append(site)
    if not latent:
        raise ValueError("the program has no latent site; write numpyro.sample(name, prior)")
    if not likelihoods:
        raise ValueError(
            "the program has no observed site; write numpyro.sample(name, distribution, obs=y)"
        )
    observed, size = _batch_axes(likelihoods, data)
    return latent, observed, size


def _batch_axes(likelihoods: list[Any], data: Data) -> tuple[tuple[tuple[str, int], ...], int]:
    """Find the axis of each log likelihood that counts the data."""
    size = None if data.weights is None else len(data.weights)
    axes = []
    for site in likelihoods:
        shape = jnp.shape(site["fn"].log_prob(site["value"]))
        if not shape:
            raise _refuse(
                site["name"],
                "its log likelihood is one number, so the data cannot be weighed one by one",
                "give it a batch dimension: a plate over the data, or fewer event dimensions",
            )
        plates = [frame for frame in site["cond_indep_stack"] if frame.size in (size, None)]
        if size is None and len(site["cond_indep_stack"]) == 1:
            plates = list(site["cond_indep_stack"])
        axis = plates[0].dim % len(shape) if len(plates) == 1 else 0
        size = shape[axis] if size is None else size
        if shape[axis] != size:
            raise _refuse(
                site["name"],
                f"its log likelihood has shape {shape}, and there are {size} data",
                "make the data its first axis, or put it in a plate of that size",
            )
        axes.append((site["name"], axis))
    assert size is not None
    return tuple(axes), size
