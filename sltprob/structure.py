"""What about a NumPyro program cannot change without compiling again: its sites."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.contrib.module import ParamShape
from numpyro.distributions import biject_to

from sltprob.arguments import FixedArray
from sltprob.models.base import Model
from sltprob.observed import likelihood_rows, mask_of, refuse
from sltprob.reparameterise import base_name
from sltprob.support import is_improper, seeded, traced

__all__ = ["Structure", "inspect_program"]

# What JAX raises where a program looks at values: int(x), if x, np.exp(x), x[x > 0].
_LOOKS = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)

type Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Structure:
    """What about a program cannot change without compiling again.

    Two structures of equal models are equal, whatever data were drawn from the models.
    """

    # A model counts by `identity`: its bound methods differ from object to object.
    program: Callable[..., Any] = field(compare=False)
    model: Model | None = field(compare=False)  # the one that the program comes from, if any
    shapes: Shapes  # unconstrained shape of every latent site
    # The observed sites and the axis of their log likelihood that counts the data
    observed: tuple[tuple[str, int], ...]
    rows: tuple[str, ...]  # the arguments that have one row per datum
    # The arguments that are no arrays (sizes, flags, names), and those whose values decide shapes
    constants: tuple[tuple[str, Any], ...] = ()
    readout: str | None = None  # the site that is replaced by its base, if one is
    population: bool = False  # whether the data stand for the population of the model
    improper: tuple[str, ...] = ()  # sites whose prior cannot be drawn from
    fingerprint: str = ""  # of a program that may read more than its arguments
    identity: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        model = self.model
        identity = self.program if model is None else model.compilation_key()
        object.__setattr__(self, "identity", identity)

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
        return self.program(**arguments, **self.fixed)

    @property
    def fixed(self) -> dict[str, Any]:
        """The constants, as the program gets them."""
        return {
            name: value.values if isinstance(value, FixedArray) else value
            for name, value in self.constants
        }


@dataclass(frozen=True)
class Inspected:
    """What one trace of a program says."""

    shapes: Shapes
    observed: tuple[tuple[str, int], ...]
    size: int
    improper: tuple[str, ...]
    hides: bool  # whether an observed site has a mask
    looked_at: tuple[str, ...]  # arrays into whose values the program looks


def inspect_program(
    program: Callable[..., Any],
    arrays: Mapping[str, Any],
    constants: Mapping[str, Any],
    size: int | None,
    rows: str | int | None,
) -> tuple[Inspected, np.ndarray | None]:
    """Look at the sites of a program, and refuse what cannot be tempered correctly.

    Only shapes are needed: to draw values would compile every operation of the program. One that
    looks at values, as in ``int(group.max())``, gets those arrays as NumPy's.

    Returns
    -------
    Inspected
    array of bool, shape (n,), or None
        Which data a mask leaves to be seen; None where there is no mask.
    """
    answers = []
    looked_at: tuple[str, ...] = ()
    values = dict(arrays)

    def look(given: Mapping[str, Any]) -> None:
        arguments = {**constants, **given}
        sites = _traced_once(program, arguments)
        latent, likelihoods = _sites(sites, program, arguments)
        shapes = tuple(
            (
                site["name"],
                biject_to(site["fn"].support).inverse_shape(jnp.shape(site["value"])),
            )
            for site in latent
        )
        lengths = {name: jnp.shape(value) for name, value in arguments.items()}
        groups = {frame.name for site in latent for frame in site["cond_indep_stack"]}
        observed, found = likelihood_rows(likelihoods, size, lengths, rows, groups)
        improper = tuple(site["name"] for site in latent if is_improper(site["fn"]))
        hides = any(mask_of(site["fn"]) is not None for site in likelihoods)
        answers.append(Inspected(shapes, observed, found, improper, hides, looked_at))

    try:
        jax.eval_shape(look, values)
    except _LOOKS:
        looked_at = _looked_at(program, arrays, constants)
        values |= {name: np.asarray(arrays[name]) for name in looked_at}
        look(values)
    inspected = answers[-1]
    _check_names(inspected.shapes)
    if not inspected.hides:
        return inspected, None
    return inspected, _seen(program, {**values, **constants}, inspected)


def _traced_once(program: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run a program for its sites, and say on which data it failed."""
    try:
        return traced(seeded(program, jax.random.PRNGKey(0)), arguments)
    except _LOOKS:
        raise
    except (AssertionError, IndexError, TypeError, ValueError) as error:
        shapes = ", ".join(f"{name} {jnp.shape(value)}" for name, value in arguments.items())
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the program {getattr(program, '__name__', 'given')} fails on data of {shapes} "
            f"({type(error).__name__}{reason and ': ' + reason})"
        ) from error


