"""The league table as Markdown, as CSV and as a page."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sltprob.report.numbers import inverse_temperature, measured, number
from sltprob.study.standing import STANDING_FIELDS, Standing

__all__ = [
    "LEAGUE_COLUMNS",
    "Group",
    "LeagueColumn",
    "grouped",
    "league_csv",
    "league_markdown",
    "league_sentences",
    "write_league",
]


@dataclass(frozen=True)
class LeagueColumn:
    """A column of the table.

    Parameters
    ----------
    heading : str
        With its unit.
    short : str
        The heading on two lines, for a terminal.
    text : callable
        From a `Standing` to what stands in the cell.
    meaning : str
        What it is, in one sentence.
    """

    heading: str
    short: str
    text: Callable[[Standing], str]
    meaning: str


@dataclass(frozen=True)
class Group:
    """The rows of one model at one beta, best first.

    Parameters
    ----------
    model : str
    beta : float, dimensionless
    rows : tuple of Standing
        By gradients to 5 % error; then those that never get there, by their error; then those
        that do not apply.
    """

    model: str
    beta: float
    rows: tuple[Standing, ...]

    @property
    def title(self) -> str:
        """Model, beta and the exact value."""
        row = self.rows[0]
        # A closed form has no error but rounding.
        error = row.exact_mcse or 0.0
        exact = measured(row.exact, error if error > 1e-6 * (row.exact or 0.0) else None).text()
        return f"{self.model}, β = {inverse_temperature(self.beta)}, exact λ̂ = {exact}"


def _percent(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(100 * value)
    return f"{number(size, 2 if size < 100 else 3)} %"


def _signed_percent(value: float | None) -> str:
    sign = "" if value is None or value == 0 else "−" if value < 0 else "+"
    return sign + _percent(value)


def _short(value: float | None) -> str:
    """Write a large number in four characters or little more: 1.2M."""
    if value is None or not math.isfinite(value):
        return "–"
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{number(value / size, 2 if value < 10 * size else 3)}{suffix}"
    return number(value, 2 if value < 10 else 3)


def _reached(value: float | None, spent: float | None, row: Standing) -> str:
    """Write a cost, or that it is above what a run has spent."""
    if value is None and spent is not None and row.reason is None:
        return f">{_short(spent)}"
    return _short(value)


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
    return _short(None if value is None else 1000 * value)


#: The columns after the sampler's name.
LEAGUE_COLUMNS = (
    LeagueColumn(
        "error",
        "\nerror",
        lambda row: _percent(row.relative_error),
        "root mean square over the seeds of (λ̂ − exact) / exact.",
    ),
    LeagueColumn(
        "bias",
        "\nbias",
        lambda row: _signed_percent(row.relative_bias),
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
        lambda row: _short(row.ess_per_second),
        "effective draws of the loss for each second of sampling. A biased sampler can have many.",
    ),
    LeagueColumn(
        "ESS per s, all in",
        "all\nin",
        lambda row: _short(row.ess_per_second_in_all),
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
        lambda row: _short(row.warmup_gradients),
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


def grouped(rows: Sequence[Standing]) -> list[Group]:
    """Sort rows into one group for each model and beta, best first.

    Parameters
    ----------
    rows : sequence of Standing

    Returns
    -------
    list of Group
        In the order in which the models and betas come first.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    if not rows:
        raise ValueError("rows is empty: a table needs at least one row, such as [score(runs)]")
    found: dict[tuple[str, float], list[Standing]] = {}
    for row in rows:
        found.setdefault((row.model, row.beta), []).append(row)
    return [Group(*key, tuple(sorted(own, key=_rank))) for key, own in found.items()]


def _rank(row: Standing) -> tuple[bool, bool, float]:
    never = row.gradients_to_accuracy is None
    size = row.relative_error if never else row.gradients_to_accuracy
    return row.reason is not None, never, math.inf if size is None else size


