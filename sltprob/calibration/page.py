"""The page of the documentation that states the verdict's errors, made from the counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sltprob.calibration.families import catalogue
from sltprob.calibration.plans import family_plans
from sltprob.calibration.score import (
    FALSE_ALARM_GOAL,
    FALSE_TRUST_GOAL,
    NOT_SEEN,
    SPREAD_GOAL,
    Calibration,
    Rate,
    Row,
    family_of,
    is_right,
    is_wrong,
)

__all__ = ["page"]

_SHOWN = 40


def page(found: Calibration) -> str:
    """Write the page, in Markdown, without a date or a machine."""
    if not any(row["training"] or row.get("family") for row in found.rows):
        return _own_page(found)
    test, training = found.part(training=False), found.part(training=True)
    seen = test.without(NOT_SEEN)
    models = seen.of_models
    parts = [
        _HEAD.format(
            sampled=sum(row["kind"] not in ("edit", "damage") for row in test.rows),
            changed=sum(row["kind"] in ("edit", "damage") for row in test.rows),
            models=len({row["model"] for row in test.rows}),
            samplers=len({row["sampler"] for row in test.rows}),
            settings=len({row["setting"] for row in test.rows}),
        ),
        _missing(test),
        "## The rates\n",
        _rates({"test models": seen, **({"training models": training} if training.rows else {})}),
        _goals(seen),
        "\n## By family\n",
        _FAMILIES,
        _families(test),
        "\n## By sampler\n",
        _SAMPLERS,
        _samplers(models),
        "\n## By setting\n",
        _settings(seen),
        "\n## What every check contributes\n",
        _CHECKS,
        _checks(seen),
        "\n## The runs that were trusted and are wrong\n",
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
        "\n## By setting\n",
        _settings(found),
        "\n## What every check contributes\n",
        _CHECKS,
        _checks(found),
        "\n## The runs that were trusted and are wrong\n",
        _missed(found),
    ]
    return "\n".join(parts)


def _missing(test: Calibration) -> str:
    planned = sum(1 for _ in family_plans())
    if len(test.rows) >= planned:
        return ""
    return (
        f"The whole study has {planned} runs and edits. This page counts all that were made so\n"
        "far, whatever came out; families have different shares of them.\n"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _rates(parts: dict[str, Calibration]) -> str:
    rows = [
        ["wrong among trusted runs (*false trust*)", *(p.false_trust for p in parts.values())],
        ["the same, nothing edited, broken or mistaken",
         *(p.of_models.false_trust for p in parts.values())],
        ["trusted among wrong runs", *(p.missed for p in parts.values())],
        ["not trusted among right runs, good settings (*false alarm*)",
         *(p.kind("good").false_alarm for p in parts.values())],
        ["not trusted among right runs, all settings", *(p.false_alarm for p in parts.values())],
    ]  # fmt: skip
    return _table(["", *parts], rows)


def _goals(seen: Calibration) -> str:
    def state(low: float, value: float, high: float, least: float, most: float) -> str:
        if least <= low and high <= most:
            return "met, the whole interval"
        if least <= value <= most:
            return "met, but the interval does not exclude more"
        return "missed, but the interval does not exclude it" if low <= most else "missed"

    def line(name: str, rate: Rate, goal: float) -> str:
        if not rate.total:
            return f"- {name}: nothing to count.\n"
        low, high = rate.interval
        found = state(low, rate.value, high, 0.0, goal)
        return f"- {name}: {100 * rate.value:.1f} %, goal {100 * goal:.0f} %: {found}.\n"

    models = seen.of_models
    return (
        "\n"
        + line(
            "false trust, nothing edited, broken or mistaken", models.false_trust, FALSE_TRUST_GOAL
        )
        + line("false alarm at good settings", models.kind("good").false_alarm, FALSE_ALARM_GOAL)
        + line("edited files that were trusted", seen.kind("edit").missed, FALSE_TRUST_GOAL)
    )


def _families(test: Calibration) -> str:
    parts = test.by(family_of)
    rows = [
        [name, len(part.rows), part.false_trust, part.missed, part.kind("good").false_alarm]
        for name, part in sorted(parts.items(), key=lambda item: _place(item[0]))
    ]
    heads = ["family", "runs", "wrong among trusted", "trusted among wrong", "false alarms"]
    return _table(heads, rows)


def _place(family: str) -> tuple[int, str]:
    """Sort families of models before the others."""
    known = [*dict.fromkeys(catalogue.families()), NOT_SEEN]
    return (known.index(family) if family in known else len(known), family)


def _samplers(models: Calibration) -> str:
    rows = [
        [f"`{name}`", len(part.rows), part.false_trust, part.kind("good").false_alarm, part.spread]
        for name, part in sorted(models.by(lambda row: row["sampler"]).items())
    ]
    heads = ["sampler", "runs", "wrong among trusted", "false alarms", "deviation of z"]
    return _table(heads, rows)


def _settings(part: Calibration) -> str:
    rows = []
    for name, each in part.by(lambda row: row["setting"]).items():
        wrong, right = sum(map(is_wrong, each.rows)), sum(map(is_right, each.rows))
        rows.append([name, len(each.rows), wrong, each.missed, right, each.false_alarm])
    heads = ["setting", "runs", "wrong", "of them trusted", "right", "of them not trusted"]
    return _table(heads, rows)


def _checks(part: Calibration) -> str:
    good = {c.name: c for c in part.kind("good").checks}
    rows = [
        [f"`{c.name}`", c.caught, c.caught_alone,
         *((good[c.name].alarms, good[c.name].alarms_alone) if c.name in good else (0, 0))]
        for c in part.checks
    ]  # fmt: skip
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
    lines = []
    for name, part in found.part(training=False).by(lambda row: row["family"]).items():
        models = ", ".join(f"`{model}`" for model in dict.fromkeys(r["model"] for r in part.rows))
        lines.append(f"- {name}: {models}.")
    training = dict.fromkeys(row["model"] for row in found.part(training=True).rows)
    if training:
        lines.append(f"- training models: {', '.join(f'`{name}`' for name in training)}.")
    lines.sort()
    return "\n".join(lines) + "\n"


_HEAD = """# How often the verdict is wrong