def _looked_at(
    program: Callable[..., Any], arrays: Mapping[str, Any], constants: Mapping[str, Any]
) -> tuple[str, ...]:
    """Find the arrays that a program needs as numbers, not as what JAX traces."""

    def trouble(names: set[str]) -> Exception | None:
        given = {**constants, **{name: np.asarray(arrays[name]) for name in names}}
        rest = {name: value for name, value in arrays.items() if name not in names}
        try:
            jax.eval_shape(
                lambda some: len(traced(seeded(program, jax.random.PRNGKey(0)), {**given, **some})),
                rest,
            )
        except _LOOKS as error:
            return error
        return None

    needed = set(arrays)
    if (error := trouble(needed)) is not None:
        raise ValueError(
            f"the program {getattr(program, '__name__', 'given')} looks at values that it draws "
            f"({str(error).splitlines()[0][:160]}); JAX needs jnp.where in place of if, and jnp in "
            "place of np"
        )
    for name in arrays:
        if trouble(needed - {name}) is None:
            needed.remove(name)
    return tuple(name for name in arrays if name in needed)


def _seen(
    program: Callable[..., Any], arguments: Mapping[str, Any], inspected: Inspected
) -> np.ndarray:
    """Say which data are seen through the masks of the observed sites."""

    @jax.jit
    def look(key: Any) -> dict[str, Any]:
        sites = traced(seeded(program, key), arguments)
        found = {}
        for name, axis in inspected.observed:
            mask = mask_of(sites[name]["fn"])
            shape = jnp.shape(sites[name]["fn"].log_prob(sites[name]["value"]))
            seen = jnp.moveaxis(jnp.broadcast_to(True if mask is None else mask, shape), axis, 0)
            found[name] = seen.reshape(seen.shape[0], -1)
        return found

    first, second = look(jax.random.PRNGKey(0)), look(jax.random.PRNGKey(1))
    for name, seen in first.items():
        if not np.array_equal(seen, second[name]):
            raise refuse(
                name,
                "its mask depends on the parameters, so that what counts as a datum does",
                "write a likelihood without a mask",
            )
    together = np.concatenate([np.asarray(seen) for seen in first.values()], axis=1).any(axis=1)
    if not together.any():
        raise refuse(inspected.observed[0][0], "its mask hides all data", "leave the mask out")
    return together


