"""The exact λ̂ at one β or at many, by whichever method is good enough there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sltprob.collapsed.common import check_tolerance
from sltprob.collapsed.density import CollapsedDensity, Problem
from sltprob.collapsed.importance import enough_draws, weighted_draws
from sltprob.collapsed.tempering import tempered_sampling
from sltprob.exact import Exact, check_ladder

__all__ = ["exact", "exact_ladder"]


def exact(beta: float, problem: Problem, *, tolerance: float = 0.01, seed: int = 0) -> Exact:
    """Compute lambda-hat and the free energy, by whichever method is good enough at this beta.

    Importance sampling is used if a pilot run says that it reaches the tolerance with enough
    effective draws, tempered sequential Monte Carlo otherwise.

    Notes
    -----
    If the budget is spent with a relative standard error between ``tolerance / 3`` and
    ``5 tolerance``, the value is returned with that larger `mcse`: look at it.

    References
    ----------
    Robert, C. P. and Casella, G. (2004). Monte Carlo Statistical Methods, 2nd ed., Springer
    (importance sampling, Rao-Blackwellisation).
    Del Moral, P., Doucet, A. and Jasra, A. (2006). Sequential Monte Carlo samplers. JRSS B 68,
    411-436.
    """
    (answer,) = exact_ladder([beta], problem, tolerance=tolerance, seed=seed)
    return answer


def exact_ladder(
    betas: Sequence[float],
    problem: Problem,
    *,
    tolerance: float = 0.01,
    seed: int = 0,
    progress: Callable[[Exact], None] | None = None,
) -> tuple[Exact, ...]:
    """Compute the exact answer at many betas, with one descent for all that importance leaves.

    References
    ----------
    Del Moral, P., Doucet, A. and Jasra, A. (2006). Sequential Monte Carlo samplers. JRSS B 68,
    411-436.
    """
    check_ladder(betas)
    check_tolerance(tolerance)
    tell = progress or (lambda answer: None)
    answers: list[Exact] = []
    for beta in betas:
        model = CollapsedDensity(problem)
        num_draws = enough_draws(model, beta, tolerance, seed)
        if num_draws is None:
            # Weights do not get better at a larger beta.
            break
        (draws,) = weighted_draws(model, [beta], num_draws, seed)
        if not draws.answer.mcse <= tolerance / 3.0 * draws.answer.lambda_hat:
            break
        answers.append(draws.answer)
        tell(draws.answer)
    left = betas[len(answers) :]
    if left:
        stages = tempered_sampling(
            left, problem, tolerance=tolerance, seed=seed, progress=lambda one: tell(one.answer)
        )
        answers += [stage.answer for stage in stages]
    return tuple(answers)