This page is made by `make calibrate`: {sampled} runs of {samplers} samplers on {models} models
whose exact answers are known (in closed form, or by quadrature over the prior with its error), at
{settings} settings, good ones and such as are wrong on purpose; and {changed} files of such runs
that were edited or damaged. Every run is judged by its draws alone; then the exact value says what
the verdict was worth.

- A run is **wrong** when λ̂ is off by more than 4 standard errors (that of the exact value
  included) and by more than 5 %, or when there is no λ̂ at all (NaN).
- A run is **right** when |z| < 3 and its effective sample size is at least 400.
- What is neither counts in no rate. The goals are a false trust of at most 1 % and, at good
  settings, a false alarm of at most 2 %.

Limits were chosen on other models, the training models. But earlier runs of these models showed
that the checks for missed basins, jumps and flat bottoms had to be repaired, and those families are
not blind to it. The family *not seen before* was written after the last repair and counted once:
nothing was changed for it. In brackets: the exact binomial interval of 95 % by Clopper and
Pearson, which takes runs as independent, and the counts.
"""

_FAMILIES = """Families of models first, at all settings but edited, broken or mistaken ones, which
are families of their own. *False alarms* are right runs at good settings that are not trusted.
"""

_SAMPLERS = f"""*Deviation of z* is the standard deviation of (λ̂ - exact) / error over trusted runs,
where the error is that of the interval: the standard error, and the bias of an unadjusted step. In
brackets are its interval and the number of runs. 1 says that error bars are honest, and the goal is
{SPREAD_GOAL[0]:g} to {SPREAD_GOAL[1]:g}.
"""

_CHECKS = """*Caught* are wrong runs that the check failed, *alarms* right runs at good settings
that it failed; *alone* when no other check did. All sites of a check count as one.
"""

_LIMITS = """
## What these numbers do not say

- A needle is a basin that no descent from the prior and no point of a ladder hits. Where L* is
  known, `least_draw` sees that no draw comes near it; where a run looks for L* itself,
  nothing does.
- An L* that somebody gives too low, by 1/β or less, looks like a model with some more dimensions:
  the table of settings says how often that passes.
- Basins are weighed by what descents find. Chains that all start at the optimum, and stay there,
  pass where what they missed moves λ̂ by less than the limit of `scouts`, or by not much more.
- A program that says another model than was meant, or data whose rows were mixed up, leave no
  trace in the draws, and are seen only where L* is known from elsewhere. A prior or a Jacobian that
  is written as a factor is refused before the first draw.
- Where log p jumps, the identities do not hold and are left out: a kernel that samples another
  density is then not seen.
- A kernel that samples another density is seen only as far as the identities see it: a prior that
  is wrong shows in flat directions alone, which have few effective draws.
- A run whose setting is bad and whose λ̂ is right all the same, by chance or because λ̂ does not
  depend on what is wrong, counts as right.
- A run that is neither wrong nor right, such as one with few effective draws, counts nowhere.
"""
