"""Replica exchange over a ladder of temperatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.adaptation.step_size import dual_averaging_adaptation

from sltprob.chance import keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._ladder import LadderSampler
from sltprob.samplers._point import Point, carry, carry_gradients, move, on_rung
from sltprob.samplers._population import draw_prior, together
from sltprob.samplers._rungs import barriers_of_swaps, equalised
from sltprob.samplers.base import Evaluation, Warmup

__all__ = ["ReplicaExchange"]

_FEWEST_PARTICLES = 32
_MOST_PARTICLES = 256
# Times that both parities swap after every trajectory: free, unless coordinates depend on beta.
_SWAP_ROUNDS = 4
# Of the warm-up, between which the rungs are placed anew.
_ROUNDS = 2


class Replicas(NamedTuple):
    """State of a chain: one replica on every rung, from the prior to the target."""

    points: Point
    from_prior: Any


@dataclass(frozen=True, kw_only=True)
class ReplicaExchange(LadderSampler):
    """Replica exchange (parallel tempering): every chain is a ladder from the prior to the target.

    A draw takes a fresh draw of the prior on the hottest rung and one HMC trajectory on every
    other, and then swaps neighbours several times, the even pairs and the odd ones in turn, with a
    Metropolis test. A trajectory need not cross the posterior: what is wide or far apart is
    crossed on hot rungs, and swaps bring it down. ``round_trips`` says how often a replica that
    was drawn from the prior has come down to the target. A trajectory that diverged is one that
    was rejected.

    Where the readout is reparameterised, swaps keep its whitened coordinates: only the density of
    the other weights decides, and nearly all swaps succeed.

    The ladder is learned by a population of particles; then every chain runs from its own start,
    all rungs at once, and the step size of every rung is adapted. In the middle of this the rungs
    are placed anew, by the swaps that were rejected: a population may have missed a phase.

    Parameters
    ----------
    num_rungs : int or None
        Rungs, the prior and the target included; None to find out by a pilot run.

    References
    ----------
    .. [1] C. J. Geyer, "Markov chain Monte Carlo maximum likelihood", Computing Science and
       Statistics 23 (1991) 156-163.
    .. [2] S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, "Non-reversible parallel
       tempering: a scalable highly parallel MCMC scheme", JRSS B 84 (2022) 321-350 (even and odd
       swaps in turn; where to place the rungs).
    """

    # Rungs are vectorised; that chains are not halves the time of compilation.
    vectorised: ClassVar[bool] = False

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Learn the ladder, run all rungs of all chains, and do so again on a better ladder."""
        num_chains = len(jax.tree.leaves(positions)[0])
        key_learn, key_run = keys_of(rng_key, 2)
        particles = min(max(num_steps // 128 * 32, _FEWEST_PARTICLES), _MOST_PARTICLES)
        learned = self._learn(key_learn, posterior, particles)
        init, update, final = dual_averaging_adaptation(self.target_acceptance_rate)

        def tuned(parameters: dict[str, Any], log_step_sizes: Any) -> dict[str, Any]:
            step_sizes = jnp.exp(log_step_sizes)
            return {
                **parameters,
                "ladder_step_size": parameters["ladder_step_size"].at[1:].set(step_sizes),
                "num_steps": self._num_steps(jnp.min(step_sizes)),
            }

        def play_round(carry: Any, inputs: Any) -> Any:
            states, parameters = carry
            key, is_last = inputs

            def body(carry: Any, key: Any) -> Any:
                states, adaptation = carry
                now = tuned(parameters, adaptation.log_step_size)
                keys = keys_of(key, num_chains)
                states, info = self.over_chains(
                    lambda key, state: self.step(key, posterior, state, now), keys, states
                )
                rates = jnp.mean(info["ladder_acceptance_rate"][:, 1:], axis=0)
                trace = {
                    "loss": info["ladder_loss"][:, -1],
                    "acceptance_rate": info["acceptance_rate"],
                }
                swaps = jnp.mean(info["ladder_swap_acceptance"], axis=0)
                counted = (info["num_gradients"][0], swaps)
                return (states, jax.vmap(update)(adaptation, rates)), (trace, counted)

            adaptation = jax.vmap(init)(parameters["ladder_step_size"][1:])
            (states, adaptation), (trace, (counts, swaps)) = jax.lax.scan(
                body, (states, adaptation), keys_of(key, steps)
            )
            parameters = tuned(parameters, jnp.log(jax.vmap(final)(adaptation)))
            # All replicas of a chain start at one place, where every swap succeeds.
            settled = jnp.mean(swaps[steps // 2 :], axis=0)
            carry = jax.lax.cond(
                is_last,
                lambda: (states, parameters),
                lambda: self._placed_anew(posterior, states, parameters, settled),
            )
            return carry, (trace, counts)

        def ladder(position: Any) -> Replicas:
            points = jax.vmap(lambda beta: Point.at(on_rung(posterior, beta), position))(
                learned.parameters["beta"]
            )
            return Replicas(points, jnp.zeros(self._rungs, bool))

        steps = max(num_steps // _ROUNDS, 1)
        (states, parameters), (trace, counts) = jax.lax.scan(
            play_round,
            (jax.vmap(ladder)(positions), learned.parameters),
            (keys_of(key_run, _ROUNDS), jnp.arange(_ROUNDS) == _ROUNDS - 1),
        )
        trace = {name: values.reshape(-1, num_chains) for name, values in trace.items()}
        gradients = learned.num_gradients / num_chains + jnp.sum(counts)
        return Warmup(states, parameters, trace, gradients)

    def _placed_anew(
        self, posterior: TemperedPosterior, states: Any, parameters: dict[str, Any], swaps: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Place the rungs by the swaps between them, with the replicas and kernels next to each.

        A population of particles can miss a phase that the replicas have found.
        """
        old = parameters["beta"]
        new = equalised(old, barriers_of_swaps(old, swaps))
        old_places, new_places = jnp.log1p(old / old[1]), jnp.log1p(new / old[1])
        nearest = jnp.argmin(jnp.abs(new_places[:, None] - old_places[None, :]), axis=1)

        def between(values: Any) -> Any:
            """Interpolate logarithms, but for the prior, which is not moved on."""
            inner = jnp.interp(new_places[1:], old_places[1:], jnp.log(values[1:]))
            return jnp.concatenate([values[:1], jnp.exp(inner)])

        def chain(replicas: Replicas) -> Replicas:
            chosen = jax.tree.map(lambda leaf: leaf[nearest], replicas)
            points, _ = jax.vmap(lambda point, beta, other: carry(posterior, point, beta, other))(
                chosen.points, old[nearest], new
            )
            return Replicas(points, chosen.from_prior)

        step_sizes = between(parameters["ladder_step_size"])
        return jax.vmap(chain)(states), {
            "beta": new,
            "ladder_step_size": step_sizes,
            "ladder_inverse_mass_matrix": jax.vmap(between, in_axes=1, out_axes=1)(
                parameters["ladder_inverse_mass_matrix"]
            ),
            "num_steps": self._num_steps(jnp.min(step_sizes[1:])),
        }

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Move every replica, then swap neighbours."""
        key_prior, key_moves, key_swap = keys_of(rng_key, 3)
        betas, num_steps = parameters["beta"], parameters["num_steps"]
        moving = len(betas) - 1

        def one(key: Any, point: Point, beta: Any, step_size: Any, metric: Any) -> Any:
            return move(key, posterior, point, beta, step_size, metric, num_steps)

        hottest = draw_prior(key_prior, posterior)
        colder, rates = together(one, posterior, moving)(
            keys_of(key_moves, moving),
            jax.tree.map(lambda leaf: leaf[1:], state.points),
            betas[1:],
            parameters["ladder_step_size"][1:],
            parameters["ladder_inverse_mass_matrix"][1:],
        )
        points = jax.tree.map(lambda hot, cold: jnp.concatenate([hot[None], cold]), hottest, colder)
        from_prior = state.from_prior.at[0].set(True)

        def swap(replicas: Replicas, inputs: Any) -> tuple[Replicas, Any]:
            key, parity = inputs
            return _swap(key, posterior, betas, replicas, parity)

        # Even pairs, then odd ones.
        parities = jnp.arange(2 * self._swap_rounds(posterior)) % 2
        keys = keys_of(key_swap, len(parities))
        state, acceptances = jax.lax.scan(swap, Replicas(points, from_prior), (keys, parities))
        arrived = state.from_prior[-1]
        pairs = jnp.arange(moving) % 2
        return Replicas(state.points, state.from_prior.at[-1].set(False)), {
            "acceptance_rate": rates[-1],
            "num_gradients": 1
            + moving * num_steps
            + len(betas) * len(parities) * carry_gradients(posterior),
            "round_trips": arrived.astype(int),
            "ladder_loss": state.points.loss,
            "ladder_acceptance_rate": jnp.concatenate([jnp.ones(1), rates]),
            "ladder_swap_acceptance": acceptances[pairs, jnp.arange(moving)],
        }

    def _swap_rounds(self, posterior: TemperedPosterior) -> int:
        return 1 if carry_gradients(posterior) else _SWAP_ROUNDS

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give the replica at the target."""
        target: Point = jax.tree.map(lambda leaf: leaf[-1], state.points)
        return target.evaluation(posterior.beta)


def _swap(
    rng_key: Any, posterior: TemperedPosterior, betas: Any, replicas: Replicas, parity: Any
) -> tuple[Replicas, Any]:
    """Offer a swap to all pairs of one parity; give the acceptance of every pair."""
    rungs = jnp.arange(len(betas))
    # The partner of a rung without one is the rung itself.
    partners = jnp.clip(jnp.where(rungs % 2 == parity, rungs + 1, rungs - 1), 0, len(betas) - 1)
    there, log_ratios = jax.vmap(lambda point, beta, other: carry(posterior, point, beta, other))(
        replicas.points, betas, betas[partners]
    )
    acceptance = _acceptance(log_ratios + log_ratios[partners])
    drawn = jax.random.uniform(rng_key, (len(betas),))[jnp.minimum(rungs, partners)]
    swapped = (partners != rungs) & (drawn < acceptance)

    def choose(moved: Any, stayed: Any) -> Any:
        shape = (-1,) + (1,) * (stayed.ndim - 1)
        return jnp.where(swapped.reshape(shape), moved[partners], stayed)

    points = jax.tree.map(choose, there, replicas.points)
    return Replicas(points, choose(replicas.from_prior, replicas.from_prior)), acceptance[:-1]


def _acceptance(log_odds: Any) -> Any:
    """Give the probability of a swap; what is not a number is not swapped."""
    return jnp.nan_to_num(jnp.exp(jnp.minimum(log_odds, 0.0)))
