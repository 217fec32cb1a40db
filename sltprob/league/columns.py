"""The columns of a league table: what stands in each, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sltprob.league.numbers import percent, short, signed_percent
from sltprob.league.standing import Standing
from sltprob.report.numbers import number

__all__ = ["LEAGUE_COLUMNS", "LeagueColumn"]


@dataclass(frozen=True)
class LeagueColumn:
    """A column of the table."""

    heading: str  # with its unit
    short: str  # the heading on two lines, for a terminal
    text: Callable[[Standing], str]  # from a `Standing` to what stands in the cell
    meaning: str  # what it is, in one sentence


def _reached(value: float | None, spent: float | None, row: Standing) -> str:
    """Write a cost, or that it is above what a run has spent."""
    if value is None and spent is not None and row.reason is None:
        return f">{short(spent)}"
    return short(value)


def _seconds(value: float | None) -> str:
    return number(value, 2 if value is None or value < 100 else 3)


def _if_run(text: str, row: Standing) -> str:
    return "–" if row.reason is not None else text


def _coverage(row: Standing) -> str:
    if row.coverage_low is None or row.coverage_high is None:
        return "–"
    return (
        f"{row.covered}/{row.seeds} ({100 * row.coverage_low:.0f}–{100 * row.coverage_high:.0f} %)"
    )


def _per_thousand(row: Standing) -> str:
    value = row.ess_per_gradient
    return short(None if value is None else 1000 * value)


#: The columns after the sampler's name.
LEAGUE_COLUMNS = (
    LeagueColumn(
        "error",
        "\nerror",
        lambda row: percent(row.relative_error),
        "root mean square over the seeds of (λ̂ − exact) / exact.",
    ),
    LeagueColumn(
        "bias",
        "\nbias",
        lambda row: signed_percent(row.relative_bias),
        "mean of the same, with its sign.",
    ),
    LeagueColumn(
        "rms z",
        "rms\nz",
        lambda row: number(row.rms_z, 2),
        "root mean square of (λ̂ − exact) / standard error: about 1 if the errors are honest.",
    ),
    LeagueColumn(
        "coverage",
        "cov-\nered",
        _coverage,
        "seeds whose 95 % interval holds the exact value, of all seeds, with the 95 % interval "
        "that Clopper and Pearson give for that share.",
    ),
    LeagueColumn(
        "verdicts t/d/w",
        "verdict\nt/d/w",
        lambda row: _if_run(f"{row.trusted}/{row.doubtful}/{row.wrong}", row),
        "seeds judged trusted, doubtful and wrong.",
    ),
    LeagueColumn(
        "false t/a",
        "false\nt/a",
        lambda row: _if_run(f"{row.false_trust}/{row.false_alarm}", row),
        "false trusts (trusted, and off by more than 4 standard errors and 5 %) and false alarms "
        "(not trusted, though within 3 standard errors and worth 400 draws or more).",
    ),
    LeagueColumn(
        "ESS per s",
        "ESS\n/s",
        lambda row: short(row.ess_per_second),
        "effective draws of the loss for each second of sampling. A biased sampler can have many.",
    ),
    LeagueColumn(
        "ESS per s, all in",
        "all\nin",
        lambda row: short(row.ess_per_second_in_all),
        "the same for each second of one run alone, warm-up and compilation included.",
    ),
    LeagueColumn(
        "ESS per 1000 gradients",
        "/1000\ngrad.",
        _per_thousand,
        "effective draws for each 1000 gradients on all data; a minibatch counts by its size, and "
        "a sampler without gradients by its evaluations.",
    ),
    LeagueColumn(
        "gradients to 5 %",
        "grad.\nto 5%",
        lambda row: _reached(row.gradients_to_accuracy, row.gradients, row),
        "gradients of all chains after warm-up until the expected error of the running mean, "
        "bias included, is below 5 % and stays there. >N: above at the end, after N gradients. A "
        "sampler whose bias is larger never gets there.",
    ),
    LeagueColumn(
        "seconds to 5 %",
        "s\nto 5%",
        lambda row: _reached(row.seconds_to_accuracy, row.seconds_sampling, row),
        "the same in seconds of sampling.",
    ),
    LeagueColumn(
        "warm-up gradients",
        "warm\ngrad.",
        lambda row: short(row.warmup_gradients),
        "gradients of the warm-up of one run, all chains.",
    ),
    LeagueColumn(
        "warm-up s",
        "warm\nup s",
        lambda row: _seconds(row.seconds_warmup),
        "seconds of the warm-up of one run.",
    ),
    LeagueColumn(
        "compilation s",
        "com-\npile s",
        lambda row: _seconds(row.seconds_compile),
        "seconds of compilation, once for all runs of the sampler on the model.",
    ),
)
