"""What a sampler is: warm-up, one step, and what it tells about the step.

A sampler sees a log density; only the posterior knows temperature. The loop is elsewhere
(`sltprob.sampling`): it vectorises over chains, records the loss and compiles.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from sltprob.notebook import facts
from sltprob.posterior import TemperedPosterior
from sltprob.spec import check_options

__all__ = [
    "LARGEST_GROUP",
    "Evaluation",
    "Sampler",
    "Warmup",
    "evaluate_position",
    "in_groups",
    "on_accelerator",
    "random_signs",
    "same_in_all_chains",
    "scattered_number",
    "scattered_signs",
    "scattered_uniform",
]

#: Chains that share a vectorised call on a processor: more of the flagship model leave its
#: second-level cache.
LARGEST_GROUP = 8
# Sets the numbers of `scattered_uniform` apart from others that are made of the same key.
_UNIFORM = 0x51A7


class Evaluation(NamedTuple):
    """A position with its log density and gradient.

    Parameters
    ----------
    position : dict of str to array
    logdensity : array, shape ()
    logdensity_grad : dict of str to array
    """

    position: Any
    logdensity: Any
    logdensity_grad: Any


class Warmup(NamedTuple):
    """What a warm-up leaves behind.

    Parameters
    ----------
    states : pytree
        State of every chain, leading axis chain.
    parameters : dict of str to array
        What was tuned, shared by all chains; stored with the run.
    trace : dict of str to array
        ``loss`` of shape (draw, chain), and what else the warm-up can tell per draw.
    num_gradients : array, shape ()
        Gradient evaluations on all data, per chain.
    """

    states: Any
    parameters: dict[str, Any]
    trace: dict[str, Any]
    num_gradients: Any


@dataclass(frozen=True, kw_only=True)
class Sampler(abc.ABC):
    """A Markov kernel with its warm-up.

    A subclass is a frozen dataclass: its fields are its options, with a rule beside the type where
    not every value will do (`sltprob.spec`); those that several samplers have are described in
    `sltprob.samplers._options`. It is static under jit.

    `unadjusted` says that the kernel has no Metropolis step, so that its stationary law is off
    by something that grows with the step size; `step_order` is the power of the step size with
    which that vanishes, where it is known. `vectorised` says that chains may share one
    vectorised call; a kernel whose cost differs from draw to draw runs them one after the other.
    On an accelerator all chains of a device share one.
    """

    unadjusted: ClassVar[bool] = False
    step_order: ClassVar[int | None] = None
    vectorised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_options(self)

    def _repr_html_(self) -> str:
        """Show the sampler in a notebook: its options, and whether it is exact."""
        found: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        found["Metropolis test"] = "no: the step biases" if self.unadjusted else "yes"
        return facts(type(self).__name__, found, (type(self).__doc__ or "").strip().split("\n")[0])

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Say why this sampler cannot sample this posterior, if it cannot.

        Parameters
        ----------
        posterior : TemperedPosterior

        Returns
        -------
        str or None
            The reason, as the end of a sentence; None when it applies.
        """
        return None

    def prepared(self, rng_key: Any, posterior: TemperedPosterior) -> tuple[Sampler, float]:
        """Settle what shapes depend on, which must be known before anything is compiled.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior

        Returns
        -------
        sampler : Sampler
            This one, if nothing is open.
        num_gradients : float
            Gradient evaluations on all data that it took.
        """
        return self, 0.0

    def over_chains(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Apply a function of one chain to all chains.

        Parameters
        ----------
        function : callable
        *arguments : pytree, leading axis chain

        Returns
        -------
        pytree, leading axis chain
        """
        if self.vectorised or on_accelerator():
            return in_groups(function, *arguments)
        return jax.lax.map(lambda chain: function(*chain), arguments)

    @abc.abstractmethod
    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Tune on all chains together, and bring them near stationarity.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior
        positions : pytree, leading axis chain
        num_steps : int

        Returns
        -------
        Warmup
        """

    @abc.abstractmethod
    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one draw of one chain.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior
        state : pytree
        parameters : dict of str to array
            Of `Warmup`.

        Returns
        -------
        state : pytree
        info : dict of str to array, shape ()
            At least ``num_gradients``; ``acceptance_rate``, ``diverging`` and ``energy`` (ArviZ's
            names) where the kernel has them. Of an unadjusted kernel also what the check
            ``step_bias`` needs: see `sltprob.draws`.
        """

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give position, log density and gradient of a state, on all data.

        Parameters
        ----------
        posterior : TemperedPosterior
        state : pytree
            With the fields of `Evaluation`, or overridden in the subclass.

        Returns
        -------
        Evaluation
        """
        return Evaluation(state.position, state.logdensity, state.logdensity_grad)

    def placed(self, posterior: TemperedPosterior, state: Any, position: Any) -> Any:
        """Give the state of a chain that stands at another position, all else as it was.

        Parameters
        ----------
        posterior : TemperedPosterior
        state : pytree
            Its named tuples have the fields of `Evaluation`, as BlackJAX's do; otherwise the
            subclass overrides this.
        position : dict of str to array

        Returns
        -------
        pytree
        """
        return _moved(state, evaluate_position(posterior, position))

    def scout(self) -> Sampler:
        """Give the kernel with which scouts draw at the target: this one, if it draws there alone.

        Returns
        -------
        Sampler
            Takes the parameters of this one.
        """
        return self

    def scout_states(self, posterior: TemperedPosterior, states: Any) -> Any:
        """Turn states of chains into those of the kernel of `scout`.

        Parameters
        ----------
        posterior : TemperedPosterior
        states : pytree, leading axis chain

        Returns
        -------
        pytree, leading axis chain
        """
        return states


def on_accelerator() -> bool:
    """Say whether programs run where one step of many chains takes as long as one of a single."""
    chosen = jax.config.jax_default_device
    platform = jax.default_backend() if chosen is None else getattr(chosen, "platform", chosen)
    return bool(platform != "cpu")


def in_groups(function: Callable[..., Any], *arguments: Any) -> Any:
    """Apply a function of one chain to all chains, vectorised in groups that stay in the cache."""
    if on_accelerator() or len(jax.tree.leaves(arguments)[0]) <= LARGEST_GROUP:
        return jax.vmap(function)(*arguments)
    return jax.lax.map(lambda chain: function(*chain), arguments, batch_size=LARGEST_GROUP)


def evaluate_position(posterior: TemperedPosterior, position: Any) -> Evaluation:
    """Evaluate a bare position on all data.

    Parameters
    ----------
    posterior : TemperedPosterior
    position : dict of str to array

    Returns
    -------
    Evaluation
    """
    return Evaluation(position, *jax.value_and_grad(posterior.logdensity)(position))


def _moved(state: Any, evaluation: Evaluation) -> Any:
    known = evaluation._asdict()
    names = getattr(state, "_fields", ())
    if "position" in names:
        return state._replace(**{key: known[key] for key in known if key in names})
    if names:
        return state._replace(**{key: _moved(getattr(state, key), evaluation) for key in names})
    return state


def scattered_number(rng_key: Any, purpose: int) -> Any:
    """Make a number (uint32) of a key that looks like chance, another one for every purpose.

    Each call of JAX's generator takes as long to compile as a small model does.
    """
    return _scattered(_mixed(rng_key) ^ jnp.uint32(purpose))


def scattered_uniform(rng_key: Any, low: float, high: float) -> Any:
    """Draw a number between two others; it has 32 random bits, and compiles to next to nothing."""
    return low + (high - low) * scattered_number(rng_key, _UNIFORM) / 2.0**32


def random_signs(rng_key: Any, tree: Any) -> Any:
    """Draw a sign for every entry: a direction whose mean square along every other is the same."""
    return scattered_signs(_mixed(rng_key), tree)


def scattered_signs(number: Any, tree: Any) -> Any:
    """Give every entry a sign that looks like chance, others for every number (uint32)."""
    leaves, structure = jax.tree.flatten(tree)
    signs, first = [], 0
    for leaf in leaves:
        entries = _scattered(first + jnp.arange(leaf.size, dtype=jnp.uint32))
        negative = _scattered(entries ^ number) >> 31
        signs.append(jnp.where(negative, -1.0, 1.0).astype(leaf.dtype).reshape(leaf.shape))
        first += leaf.size
    return jax.tree.unflatten(structure, signs)


def _mixed(rng_key: Any) -> Any:
    """Make one word of the words of a key."""
    words = jax.random.key_data(rng_key)
    return _scattered(words[..., -2]) ^ words[..., -1]


def _scattered(words: Any) -> Any:
    """Let every bit of a word of 32 bits depend on all its bits.

    References
    ----------
    .. [1] A. Appleby, MurmurHash3 (2011, public domain), its last steps.
    """
    for factor, shift in ((0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        words = (words ^ (words >> 16)) * jnp.uint32(factor)
        words = words ^ (words >> shift)
    return words


@jax.custom_batching.custom_vmap
def same_in_all_chains(value: Any) -> Any:
    """Promise that a value is the same in all chains: ``jax.vmap`` does not vectorise it.

    A loop whose length is vectorised must keep, at every step, the chains that have ended.
    """
    return value


@same_in_all_chains.def_vmap
def _take_first(axis_size: int, in_batched: list[bool], value: Any) -> tuple[Any, bool]:
    return (value[0] if in_batched[0] else value), False
