"""The errors of the verdict, counted: false trust, false alarm, and which check did what."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, chi2

__all__ = [
    "FALSE_ALARM_GOAL",
    "FALSE_TRUST_GOAL",
    "NOT_SEEN",
    "RIGHT_ERRORS",
    "SPREAD_GOAL",
    "Calibration",
    "CheckScore",
    "Rate",
    "Spread",
    "family_of",
    "is_right",
    "is_wrong",
    "score",
]

#: What was agreed before any run.
FALSE_TRUST_GOAL, FALSE_ALARM_GOAL = 0.01, 0.02
SPREAD_GOAL = (0.9, 1.15)  # of the errors of trusted runs, in their standard errors

# What is wrong with runs of these kinds has nothing to do with the model: each is its own family.
_FAMILIES_BY_KIND = {
    "edit": "edited files",
    "mistake": "mistakes in what is given",
    "density": "kernels of another density",
    "damage": "broken chains",
}
#: Models that have a basin which neither descents nor a ladder of the usual size can find.
NOT_SEEN = "needles"

#: A run is right when it is nearer to the exact value than this, in standard errors.
RIGHT_ERRORS = 3

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share with its exact binomial interval.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26 (1934) 404-413.
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share, NaN of nothing."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of 95 % (low, high)."""
        if not self.total:
            return 0.0, 1.0
        found = binomtest(self.count, self.total).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        if not self.total:
            return "–"
        low, high = (100 * end for end in self.interval)
        return f"{100 * self.value:.1f} % ({low:.1f} to {high:.1f}; {self.count} of {self.total})"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The standard deviation of errors in units of their standard errors, which is 1 at best.

    References
    ----------
    .. [1] G. Casella, R. L. Berger, Statistical Inference (2002), section 9.2 (the interval for the
       deviation of normal values, by chi-squared).
    """

    value: float
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of 95 % (low, high)."""
        if self.total < 2:
            return 0.0, math.inf
        free = self.total - 1
        high, low = chi2.ppf([0.025, 0.975], free)
        return self.value * math.sqrt(free / low), self.value * math.sqrt(free / high)

    def __str__(self) -> str:
        if self.total < 2:
            return "–"
        low, high = self.interval
        return f"{self.value:.2f} ({low:.2f} to {high:.2f}; {self.total})"


@dataclass(frozen=True, kw_only=True)
class CheckScore:
    """What one check contributes."""

    name: str  # of all its sites together
    caught: int  # Wrong runs that it failed
    caught_alone: int  # Those that no other check failed
    alarms: int  # Right runs that it failed
    alarms_alone: int  # Those that no other check failed


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The score of a study, of one part of the models or of all.

    A run is *wrong* when λ̂ is off by more than 4 standard errors, that of the exact value
    included, and by more than 5 %, or when there is no λ̂. It is *right* when |z| < 3 and its
    effective sample size is at least 400. What is neither counts in no rate.
    """

    rows: tuple[Row, ...]

    def part(self, *, training: bool) -> Calibration:
        """Take the models on which limits were chosen, or the others."""
        return Calibration(rows=tuple(row for row in self.rows if row["training"] is training))

    def by(self, group: Callable[[Row], str]) -> dict[str, Calibration]:
        """Take the runs apart, by name."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(group(row), []).append(row)
        return {name: Calibration(rows=tuple(rows)) for name, rows in found.items()}

    def without(self, *families: str) -> Calibration:
        """Leave families out."""
        return Calibration(rows=tuple(r for r in self.rows if family_of(r) not in families))

    @property
    def of_models(self) -> Calibration:
        """Take the runs of which nothing but the model and the settings can be bad."""
        return self.without(*_FAMILIES_BY_KIND.values())

    @property
    def spread(self) -> Spread:
        """The errors of the runs that are trusted, in their standard errors."""
        z = [_in_errors(row) for row in self.rows if _is_trusted(row) and row["z"] is not None]
        return Spread(value=float(np.std(z, ddof=1)) if len(z) > 1 else math.nan, total=len(z))

    def kind(self, name: str) -> Calibration:
        """Take the runs of one kind of setting."""
        return Calibration(rows=tuple(row for row in self.rows if row["kind"] == name))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of settings, in the order in which they were run."""
        return tuple(dict.fromkeys(row["kind"] for row in self.rows))

    def _rate(self, of: Callable[[Row], bool], among: Callable[[Row], bool]) -> Rate:
        rows = [row for row in self.rows if among(row)]
        return Rate(count=sum(map(of, rows)), total=len(rows))

    @property
    def false_trust(self) -> Rate:
        """Wrong runs among those that were trusted."""
        return self._rate(is_wrong, _is_trusted)

    @property
    def missed(self) -> Rate:
        """Trusted runs among those that are wrong."""
        return self._rate(_is_trusted, is_wrong)

    @property
    def missed_numbers(self) -> Rate:
        """Trusted runs among those that are wrong though they have a λ̂."""
        return self._rate(_is_trusted, lambda row: is_wrong(row) and row["lambda_hat"] is not None)

    @property
    def false_alarm(self) -> Rate:
        """Runs that were not trusted among those that are right."""
        return self._rate(lambda row: not _is_trusted(row), is_right)

    @property
    def checks(self) -> tuple[CheckScore, ...]:
        """What every check contributed, in the order of the verdict."""
        names = dict.fromkeys(_base(name) for row in self.rows for name in row["checks"])
        failed = [({_base(name) for name in row["failed"]}, row) for row in self.rows]
        wrong = [found for found, row in failed if is_wrong(row)]
        right = [found for found, row in failed if is_right(row)]
        return tuple(
            CheckScore(
                name=name,
                caught=sum(name in found for found in wrong),
                caught_alone=sum(found == {name} for found in wrong),
                alarms=sum(name in found for found in right),
                alarms_alone=sum(found == {name} for found in right),
            )
            for name in names
        )

    @property
    def missed_runs(self) -> tuple[Row, ...]:
        """The runs that were trusted and are wrong."""
        return tuple(row for row in self.rows if _is_trusted(row) and is_wrong(row))


def family_of(row: Row) -> str:
    """Name the family that a run belongs to."""
    return _FAMILIES_BY_KIND.get(row["kind"]) or row.get("family") or "training models"


def _base(name: str) -> str:
    return name.partition("[")[0]


def _is_trusted(row: Row) -> bool:
    return bool(row["verdict"] == "trusted")


def _in_errors(row: Row) -> float:
    """Give what λ̂ is off by in its error, which has the bias of the step in it."""
    return float((row["lambda_hat"] - row["exact"]) / math.hypot(row["error"], row["exact_mcse"]))


def is_wrong(row: Row) -> bool:
    """Say whether a run's answer is wrong."""
    if row["lambda_hat"] is None or row["mcse"] is None:
        return True
    off = abs(row["lambda_hat"] - row["exact"])
    error = math.hypot(row["mcse"], row["exact_mcse"] or 0.0)
    return bool(off > 4 * error and off > 0.05 * abs(row["exact"]))


def is_right(row: Row) -> bool:
    """Say whether a run's answer is right, and its draws enough to be trusted."""
    if row["z"] is None or row["ess"] is None:
        return False
    return bool(abs(row["z"]) < RIGHT_ERRORS and row["ess"] >= 400)


def score(rows: Sequence[Row]) -> Calibration:
    """Count the errors of the verdict over the rows of a study."""
    if not rows:
        raise ValueError("there is no run to score; write sltprob calibrate --out folder")
    return Calibration(rows=tuple(rows))
