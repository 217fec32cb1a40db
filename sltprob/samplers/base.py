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
    "same_in_all_chains",
]

#: Chains that share a vectorised call on a processor: more of the flagship model leave its
#: second-level cache.
LARGEST_GROUP = 8


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
            At least ``num_gradients``, which is not negative; ``acceptance_rate`` from 0 to 1,
            ``diverging`` and ``energy`` (ArviZ's names) where the kernel has them. Of an unadjusted
            kernel also what the check ``step_bias`` needs: see `sltprob.draws`.
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

        Raises
        ------
        TypeError
            If a field is missing.
        """
        missing = [name for name in Evaluation._fields if not hasattr(state, name)]
        if missing:
            raise TypeError(
                f"the states of {type(self).__name__} have no {' and no '.join(missing)}; give the "
                "class an evaluate, such as one that returns evaluate_position(posterior, "
                "state.position)"
            )
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


@jax.custom_batching.custom_vmap
def same_in_all_chains(value: Any) -> Any:
    """Promise that a value is the same in all chains: ``jax.vmap`` does not vectorise it.

    A loop whose length is vectorised must keep, at every step, the chains that have ended.
    """
    return value


@same_in_all_chains.def_vmap
def _take_first(axis_size: int, in_batched: list[bool], value: Any) -> tuple[Any, bool]:
    return (value[0] if in_batched[0] else value), False
