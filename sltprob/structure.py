"""What about a NumPyro program cannot change without compiling again: its sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions import biject_to

from sltprob.data import Data
from sltprob.models.base import Model
from sltprob.reparameterise import base_name

__all__ = ["Structure", "inspect_program"]


@dataclass(frozen=True)
class Structure:
    """What about a program cannot change without compiling again."""

    program: Callable[..., Any]  # the NumPyro program
    model: Model | None  # the model that it comes from, if it comes from one
    # Shape): Unconstrained shape of every latent site
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    # The observed sites and the axis of their log likelihood that counts the data
    observed: tuple[tuple[str, int], ...]
    rows: tuple[str, ...]  # the arguments that have one row per datum
    # The arguments that are no arrays, such as sizes, flags and names
    constants: tuple[tuple[str, Any], ...] = ()
    readout: str | None = None  # the site that is replaced by its base, if one is
    population: bool = False  # whether the data stand for the population of the model

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the latent sites of the program."""
        names = (name for name, _ in self.shapes)
        if self.readout is None:
            return tuple(names)
        base = base_name(self.readout)
        return tuple(self.readout if name == base else name for name in names)

    def run(self, **arguments: Any) -> Any:
        """Run the program with its constants."""
        return self.program(**arguments, **dict(self.constants))


def inspect_program(
    program: Callable[..., Any], arguments: Mapping[str, Any], data: Data
) -> tuple[tuple[tuple[str, tuple[int, ...]], ...], tuple[tuple[str, int], ...], int]:
    """Look at the sites of a program, and refuse what cannot be tempered correctly."""
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
