"""The tempered posterior of a NumPyro program: the only place that knows temperature.

The density is p(θ) ∝ prior(θ) exp(-β L(θ) - γ/2 |θ - θ*|²), where L is the weighted mean of the
negative log likelihoods of the data. It lives on unconstrained coordinates, with the Jacobian of
the transforms in the prior. Only the likelihood is tempered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from numpyro import handlers
from numpyro.distributions import biject_to

from sltprob.description import Described, described
from sltprob.fingerprint import trace_of_program
from sltprob.precision import checked_beta
from sltprob.reparameterise import ReadoutReparam, base_name, reparameterised
from sltprob.structure import Structure
from sltprob.support import constrain, log_probs_of, seeded, traced

__all__ = ["TemperedPosterior"]

Position = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class TemperedPosterior(Described):
    """A tempered posterior on unconstrained coordinates.

    It is a pytree whose leaves may change without compiling again. A position is a dict from site
    name to unconstrained array. Make one with `sltprob.temper`.

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
    minimum_loss_error : array, shape ()
        How far below `minimum_loss` the least loss may lie: 0 for an exact one.
    structure : Structure
    """

    arguments: dict[str, Any]
    weights: Any
    beta: Any
    localization: Any
    center: dict[str, Any]
    minimum_loss: Any
    data_error: Any
    minimum_loss_error: Any
    structure: Structure = field(metadata={"static": True})

    @property
    def dimensions(self) -> dict[str, int]:
        """Number of unconstrained coordinates of every site."""
        return {name: math.prod(shape) for name, shape in self.structure.shapes}

    @property
    def dimension(self) -> int:
        """Number of unconstrained coordinates."""
        return sum(self.dimensions.values())

    @property
    def num_rows(self) -> int:
        """Number of data that count: those with a weight."""
        return int(jnp.count_nonzero(self.weights))

    @property
    def name(self) -> str:
        """Name of the program."""
        program = self.structure.program
        name = getattr(program, "__name__", type(program).__name__)
        return str(getattr(program, "sltprob_name", name))

    def __repr__(self) -> str:
        if isinstance(self.beta, jax.core.Tracer):
            return f"TemperedPosterior({self.name}, traced)"
        structure = self.structure
        kind = "nodes of a quadrature" if structure.population else "data"
        observed = ", ".join(f"{name} by axis {axis}" for name, axis in structure.observed)
        numbers = {"beta": float(self.beta), "L*": float(self.minimum_loss)}
        if float(self.localization) > 0:
            numbers["localization"] = float(self.localization)
        return described(
            f"TemperedPosterior of {structure.model or self.name}",
            arguments=self.arguments | structure.fixed,
            rows=f"{self.num_rows} {kind} ({observed})",
            sites=dict(structure.shapes),
            numbers=numbers,
        )

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
        return replace(self, beta=jnp.asarray(checked_beta(beta)))

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

    def readout_map(self, values: Mapping[str, Any]) -> ReadoutReparam:
        """Make the map of the readout at values of the other sites; all data shape it."""
        model: Any = self.structure.model  # one that has a readout
        readout = model.readout()
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
        return reparameterised(self.structure.run, self.structure.readout, self.readout_map)

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
            value, log_jacobian = constrain(site["fn"].support, position[name])
            log_jacobians.append(log_jacobian)
            values[name] = value
            return value

        program = handlers.substitute(self._program, substitute_fn=substitute)
        log_probs, trace = log_probs_of(program, arguments)
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

    def log_likelihoods(self, position: Position, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Evaluate the log likelihoods of every observed site on the given arguments.

        Parameters
        ----------
        position : dict of str to array
        arguments : mapping of str to array

        Returns
        -------
        dict of str to array
        """
        return self._evaluate(position, arguments)[1]

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
        log_density, loss = _parts(self, position)
        return log_density if self.structure.readout is None else log_density + self.beta * loss

    def loss(self, position: Position) -> Any:
        """Evaluate the mean loss L on all data.

        Parameters
        ----------
        position : dict of str to array

        Returns
        -------
        array, shape ()
        """
        return _parts(self, position)[1]

    def logdensity(self, position: Position) -> Any:
        """Evaluate the log density, up to a constant.

        Parameters
        ----------
        position : dict of str to array

        Returns
        -------
        array, shape ()
        """
        log_density, loss = _parts(self, position)
        return log_density - self.beta * loss if self.structure.readout is None else log_density

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
        return log_prior - self.beta * self._mean_loss(
            likelihoods, jnp.full(size, jnp.sum(self.weights) / size)
        )

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
        if set(values) != set(names := self.structure.sites):
            raise ValueError(
                f"values are given for {sorted(values)}; the latent sites are {sorted(names)}"
            )
        program = handlers.substitute(
            seeded(self.structure.run, jax.random.PRNGKey(0)),
            data={name: jnp.asarray(values[name]) for name in names},
        )
        sites = traced(program, self.arguments)
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
            base = self.readout_map(found).base(sites[readout]["fn"], found[readout])
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
        program = seeded(self._program, rng_key)
        sites = traced(program, self.arguments)
        return {
            name: biject_to(sites[name]["fn"].support).inv(sites[name]["value"])
            for name, _ in self.structure.shapes
        }


# Inline: on one core XLA forgets, in some programs with calls, how LAPACK is to be called.
@partial(jax.jit, inline=True)
def _parts(posterior: TemperedPosterior, position: Position) -> tuple[Any, Any]:
    """Give the density, but for a likelihood that is apart, and the loss; a run traces it once."""
    known = posterior.structure.fingerprint
    if known and known != trace_of_program(posterior).fingerprint:
        raise ValueError(
            f"the program {posterior.name} reads values outside its arguments, and they are others "
            "than in temper(...); call temper again, or pass them as data"
        )
    log_density, likelihoods, _ = posterior._evaluate(position, posterior.arguments)
    return log_density, posterior._mean_loss(likelihoods, posterior.weights)
