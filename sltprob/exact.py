"""The exact answer of a model at one inverse temperature: a value with its own standard error.

Everything that has a true value gives it as an `Exact`, whether it comes from a formula (standard
errors zero), from quadrature or from sampling a collapsed density, so that a comparison can put the
error of the truth into its z-score.
"""

from dataclasses import dataclass

__all__ = ["Exact"]


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
