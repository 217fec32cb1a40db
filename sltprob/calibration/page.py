"""The page of the documentation that states the verdict's errors, made from the counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sltprob.calibration.plans import plans
from sltprob.calibration.score import (
    FALSE_ALARM_GOAL,
    FALSE_TRUST_GOAL,
    RIGHT_ERRORS,
    Calibration,
    Rate,
    Row,
    is_right,
    is_wrong,
)
from sltprob.calibration.settings import TRAINING_MODELS

TEST_MODELS: tuple[str, ...] = ()

__all__ = ["page"]

_SHOWN = 25


def page(found: Calibration) -> str:
    """Write the page, in Markdown, without a date or a machine."""
    if not {row["model"] for row in found.rows} & {*TEST_MODELS, *TRAINING_MODELS}:
        return _own_page(found)
    test, training = found.part(training=False), found.part(training=True)
    parts = [
        _HEAD.format(
            runs=len(found.rows),
            models=len({row["model"] for row in found.rows}),
            samplers=len({row["sampler"] for row in found.rows}),
            settings=len({row["setting"] for row in found.rows}),
        ),
        _missing(found),
        "## The rates\n",
        _rates({"test": test, "training": training, "all": found}),
        _goals(test),
        "\n## By kind of setting, on the test models\n",
        _kinds(test),
        "\n## False alarms of good settings, on the test models\n",
        _DISTANCES,
        _distances(test.kind("good")),
        _settings(test.kind("good")),
        "\n## What every check contributes, on the test models\n",
        _CHECKS,
        _checks(test),
        "\n## The runs that were trusted and are wrong, on the test models\n",
        _missed(test),
        _LIMITS,
        "\n## What was run\n",
        _grid(found),
    ]
    return "\n".join(parts)


def _own_page(found: Calibration) -> str:
    """Write the page about a program of the user's own."""
    name = found.rows[0]["model"]
    parts = [
        f"# How often the verdict is wrong on {name}\n",
        f"{len(found.rows)} runs, at settings good and wrong on purpose, against a reference: a\n"
        "trusted run of a ladder of temperatures from the prior. *Wrong* is a λ̂ off by more than\n"
        "4 standard errors and 5 %; *right* is |z| < 3 with 400 effective draws.\n",
        _rates({"all": found}),
        "\n## By kind of setting\n",
        _kinds(found),
        "\n## What every check contributes\n",
        _CHECKS,
        _checks(found),
        "\n## The runs that were trusted and are wrong\n",
        _missed(found),
    ]
    return "\n".join(parts)


