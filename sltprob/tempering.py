"""From a NumPyro program to its tempered posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.arguments import FixedArray, check_call, split_arguments
from sltprob.data import Data
from sltprob.fingerprint import Trace, trace_of_program
from sltprob.indexing import refuse_missing_entries
from sltprob.models._loss import LossModel
from sltprob.models.base import Model
from sltprob.posterior import TemperedPosterior
from sltprob.precision import checked_beta
from sltprob.processes import refuse_forked
from sltprob.reading import columns_of, named_data
from sltprob.reparameterise import base_name
from sltprob.structure import Structure, inspect_program

__all__ = ["temper"]


def temper(
    model: Any,
    data: Any = None,
    *,
    beta: float,
    localization: float = 0.0,
    center: Mapping[str, Any] | None = None,
    minimum_loss: float | None = None,
    reparameterise: str | None = None,
    rows: str | int | None = None,
) -> TemperedPosterior:
    """Temper a NumPyro program.

    Parameters
    ----------
    model : Model or callable
        A model of this package, or any NumPyro program with at least one observed site that has
        a batch dimension.
    data : Data, mapping of str to array, data frame, or None
        Keyword arguments of the program, with weights if they are not equal. Arrays may be of
        NumPy, JAX, pandas, polars, xarray or PyTorch; of a data frame the program gets the columns
        that its arguments name. None stands for the population of a `Model`.
    beta : float, dimensionless
        Inverse temperature; it multiplies the mean loss, so that n is the ordinary posterior of
        n data and n/log(n) is WBIC's.
    localization : float
        γ of the Gaussian ``exp(-γ/2 |θ - center|²)`` on constrained values; 0 for none.
    center : mapping of str to array, optional
        Constrained values, by default the optimum of a `Model`.
    minimum_loss : float, optional
        L* of the definition of lambda-hat, by default that of a `Model`: its least loss on the
        population, and on a data set the loss at its true parameter.
    reparameterise : str, optional
        ``"readout"``: sample the site in which the loss is quadratic in coordinates that are
        N(0, I) whatever beta and the other sites are. The density is the same, only better
        conditioned. For a `Model` that has such a site, such as ``tanh_zero`` and ``network``.
    rows : str or int, optional
        What counts the data, where the program can be read in two ways: the name of a plate, or
        an axis of the log likelihood of the observed sites. Otherwise the first axis does.

    Returns
    -------
    TemperedPosterior

    Raises
    ------
    ValueError
        If a value is out of range, if data are missing, infinite or no numbers (the message
        names the argument and the row), if the program cannot be tempered correctly or can be
        read in two ways (it names the site and says what to write instead), if float32 cannot
        resolve beta times the loss, in a fork of a process that has computed, or if JAX's
        generator of random numbers is another one than its own.
    TypeError
        If the model or the data are of no known type.

    References
    ----------
    .. [1] S. Watanabe, "A widely applicable Bayesian information criterion", JMLR 14 (2013).
    .. [2] E. Lau et al., "The local learning coefficient", arXiv 2308.12108 (localization).
    """
    refuse_forked()
    if jax.config.jax_default_prng_impl != "threefry2x32":
        raise ValueError(
            f"jax_default_prng_impl={jax.config.jax_default_prng_impl!r}: NumPyro and the numbers "
            "of a seed need 'threefry2x32'; leave it as it is in JAX"
        )
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
    elif hasattr(data, "columns"):
        data = named_data(columns_of(data), program)
    if not isinstance(data, Data):
        raise TypeError(
            f"data is a {type(data).__name__}; give a mapping of the program's arguments, such "
            "as {'x': x, 'y': y}, or Data(arguments, weights)"
        )
    beta = checked_beta(beta)
    if not 0 <= localization < math.inf:
        raise ValueError(f"localization={localization}: it must be >= 0 and finite")
    if minimum_loss is not None and math.isinf(float(minimum_loss)):
        raise ValueError(f"minimum_loss={minimum_loss}: it must be finite, or left out")
    check_call(program, data.arguments)
    arguments, constants = split_arguments(data.arguments)
    given = None if data.weights is None else len(data.weights)
    inspected, seen = inspect_program(program, arguments, dict(constants), given, rows)
    for name in inspected.looked_at:
        constants = (*constants, (name, FixedArray(arguments.pop(name))))
    found, size = inspected.shapes, inspected.size
    readout = None
    if reparameterise is not None:
        readout = _checked_readout(reparameterise, built_in, [name for name, _ in found])
    shapes = tuple((base_name(name) if name == readout else name, shape) for name, shape in found)
    if data.weights is not None:
        weights = np.asarray(data.weights)
    else:
        # What a mask hides is no datum.
        weights = np.full(size, 1 / size) if seen is None else seen / seen.sum()
    by_row = tuple(
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
            program,
            built_in,
            shapes,
            inspected.observed,
            by_row,
            constants,
            readout,
            population,
            inspected.improper,
        ),
        minimum_loss_error=jnp.asarray(0.0),
    )
    if not _is_own(built_in):
        trace = _traced(posterior)
        structure = replace(posterior.structure, fingerprint=trace.fingerprint)
        posterior = replace(posterior, structure=structure)
        if trace.indexes:
            refuse_missing_entries(posterior)
    if center is not None:
        posterior.unconstrain(posterior.center)
    if at_truth and built_in is not None:
        truth = posterior.loss(posterior.unconstrain(built_in.optimum()))
        posterior = replace(posterior, minimum_loss=truth)
    return posterior


def _traced(posterior: TemperedPosterior) -> Trace:
    try:
        return trace_of_program(posterior)
    except (AssertionError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"the program {posterior.name} cannot be evaluated at given values of its sites "
            f"({type(error).__name__}{reason and ': ' + reason}); all that it draws must be sites "
            "that are seen: no numpyro.prng_key(), and none in handlers.block"
        ) from error


def _is_own(model: Model | None) -> bool:
    """Say whether a program is code of this package, which reads nothing but its options."""
    module = type(model).__module__
    return module.startswith("sltprob.models.") and not isinstance(model, LossModel)


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