def league_sentences(rows: Sequence[Standing]) -> list[str]:
    """Say what a league table found: the verdicts first, then the first of every group.

    Parameters
    ----------
    rows : sequence of Standing

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If there are no rows.
    """
    runs = sum(row.seeds for row in rows)
    trust, alarm = sum(row.false_trust for row in rows), sum(row.false_alarm for row in rows)
    trusted = sum(row.trusted for row in rows)
    sentences = [
        f"{runs} runs against exact values: {trusted} trusted, {trust} of them falsely; "
        f"{runs - trusted} not trusted, {alarm} of them by false alarm."
    ]
    for group in grouped(rows):
        ran = [row for row in group.rows if row.reason is None]
        there = [row for row in ran if row.gradients_to_accuracy is not None]
        where = f"{group.model}, β = {inverse_temperature(group.beta)}"
        if there:
            sentences.append(
                f"{where}: {there[0].sampler} needs the fewest gradients to 5 % error, "
                f"{_short(there[0].gradients_to_accuracy)}; {len(there)} of {len(ran)} samplers "
                "get there."
            )
        else:
            sentences.append(f"{where}: none of {len(ran)} samplers gets to 5 % error.")
    return sentences


def league_csv(rows: Sequence[Standing]) -> str:
    """Write a league table as CSV, in full precision and in the order of the rows.

    Parameters
    ----------
    rows : sequence of Standing

    Returns
    -------
    str
        One header line of `STANDING_FIELDS`; what does not exist is empty.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(STANDING_FIELDS)
    for row in rows:
        values = dataclasses.asdict(row).values()
        writer.writerow("" if value is None else value for value in values)
    return buffer.getvalue()


def league_markdown(rows: Sequence[Standing]) -> str:
    """Write a league table as Markdown, one table for each model and beta, with its legend.

    Parameters
    ----------
    rows : sequence of Standing

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there are no rows.
    """
    headings = ["sampler", *(column.heading for column in LEAGUE_COLUMNS)]
    lines = [*league_sentences(rows)[:1], ""]
    for group in grouped(rows):
        lines += [f"## {_escaped(group.title)}", "", _line(headings)]
        lines.append(_line(["---", *("---:" for _ in LEAGUE_COLUMNS)]))
        for row in group.rows:
            cells = [column.text(row) for column in LEAGUE_COLUMNS]
            lines.append(_line([f"`{row.sampler}`", *map(_escaped, cells)]))
        absent = [row for row in group.rows if row.reason is not None]
        lines += ["", *(f"- `{row.sampler}` does not apply: {row.reason}." for row in absent)]
        lines += [""] if absent else []
    lines += ["## Columns", ""]
    lines += [f"- **{column.heading}**: {column.meaning}" for column in LEAGUE_COLUMNS]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    for character in "\\`*_[]|":
        text = text.replace(character, "\\" + character)
    return text


def write_league(rows: Sequence[Standing], path: str | os.PathLike[str], *, command: str) -> Path:
    """Write a league table as one HTML file, whole or not at all.

    Parameters
    ----------
    rows : sequence of Standing
    path : path
        Replaced if it exists.
    command : str
        What to type to make the page again.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If there are no rows.
    OSError
        If the folder cannot be written.
    """
    path = Path(path)
    environment = Environment(
        loader=PackageLoader("sltprob", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (files("sltprob.report") / "report.css").read_text(encoding="utf-8")
    page = environment.get_template("league.html").render(
        sentences=league_sentences(rows),
        groups=[(group, _with_bars(group)) for group in grouped(rows)],
        columns=LEAGUE_COLUMNS,
        command=command,
        style=Markup(style),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as handle:
            handle.write(page)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _with_bars(group: Group) -> list[tuple[Standing, int]]:
    """Give every row a bar, percent long: its gradients to 5 % on a logarithmic scale."""
    costs = [row.gradients_to_accuracy for row in group.rows]
    known = [math.log(cost) for cost in costs if cost]
    lengths = []
    for cost in costs:
        # The cheapest has a bar too, of one tenth of the scale.
        span = max(known) - min(known) if known else 0.0
        share = (math.log(cost) - min(known)) / span if cost and span else 0.0
        lengths.append(round(10 + 90 * share) if cost else 0)
    return list(zip(group.rows, lengths, strict=True))
