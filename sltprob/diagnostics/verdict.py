"""The verdict on a run: trusted, doubtful or wrong, and why."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sltprob import draws as schema
from sltprob.diagnostics.checks import CHECKS, NUMERICAL_CHECKS, Check, Run
from sltprob.diagnostics.local_checks import LOCAL_CHECKS
from sltprob.notebook import heading, table

__all__ = ["Verdict", "diagnose", "judge"]

#: Checks of which every run with gradients has at least one.
_NEED_GRADIENTS = frozenset({"virial", "local_virial", "local_drift", "step_bias"})
_WITHOUT = "and none of them saw a gradient"


@dataclass(frozen=True)
class Verdict:
    """What the checks say together.

    Parameters
    ----------
    status : str
        ``"trusted"``: every check passed. ``"wrong"``: a check found evidence that the number
        is wrong. ``"doubtful"``: the evidence does not suffice.
    checks : tuple of Check
    """

    status: str
    checks: tuple[Check, ...]

    @property
    def trusted(self) -> bool:
        """Whether every check passed."""
        return self.status == "trusted"

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed, evidence of a wrong number first."""
        failed = [check for check in self.checks if not check.passed]
        return tuple(sorted(failed, key=lambda check: not check.evidence))

    @property
    def false_alarm_rate(self) -> float:
        """How often a right run fails at least one of the checks that are tests of a level.

        The checks of quality have no level; their alarms are counted by `sltprob calibrate`.
        """
        rates = [check.false_alarm_rate or 0.0 for check in self.checks]
        return 1 - math.prod(1 - rate for rate in rates)

    @property
    def level(self) -> str:
        """What the checks could see: ``"gradients"``, or ``"traces alone"`` without these.

        The file of another program has no gradients, so that no identity, which sees a wrong law
        behind calm traces, was tested.
        """
        seen = any(check.name.partition("[")[0] in _NEED_GRADIENTS for check in self.checks)
        return "gradients" if seen else "traces alone"

    @property
    def words(self) -> str:
        """The status, and that it stands on traces alone where it does."""
        alone = self.trusted and self.level == "traces alone"
        return f"{self.status} on {self.level}" if alone else self.status

    @property
    def reason(self) -> str:
        """One sentence: why."""
        if self.trusted:
            passed = f"all {len(self.checks)} checks passed"
            return passed if self.level == "gradients" else f"{passed}, {_WITHOUT}"
        return self.failed[0].finding

    def __str__(self) -> str:
        lines = [f"{self.words}: {self.reason}"]
        lines += [f"  {check}\n    {check.advice}" for check in self.failed]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the verdict in a notebook: failed checks first, with their advice."""
        mark = {"trusted": "✓", "doubtful": "?", "wrong": "✕"}.get(self.status, "?")
        passed = tuple(check for check in self.checks if check.passed)
        rows = [
            (
                check.name,
                "ok" if check.passed else "failed",
                f"{check.meaning}{'' if check.passed else f'. {check.advice}'}",
                f"{check.value:.4g}",
                f"{check.relation} {check.limit:g}",
            )
            for check in (*self.failed, *passed)
        ]
        heads = ("check", "", "what it is", "value", "must be")
        return (
            f"<div>{heading(f'{mark} {self.words}', self.reason)}"
            f"<details{'' if self.trusted else ' open'}>"
            f"<summary>{len(self.checks)} checks</summary>{table(heads, rows, words=3)}"
            "</details></div>"
        )


def diagnose(draws: xr.DataTree) -> Verdict:
    """Judge a run by all checks. It needs nothing but the file, and no JAX.

    Parameters
    ----------
    draws : xarray.DataTree
        Of `sltprob.sample` or `sltprob.load`.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If the draws do not follow the schema.
    TypeError
        If they are no DataTree.

    References
    ----------
    .. [1] A. Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat",
       Bayesian Analysis 16 (2021) 667-718; every check names its own.
    """
    schema.check(draws)
    return judge(Run.of(draws))


def judge(run: Run) -> Verdict:
    """Judge what was read of a run.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Verdict
    """
    # Values that overflow or do not exist become NaN, and NaN fails: nobody need be warned.
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        functions = (*NUMERICAL_CHECKS, *LOCAL_CHECKS) if run.is_local else CHECKS
        checks = tuple(check for function in functions for check in function(run))
    failed = [check for check in checks if not check.passed]
    if not failed:
        return Verdict("trusted", checks)
    return Verdict("wrong" if any(check.evidence for check in failed) else "doubtful", checks)