def _sites(
    sites: Mapping[str, Any], program: Callable[..., Any], arguments: Mapping[str, Any]
) -> tuple[list[Any], list[Any]]:
    """Sort the sites of a trace into latent and observed, and refuse what would go wrong."""
    latent, likelihoods = [], []
    for name, site in sites.items():
        kind = site["type"]
        if site.get("_control_flow_done", False):
            raise refuse(
                name,
                "sites inside scan or cond are not seen one by one",
                "write the loop with plates or a Python loop",
            )
        if kind == "plate":
            full, subsample = site["args"]
            if subsample is not None and subsample != full:
                raise refuse(
                    name,
                    f"the plate takes {subsample} of {full} rows",
                    "write plate(name, size) without subsample_size, and let the sampler "
                    "draw minibatches, as in sgld[batch_size=32]",
                )
        elif kind == "param":
            _check_param(name, site["value"], sites)
        if kind != "sample":
            continue
        if site["infer"].get("is_auxiliary", False):
            raise refuse(
                name,
                "a factor does not say whether it is prior or likelihood",
                "write a likelihood as numpyro.sample(name, distribution, obs=y) and a prior "
                "as numpyro.sample(name, distribution)",
            )
        if site["scale"] is not None and not np.all(np.asarray(site["scale"]) == 1):
            raise refuse(
                name,
                "a scale handler changes its weight",
                "leave the handler out and pass Data(arguments, weights=...) and beta",
            )
        if site["infer"].get("enumerate") is not None:
            raise refuse(name, "it is enumerated", "sum it out by hand, as in MixtureSameFamily")
        if site["is_observed"]:
            likelihoods.append(site)
            continue
        if _is_forgotten(name, program, arguments):
            raise refuse(
                name, f"it is not observed, since data has no {name!r}", f"pass data[{name!r}]"
            )
        if site["fn"].support.is_discrete:
            raise refuse(name, "it is discrete", "sum it out by hand, as in MixtureSameFamily")
        try:
            biject_to(site["fn"].support)
        except NotImplementedError:
            raise refuse(
                name,
                f"there are no unconstrained coordinates for its support, {site['fn'].support}",
                "compute it from sites that have them",
            ) from None
        if mask_of(site["fn"]) is not None:
            raise refuse(
                name,
                "it is latent and has a mask (obs_mask makes such a site), so that hidden values "
                "have no density",
                "leave the missing rows out of the data, as in y[seen]",
            )
        latent.append(site)
    if not latent:
        raise ValueError("the program has no latent site; write numpyro.sample(name, prior)")
    if not likelihoods:
        raise ValueError(
            "the program has no observed site; write numpyro.sample(name, distribution, obs=y)"
        )
    return latent, likelihoods


def _check_param(name: str, value: Any, sites: Mapping[str, Any]) -> None:
    """Accept the prototype that random_nnx_module and its like leave in the trace, if all is drawn.

    Its arrays are replaced by sites ``net/layer.kernel`` wherever these have a prior.
    """
    prefix = name.removesuffix("$params") + "/"
    drawn = sum(key.startswith(prefix) for key, site in sites.items() if site["type"] == "sample")
    if name.endswith("$params") and drawn:
        leaves = jax.tree.leaves(value, is_leaf=lambda leaf: isinstance(leaf, ParamShape))
        # Flax's arrays are replaced by their shapes where they are drawn, Equinox's stay.
        shapes = sum(isinstance(leaf, ParamShape) for leaf in leaves)
        left = len(leaves) - (shapes or drawn)
        if left <= 0:
            return
        raise refuse(
            name, f"{left} of its arrays have no prior", "give every parameter of the module one"
        )
    raise refuse(name, "a param has no prior", "write numpyro.sample(name, prior) instead")


def _is_forgotten(name: str, program: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Say whether a site has the name of an argument that was left at None."""
    try:
        parameter = inspect.signature(program).parameters.get(name)
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.default is None and name not in arguments


def _check_names(shapes: Shapes) -> None:
    """Refuse names of sites that a stored run could not keep apart."""
    stored: dict[str, str] = {}
    axes = {
        f"{name.replace('/', '.')}_dim_{axis}"
        for name, shape in shapes
        for axis in range(len(shape))
    }
    for name, _ in shapes:
        kept = name.replace("/", ".")
        if kept in ("", "chain", "draw") or kept in axes:
            raise refuse(
                name, "a stored run has this name for an axis", "give the site another name"
            )
        if kept in stored:
            raise refuse(
                name, f"a stored run keeps it under one name with {stored[kept]!r}", "rename one"
            )
        stored[kept] = name
