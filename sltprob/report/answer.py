"""The answer in words: what λ̂ is at each temperature, and what is not to be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

from sltprob.cell import name_of_truth
from sltprob.report.judged import CONTRADICTION, Judged
from sltprob.report.numbers import count, inverse_temperature, measured

__all__ = ["Answer", "answers", "headline", "recommendation"]


@dataclass(frozen=True)
class Answer:
    """What is known about λ̂ of one model at one inverse temperature."""

    model: str
    beta: float
    best: Judged | None  # the believable run of least error; None if there is none
    nearest: Judged | None  # Without a believable run: the one that failed least
    runs: tuple[Judged, ...]  # all of this model and beta

    @property
    def beta_text(self) -> str:
        """The inverse temperature, for people."""
        return inverse_temperature(self.beta)

    @property
    def shown(self) -> Judged:
        """The run that the answer is about."""
        run = self.best or self.nearest
        assert run is not None  # an answer has at least one run
        return run

    @property
    def truth(self) -> str:
        """What stands beside λ̂: "exact", or "reference"."""
        return name_of_truth(run.cell for run in self.runs)

    @property
    def exact_text(self) -> str:
        """The exact value, for people; with its error where four digits would show it."""
        known = next((run.cell for run in self.runs if run.cell["exact"] is not None), None)
        if known is None:
            return "not known"
        value, error = known["exact"], known["exact_mcse"] or 0.0
        return measured(value, error if error > 1e-3 * abs(value) else None).text()

    @property
    def agreement(self) -> str:
        """One sentence about the other believable runs; empty if there are none."""
        trusted = [run for run in self.runs if run.believable]
        others = [run for run in trusted if run is not self.best]
        if not others:
            return ""
        for first, second in combinations(trusted, 2):
            error = math.hypot(first.cell["mcse"], second.cell["mcse"])
            distance = abs(first.cell["lambda_hat"] - second.cell["lambda_hat"])
            if not distance < CONTRADICTION * error:
                return (
                    f"Caution: the trusted runs {first.name} ({first.value}) and {second.name} "
                    f"({second.value}) contradict each other."
                )
        if len(others) == 1:
            return f"{others[0].name} agrees: {others[0].value}."
        return f"{len(others)} other trusted runs agree."


def answers(judged: Sequence[Judged]) -> list[Answer]:
    """Find the answer at each temperature."""
    result = []
    for (model, beta), group in groupby(
        judged, key=lambda run: (run.cell["model"], run.cell["beta"])
    ):
        runs = tuple(group)
        trusted = [run for run in runs if run.believable]
        best = min(trusted, key=_error) if trusted else None
        nearest = None if trusted else min(runs, key=_failure)
        result.append(Answer(model, beta, best, nearest, runs))
    return result


def headline(found: Sequence[Answer]) -> str:
    """Say in one sentence at which temperatures λ̂ is known."""
    known = [answer for answer in found if answer.best]
    unknown = [answer for answer in found if not answer.best]
    if len(found) == 1:
        run = found[0].shown
        if found[0].best:
            interval = f", in {run.interval}," if run.interval else ""
            more = f" Averaged over the readout it is {run.averaged}." if run.averaged else ""
            return f"λ̂ = {run.value}{interval} at β = {run.beta}, and it can be believed.{more}"
        return f"No measurement of λ̂ at β = {run.beta} can be believed yet."
    if not known:
        return f"No measurement of λ̂ can be believed yet, at any of {len(found)} temperatures."
    if not unknown:
        return f"λ̂ can be believed at all {len(found)} temperatures."
    return (
        f"λ̂ can be believed at {len(known)} of {len(found)} temperatures: {_list(known)}; "
        f"not at {_list(unknown)}."
    )


def recommendation(judged: Sequence[Judged]) -> str:
    """Say which sampler to use on one model and why; empty where only one has run."""
    samplers = list(dict.fromkeys(run.cell["sampler"] for run in judged))
    betas = {run.cell["beta"] for run in judged}
    if len(samplers) < 2:
        return ""
    usable = [
        [run for run in judged if run.cell["sampler"] == sampler and run.believable]
        for sampler in samplers
    ]
    usable = [runs for runs in usable if {run.cell["beta"] for run in runs} == betas]
    everywhere = "at all temperatures" if len(betas) > 1 else "here"
    if not usable:
        return f"None of the {len(samplers)} samplers can be believed {everywhere}."
    rates = {runs[0].cell["sampler"]: min(map(_rate, runs)) for runs in usable}
    best, second, *_ = [*sorted(rates, key=lambda name: -rates[name]), None]
    assert best is not None
    if second is None:
        return f"Use {best}: it is the only sampler that can be believed {everywhere}."
    if not rates[best] > 0:
        return f"{_words([*rates])} can be believed {everywhere}."
    times = "" if not rates[second] > 0 else f", {rates[best] / rates[second]:.2g} times {second}"
    return (
        f"Use {best}: it can be believed {everywhere}, with the most effective draws a second "
        f"({count(rates[best])}{' or more' if len(betas) > 1 else ''}{times})."
    )


def _rate(run: Judged) -> float:
    """Give the effective draws for each second of warm-up and sampling; 0 if not known."""
    seconds = run.cell["seconds_warmup"] + run.cell["seconds_sampling"]
    ess = run.cell["ess"]
    return ess / seconds if ess is not None and seconds > 0 else 0.0


def _words(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _list(found: Sequence[Answer]) -> str:
    texts = [answer.beta_text for answer in found]
    if len(texts) > 4:
        return f"{len(texts)} of them, β = {texts[0]} … {texts[-1]}"
    return "β = " + _words(texts)


def _error(run: Judged) -> float:
    mcse = run.cell["mcse"]
    return math.inf if mcse is None else mcse


def _failure(run: Judged) -> tuple[bool, bool, int, float]:
    wrong = run.status in ("wrong", "contradicted")
    return run.cell["lambda_hat"] is None, wrong, len(run.verdict.failed), _error(run)
