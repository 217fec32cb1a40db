"""The exact answer of a model at one inverse temperature: a value with its own standard error.

Everything that has a true value gives it as an `Exact`, whether it comes from a formula (standard
errors zero), from quadrature or from sampling a collapsed density, so that a comparison can put the
error of the truth into its z-score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sltprob.spec import positive

__all__ = ["Exact", "check_beta", "check_ladder"]


def check_beta(beta: float) -> float:
    """Refuse an inverse temperature that is not positive and finite."""
    return float(positive().read("beta", float(beta), "1e4"))


def check_ladder(betas: Sequence[float]) -> None:
    """Refuse inverse temperatures that do not increase, or none."""
    for beta in betas:
        check_beta(beta)
    if not len(betas) or any(colder <= hotter for hotter, colder in pairwise(betas)):
        raise ValueError(f"betas={betas!r} must increase, and be one at least; write [1e4, 1e8].")


@dataclass(frozen=True, kw_only=True)
class Exact:
    """Hold the exact lambda-hat and free energy at one inverse temperature.

    Parameters
    ----------
    beta : float, dimensionless
        Inverse temperature, the factor of the mean loss.
    lambda_hat : float, dimensionless
        ``beta (E_beta[L] - L_star)``.
    mcse : float, dimensionless
        Standard error of `lambda_hat`; 0 for a closed form.
    free_energy : float, nats
        ``F = -log E_prior[exp(-beta L)]``.
    free_energy_mcse : float, nats
        Standard error of `free_energy`; 0 for a closed form.
    method : str
        How the value was computed, for a person to read:
        ``"importance sampling, 4000 draws, ess 3120"``.

    References
    ----------
    Watanabe, S. (2013). A widely applicable Bayesian information criterion. JMLR 14, 867-897.
    """

    beta: float
    lambda_hat: float
    mcse: float
    free_energy: float
    free_energy_mcse: float
    method: str