def _missing(found: Calibration) -> str:
    planned = sum(1 for _ in plans())
    if len(found.rows) >= planned:
        return ""
    return (
        f"The whole study has {planned} runs. This page counts all that were made so\n"
        "far, whatever came out; its last section lists their models.\n"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _rates(parts: dict[str, Calibration]) -> str:
    named = [
        ("wrong among trusted runs (*false trust*)", "false_trust"),
        ("trusted among wrong runs", "missed"),
        ("the same, wrong runs that have a λ̂", "missed_numbers"),
        ("not trusted among right runs (*false alarm*)", "false_alarm"),
    ]
    rows = [
        [label, *(str(getattr(part, attribute)) for part in parts.values())]
        for label, attribute in named
    ]
    good = [part.kind("good").false_alarm for part in parts.values()]
    rows.append(["false alarm, good settings only", *map(str, good)])
    return _table(["", *(f"{name} models" if name != "all" else name for name in parts)], rows)


def _goals(test: Calibration) -> str:
    def line(name: str, rate: Rate, goal: float) -> str:
        if not rate.total:
            return f"- {name}: nothing to count.\n"
        low, high = rate.interval
        state = (
            "met, the whole interval"
            if high <= goal
            else "met, but the interval does not exclude more"
            if rate.value <= goal
            else "missed, but the interval does not exclude it"
            if low <= goal
            else "missed"
        )
        return f"- {name}: {100 * rate.value:.1f} %, goal {100 * goal:.0f} %: {state}.\n"

    apart = Calibration(rows=tuple(row for row in test.rows if row["kind"] != "density"))
    sound = Calibration(
        rows=tuple(row for row in test.rows if row["kind"] not in ("density", "damage"))
    )
    return (
        "\nOn the test models:\n\n"
        + line("false trust", test.false_trust, FALSE_TRUST_GOAL)
        + line("false trust without wrong densities", apart.false_trust, FALSE_TRUST_GOAL)
        + line("false alarm", test.false_alarm, FALSE_ALARM_GOAL)
        + line(
            "false alarm, draws not damaged and density right", sound.false_alarm, FALSE_ALARM_GOAL
        )
        + line("false alarm, good settings", test.kind("good").false_alarm, FALSE_ALARM_GOAL)
    )


def _kinds(part: Calibration) -> str:
    rows = []
    for name in part.kinds:
        kind = part.kind(name)
        wrong = sum(map(is_wrong, kind.rows))
        right = sum(map(is_right, kind.rows))
        rows.append([name, len(kind.rows), wrong, kind.missed, right, kind.false_alarm])
    heads = ["kind", "runs", "wrong", "of them trusted", "right", "of them not trusted"]
    return _table(heads, rows)


def _distances(good: Calibration) -> str:
    rows = []
    for least in range(RIGHT_ERRORS):
        near = [r for r in good.rows if is_right(r) and least <= abs(r["z"]) < least + 1]
        rows.append([f"{least} to {least + 1}", Calibration(rows=tuple(near)).false_alarm])
    return _table(["standard errors off", "not trusted among right"], rows)


def _settings(good: Calibration) -> str:
    rows = []
    for name in dict.fromkeys(row["setting"] for row in good.rows):
        part = Calibration(rows=tuple(row for row in good.rows if row["setting"] == name))
        rows.append([name, part.false_trust, part.false_alarm])
    return "\n" + _table(["setting", "wrong among trusted", "not trusted among right"], rows)


def _checks(part: Calibration) -> str:
    rows = [
        [f"`{c.name}`", c.caught, c.caught_alone, c.alarms, c.alarms_alone] for c in part.checks
    ]
    return _table(["check", "caught", "caught alone", "alarms", "alarms alone"], rows)


def _missed(part: Calibration) -> str:
    missed = part.missed_runs
    if not missed:
        return "None.\n"

    def line(row: Row) -> list[object]:
        z = "–" if row["z"] is None else f"{row['z']:+.1f}"
        values = [f"{row['lambda_hat']:.4g}", f"{row['exact']:.4g}", z]
        return [
            f"`{row['model']}`",
            f"{row['beta']:g}",
            f"`{row['sampler']}`",
            row["setting"],
            *values,
        ]

    heads = ["model", "β", "sampler", "setting", "λ̂", "exact", "z"]
    rest = len(missed) - _SHOWN
    more = f"\nand {rest} more.\n" if rest > 0 else ""
    return _table(heads, (line(row) for row in missed[:_SHOWN])) + more


def _grid(found: Calibration) -> str:
    def listed(part: Calibration, what: str) -> str:
        names = dict.fromkeys(row[what] for row in part.rows)
        return ", ".join(f"`{name}`" for name in names)

    settings = "; ".join(dict.fromkeys(row["setting"] for row in found.rows))
    return (
        f"Training models: {listed(found.part(training=True), 'model')}.\n\n"
        f"Test models: {listed(found.part(training=False), 'model')}.\n\n"
        f"Samplers: {listed(found, 'sampler')}.\n\n"
        f"Settings: {settings}.\n"
    )


_HEAD = """# How often the verdict is wrong

This page is made by `sltprob calibrate`, from {runs} runs: {models} models with exact answers,
{samplers} samplers, {settings} settings, good ones and such as are wrong on purpose. Every run
is judged by its draws alone; then the exact value says what the verdict was worth.

- A run is **wrong** when λ̂ is off by more than 4 standard errors (that of the exact value
  included) and by more than 5 %, or when there is no λ̂ at all (NaN).
- A run is **right** when |z| < 3 and its effective sample size is at least 400.
- What is neither counts in no rate. The goals are a false trust of at most 1 % and a false alarm
  of at most 5 %.

Checks and their limits were chosen by what the training models show. The test models were named
when that was done, before any of their runs; they only count. In brackets: the exact binomial
interval of 95 % by Clopper and Pearson, which takes runs as independent, and the counts.
"""

_DISTANCES = """By the distance of λ̂ from the exact value in standard errors, and by setting.
"""

_CHECKS = """*Caught* are wrong runs that the check failed, *alarms* right runs that it failed;
*alone* when no other check did. All sites of a check count as one.
"""

_LIMITS = """
## What these numbers do not say

- A kernel that samples another density is seen only as far as the identities see it: a β that is
  off by 20 % moves `configurational_temperature` by about 0.7 times as many standard errors as λ̂.
  A prior that is wrong shows in flat directions alone, which have few effective draws.
- A program whose density is wrong together with its gradient leaves no trace in the draws, and is
  not part of the study.
- A run whose setting is bad and whose λ̂ is right all the same, by chance or because λ̂ does not
  depend on what is wrong, counts as right: an alarm about it is a false one here.
- A run that is neither wrong nor right, such as one with few effective draws, counts nowhere.
- The two goals pull against each other: what is an alarm about nothing on one model (flat
  directions have not mixed, but λ̂ does not depend on them) betrays a wrong prior or a cold start
  on another.
- The line between wrong and right is drawn at 4 and 3 standard errors, and the identities see a
  bias through noise of the same size: no limit takes one side and leaves the other. That is why
  alarms are counted by distance above.
- `two_phase` has two basins. Chains that all sit in one of them agree in everything that a file can
  tell, and are trusted: it takes chains from both starts (`init="both"`), `sltprob probe`, or a
  ladder.
"""
