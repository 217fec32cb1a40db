"""The marginal likelihood, and with it the whole curve of lambda-hat: one run from the prior.

The free energy F(β) = -log E_prior[exp(-β L)] is found three ways in one run: by the populations
or the acceptance ratios between rungs, and by integrating the mean loss over β. At β = n, with L
the mean over n data, -F is the log marginal likelihood of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from sltprob import samplers as registry
from sltprob.comparison import check_applicable, measure
from sltprob.data import Data
from sltprob.diagnostics import Verdict, diagnose
from sltprob.ladders import EXACT_ON_RUNGS, Ladder, ladder
from sltprob.models import Model
from sltprob.notebook import facts
from sltprob.posterior import TemperedPosterior
from sltprob.problem import problem
from sltprob.progress import shown
from sltprob.samplers._ladder import LadderSampler
from sltprob.samplers.base import Sampler
from sltprob.sampling import Progress

__all__ = ["Evidence", "evidence", "sample_ladder"]


@dataclass(frozen=True)
class Evidence:
    """The log marginal likelihood of a program's data.

    Parameters
    ----------
    log_marginal_likelihood, mcse : float, nats
        log p(data), the data being as they were given, and its Monte Carlo standard error.
    integrated, integrated_error : float, nats
        The same by thermodynamic integration of the mean loss over β; its error is that of the
        draws and that of the rule.
    beta : float, dimensionless
        n: the number of data.
    verdict : Verdict
        Of the run; where it is not trusted, neither is the number.
    ladder : Ladder
        Lambda-hat and the free energy on every rung on the way.
    run : xarray.DataTree
        The draws, for `sltprob.save`.
    """

    log_marginal_likelihood: float
    mcse: float
    integrated: float
    integrated_error: float
    beta: float
    verdict: Verdict
    ladder: Ladder
    run: xr.DataTree

    def __str__(self) -> str:
        return (
            f"log p(data) = {self.log_marginal_likelihood:.7g} ± {self.mcse:.2g} nats "
            f"(by integration {self.integrated:.7g} ± {self.integrated_error:.2g}), "
            f"{self.verdict.status}"
        )

    def _repr_html_(self) -> str:
        """Show the evidence in a notebook."""
        found = {
            "by integration": f"{self.integrated:.7g} ± {self.integrated_error:.2g}",
            "rungs": len(self.ladder.rungs),
            "verdict": f"{self.verdict.status}: {self.verdict.reason}",
        }
        title = f"log p(data) = {self.log_marginal_likelihood:.7g} ± {self.mcse:.2g} nats"
        return facts(title, found)


def evidence(
    model: Model | TemperedPosterior | Callable[..., Any] | str,
    *,
    data: Data | Mapping[str, Any] | str | Path | None = None,
    rows: str | int | None = None,
    sampler: Sampler | str = "replica_exchange",
    progress: bool | Callable[[Progress], None] = False,
    **options: Any,
) -> Evidence:
    """Measure the marginal likelihood of data under a program, by a ladder from prior to posterior.

    Parameters
    ----------
    model : Model, TemperedPosterior, callable or str
        A program of your own, a function or ``"mine.py:function"``; or a model with a data set,
        such as ``"regular[n=100]"``.
    data : Data, mapping of str to array, data frame, or path, optional
        The arguments of a program of your own.
    rows : str or int, optional
        Of `sltprob.temper`.
    sampler : Sampler or str
        ``"replica_exchange"`` or ``"tempered_smc"``, with options.
    progress : bool or callable
        As of `sltprob.compare`.
    **options
        Of `sltprob.sample`.

    Returns
    -------
    Evidence

    Raises
    ------
    ValueError
        If there are no data, the prior cannot be drawn from, or the sampler has no ladder.

    References
    ----------
    .. [1] N. Friel, A. N. Pettitt, "Marginal likelihood estimation via power posteriors", J. R.
       Statist. Soc. B 70 (2008) 589-607.
    .. [2] M. R. Shirts, J. D. Chodera, "Statistically optimal analysis of samples from multiple
       equilibrium states", J. Chem. Phys. 129, 124105 (2008).
    """
    run = sample_ladder(
        model, sampler, "n", data=data, rows=rows, exact=False, progress=progress, **options
    )
    found = ladder(run)
    last = found.rungs[-1]
    return Evidence(
        log_marginal_likelihood=-last.free_energy,
        mcse=last.free_energy_mcse,
        integrated=-last.integrated,
        integrated_error=last.integrated_error,
        beta=last.beta,
        verdict=diagnose(run),
        ladder=found,
        run=run,
    )


def sample_ladder(
    model: Model | TemperedPosterior | Callable[..., Any] | str,
    sampler: Sampler | str = "replica_exchange",
    beta: float | str = 1e4,
    *,
    data: Data | Mapping[str, Any] | str | Path | None = None,
    minimum_loss: float | None = None,
    reparameterise: str | None = None,
    rows: str | int | None = None,
    exact: bool = True,
    progress: bool | Callable[[Progress], None] = False,
    **options: Any,
) -> xr.DataTree:
    """Draw from a whole ladder of temperatures, and put exact values beside every rung."""
    kernel = registry.as_sampler(sampler)
    if not isinstance(kernel, LadderSampler):
        raise ValueError(
            f"sampler {sampler}: it has one temperature only; take replica_exchange or tempered_smc"
        )
    chosen = problem(
        model, data, minimum_loss=minimum_loss, reparameterise=reparameterise, rows=rows
    )
    value = chosen.beta(beta)
    posterior = chosen.at(value)
    check_applicable([kernel], posterior)
    with shown(progress) as bar:
        run = measure(
            posterior,
            kernel,
            exact=chosen.exact(value) if exact else None,
            progress=bar,
            **options,
        )
    if not exact:
        return run
    betas = run["sample_stats"].to_dataset()["beta"].values
    answers = [chosen.exact(float(rung)) for rung in betas if rung > 0]
    if any(answers):
        constants = run["constant_data"].to_dataset()
        for name in EXACT_ON_RUNGS:
            values = [math.nan if answer is None else getattr(answer, name) for answer in answers]
            # At beta = 0 both are zero by definition.
            padding = [0.0] * (len(betas) - len(values))
            constants[f"ladder_exact_{name}"] = ("beta", padding + values)
        run["constant_data"] = xr.DataTree(constants)
    return run
