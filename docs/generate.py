"""Sphinx extension: what the pages take from the code, so that it cannot be out of date.

A line ``<!-- NAME -->`` of a page becomes the text of the function NAME below.
"""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from sltprob.diagnostics import Check
from sltprob.diagnostics.checks import CHECKS, Run
from sltprob.diagnostics.local_checks import LOCAL_CHECKS

ROOT = Path(__file__).parents[1] / "sltprob"
_ERRORS = ("ValueError", "TypeError", "FileExistsError", "FileNotFoundError")
#: Headings of the page of errors, with the files whose messages they hold; the first that fits.
_GROUPS = (
    ("Names and options in text", ("spec.py",)),
    ("Models", ("models/",)),
    (
        "Tempering a program",
        (
            "tempering.py",
            "posterior.py",
            "structure.py",
            "observed.py",
            "indexing.py",
            "optimum.py",
            "program.py",
            "problem.py",
        ),
    ),
    (
        "Data",
        ("data.py", "arguments.py", "reading.py", "sampling/minibatches.py"),
    ),
    (
        "Trained networks",
        ("local", "center_losses.py", "masks.py", "streams.py", "sampling/local", "trajectories/"),
    ),
    ("Samplers and sampling", ("samplers/", "sampling/")),
    ("Files and runs", ("draws.py", "foreign.py", "estimation.py", "ladders.py")),
    ("Reports", ("report/", "files.py")),
    (
        "Studies and comparisons",
        (
            "grids/",
            "comparison.py",
            "marginal_likelihood.py",
            "league/",
            "probes/",
            "calibration/",
        ),
    ),
    ("The command line", ("cli/",)),
    ("Theory", ("theory/", "quadrature.py", "collapsed/", "finding/")),
)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx, which calls it."""
    app.connect("source-read", lambda _app, _name, source: source.__setitem__(0, fill(source[0])))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def fill(markdown: str) -> str:
    """Put generated text into a page.

    Parameters
    ----------
    markdown : str

    Returns
    -------
    str
    """
    made = {
        "checks": checks,
        "local checks": local_checks,
        "samplers": samplers,
        "errors": errors,
        "check words": check_words,
        "cell words": cell_words,
        "league words": league_words,
        "reference": reference,
    }
    for name, function in made.items():
        marker = f"<!-- {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, function())
    return markdown


def failing_checks() -> dict[str, tuple[str, Check]]:
    """Make every check fail on a run without draws that are any good.

    Returns
    -------
    dict of str to (str, Check)
        By name: what the check does, and its outcome.
    """
    shape = (2, 8)
    names = ("diverging", "energy", "acceptance_rate", "round_trips")
    ladder = ("ladder_loss", "ladder_swap_acceptance", "ladder_log_evidence")
    attributes = {
        "beta": 1.0,
        "minimum_loss": 0.0,
        "minimum_loss_source": "given",
        "minimum_loss_error": 0.0,
        "loss_rounding": 1.0,
        "data_error": 1.0,
        "as_sampled": '{"beta": 2.0}',
    }
    found: dict[str, tuple[str, Check]] = {}
    kinds = ((0, (), ()), (0, (), ladder), (1, (), ladder), (1, ("energy_variance",), ladder))
    for unadjusted, extra, rungs in kinds:
        stats = {name: np.full(shape, math.nan) for name in (*names, *extra)}
        one = ("lp", "energy_excess", "loss_field")
        stats |= {name: np.full(shape, math.nan) for name in (*one, "loss_field_energy")}
        stats |= {
            name: np.full((*shape, 1), math.nan)
            for name in ("virial", "virial_offset", "loss_virial")
        }
        stats |= {name: np.full((*shape, 2), math.nan) for name in rungs}
        run = Run(
            np.full(shape, math.nan),
            stats,
            {"site": 1},
            {**attributes, "unadjusted": unadjusted},
            np.array([0.0, 1.0] if rungs else []),
            scouts={
                "loss": np.full(shape, math.nan),
                "log_weight": np.full(shape[0], math.nan),
                "attained_loss": np.asarray(1.0),
            },
        )
        with np.errstate(all="ignore"):
            for function in CHECKS:
                purpose = (function.__doc__ or "").strip().splitlines()[0]
                for check in function(run):
                    kind = f"{check.name} of an unadjusted sampler"
                    seen = check.name in found and _limit(found[check.name][1]) != _limit(check)
                    found.setdefault(kind if seen else check.name, (purpose, check))
    return found


def _limit(check: Check) -> str:
    """Say what limit a check has; that of some depends on the run."""
    if math.isnan(check.limit):
        return "a few percent of λ̂, or its standard error where that is larger"
    return f"{check.limit:g}"


def checks() -> str:
    """List all checks with meaning, limit and advice.

    Returns
    -------
    str
    """
    parts = []
    for name, (purpose, check) in failing_checks().items():
        shown = name.replace("[site]", "[SITE]")
        # What is in brackets, and the factor of an advice, are about one run.
        meaning = re.sub(r", at most \(β.*\)", "", check.meaning).replace(
            " (nan times what the density demands)", ""
        )
        meaning = meaning.replace("of site site", "of the site")
        advice = check.advice.replace("directions of site", "directions of the site")
        kind = "evidence that the number is wrong" if check.evidence else "lack of evidence"
        parts.append(
            f"### `{shown}`\n\n{purpose}\n\n"
            f"- **Measures** {meaning}.\n"
            f"- **Must be** {'below' if check.relation == '<' else 'above'} {_limit(check)}. "
            f"Failing is {kind}.\n"
            f"- **Advice** {advice}\n"
            f"- **Source** {check.reference}\n"
        )
    return "\n".join(parts)


def local_failing_checks() -> dict[str, tuple[str, Check]]:
    """Make every check of a run around trained parameters fail.

    Returns
    -------
    dict of str to (str, Check)
        By name: what the check does, and its outcome.
    """
    shape = (2, 8)
    by_site = ("virial", "loss_virial", "squared_distance", "squared_gradient")
    stats = {name: np.full((*shape, 1), math.nan) for name in by_site}
    stats |= {
        name: np.full(shape, math.nan)
        for name in ("paired_variance", "step_bias", "parameter_rounding")
    }
    numbers = ("beta", "minimum_loss", "step_size", "langevin_step", "localization")
    attributes = dict.fromkeys((*numbers, "steps_per_draw", "batch_size"), 1.0) | {"local": 1}
    run = Run(np.full(shape, math.nan), stats, {"SITE": 1}, attributes)
    found: dict[str, tuple[str, Check]] = {}
    with np.errstate(all="ignore"):
        for function in LOCAL_CHECKS:
            purpose = (function.__doc__ or "").strip().splitlines()[0]
            for check in function(run):
                found[check.name] = (purpose, check)
    return found


def local_checks() -> str:
    """List the checks of a run around trained parameters, as a table.

    Returns
    -------
    str
    """
    rows = ["| check | what it does | measures | must be | failing is |", "|---|---|---|---|---|"]
    for found, (purpose, check) in local_failing_checks().items():
        name = found.replace("[all]", "[SITE]")
        meaning = check.meaning.replace("of all by", "of the site by")
        number = "2 % of λ̂, or its error" if math.isnan(check.limit) else f"{check.limit:g}"
        limit = f"{'below' if check.relation == '<' else 'above'} {number}"
        kind = "evidence that it is wrong" if check.evidence else "lack of evidence"
        cells = [f"`{name}`", purpose, meaning, limit, kind]
        rows.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(rows) + "\n"


#: Checks that take the place of others, or want what a run without draws has not.
_RARE = {
    "as_sampled": (
        "Compare β, L* and the losses with what they were when the run was sampled.",
        "",
    ),
    "virial": ("Compare the spread of all sites together with what the density demands.", ""),
    "local_spread": ("Compare the halves of all chains, where R-hat says too little.", ""),
}


def every_check() -> dict[str, tuple[str, str]]:
    """Give every check's name with what it does and what it measures.

    Returns
    -------
    dict of str to (str, str)
    """
    found = {
        name.removesuffix(" of an unadjusted sampler"): (purpose, check.meaning)
        for name, (purpose, check) in failing_checks().items()
    }
    for name, (purpose, check) in local_failing_checks().items():
        found.setdefault(name, (purpose, check.meaning))
    return _RARE | found


def check_words() -> str:
    """List what every check is, by name.

    Returns
    -------
    str
    """
    rows = ["| check | what it does |", "|---|---|"]
    for name, (purpose, _) in sorted(every_check().items()):
        shown = re.sub(r"\[(site|all)\]", "[SITE]", name)
        rows.append(f"| `{shown}` | {purpose.replace('|', chr(92) + '|')} |")
    return "\n".join(dict.fromkeys(rows)) + "\n"


#: What stands in each column of a table of runs.
CELL_WORDS = {
    "model": "The model or program, with its options.",
    "sampler": "The sampler, with the options that are not its defaults.",
    "beta": "β, the inverse temperature that multiplies the mean loss; dimensionless.",
    "seed": "The seed of the run: the same seed gives the same draws.",
    "lambda_hat": "λ̂ = β (E[L] − L\\*), as measured.",
    "mcse": "Its Monte Carlo standard error: how far λ̂ of another seed would be off, typically.",
    "exact": "λ̂ at this β by a route that does not sample the posterior. Where nobody knows it, "
    "a *reference*: a trusted run of a ladder from the prior.",
    "exact_mcse": "The standard error of that.",
    "exact_method": "The route: a closed form, quadrature, importance sampling, a ladder.",
    "z": "(λ̂ − exact) over the two errors together. Beyond ±3 by chance once in 370 runs.",
    "ess": "Effective sample size of the loss: as many independent draws would be worth as much.",
    "rhat": "R-hat of the loss: 1 where the chains agree with each other, be they right or wrong.",
    "draws": "Draws kept of each chain.",
    "chains": "Independent chains.",
    "gradients": "Gradients on all data, of all chains; a minibatch counts by its share.",
    "seconds_warmup": "Seconds of tuning, whose draws never count.",
    "seconds_sampling": "Seconds of sampling; of a local run those at half the step too.",
    "seconds_compile": "Seconds of compilation, once for each model and sampler.",
    "verdict": "*trusted*, *doubtful* or *wrong*.",
    "failed_checks": "Names of the checks that failed, evidence of a wrong number first.",
}


def cell_words() -> str:
    """List what the columns of a table of runs are.

    Returns
    -------
    str
    """
    rows = [f"| `{name}` | {text} |" for name, text in CELL_WORDS.items()]
    return "\n".join(["| column | what it is |", "|---|---|", *rows]) + "\n"


def league_words() -> str:
    """List what the columns of a league table are.

    Returns
    -------
    str
    """
    from sltprob.league.columns import LEAGUE_COLUMNS

    rows = [f"| {column.heading} | {column.meaning} |" for column in LEAGUE_COLUMNS]
    return "\n".join(["| column | what it is |", "|---|---|", *rows]) + "\n"


def samplers() -> str:
    """List all samplers with their first sentence, their options and whether they are exact.

    Returns
    -------
    str
    """
    import dataclasses

    from sltprob import samplers as module

    rows = ["| sampler | what it is | Metropolis test |", "|---|---|---|"]
    for name in module.registry.names():
        cls = module.registry.type_of(name)
        first = (cls.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        options = ", ".join(
            f"{field.name}={field.default}" for field in dataclasses.fields(cls) if field.init
        )
        test = "no" if cls.unadjusted else "yes"
        rows.append(f"| `{name}`<br><small>{options}</small> | {first} | {test} |")
    return "\n".join(rows)


def _text(node: ast.expr | None) -> str:
    """Write a message with … for what comes at run time."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join("…" if isinstance(p, ast.FormattedValue) else _text(p) for p in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        return f"{_text(node.body)} / {_text(node.orelse)}"
    return "…"


def _message(call: ast.Call) -> str | None:
    name = getattr(call.func, "id", "")
    if name == "refuse" and len(call.args) == 3:
        what, instead = _text(call.args[1]), _text(call.args[2])
        return f"site '…' cannot be tempered: {what}; {instead}"
    if name in _ERRORS and call.args:
        return _text(call.args[0])
    return None


def messages() -> dict[str, list[str]]:
    """Collect every message that the package raises, by group.

    Returns
    -------
    dict of str to list of str
    """
    found: dict[str, list[str]] = {heading: [] for heading, _ in _GROUPS}
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT).as_posix()
        fits = [heading for heading, starts in _GROUPS if relative.startswith(starts)]
        heading = fits[0] if fits else "Other"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                message = _message(node.exc)
                # What is shorter is a part of another message.
                if message and len(message.split()) > 4:
                    found.setdefault(heading, []).append(" ".join(message.split()))
    return {heading: list(dict.fromkeys(texts)) for heading, texts in found.items() if texts}


def errors() -> str:
    """List every error message under the heading of its group.

    Returns
    -------
    str
    """
    parts = []
    for heading, texts in messages().items():
        lines = "\n".join(f"- {_code(text)}" for text in texts)
        parts.append(f"## {heading}\n\n{lines}\n")
    return "\n".join(parts)


def _code(text: str) -> str:
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text}{ticks}"


#: What verbs give, and is not in ``sltprob`` itself.
_RESULTS = (
    "sltprob.comparison.Comparison",
    "sltprob.ladders.Rung",
    "sltprob.marginal_likelihood.Evidence",
    "sltprob.known_coefficient.KnownCoefficient",
    "sltprob.probes.probe.Probe",
    "sltprob.probes.simulation_based_calibration.Calibration",
    "sltprob.trajectories.sweep.Sweep",
    "sltprob.trajectories.trajectory.Trajectory",
    "sltprob.trajectories.covariance.LossCovariance",
)


def reference() -> str:
    """List every public name with its docstring.

    Returns
    -------
    str
    """
    import importlib
    import inspect

    import sltprob

    groups: dict[str, dict[str, Any]] = {"Verbs": {}, "Nouns": {}, "What verbs give": {}}
    for name in sltprob.__all__:
        found = getattr(sltprob, name)
        if inspect.isclass(found):
            groups["Nouns"][f"sltprob.{name}"] = found
        elif callable(found):
            groups["Verbs"][f"sltprob.{name}"] = found
    for path in _RESULTS:
        module, _, name = path.rpartition(".")
        groups["What verbs give"][path] = getattr(importlib.import_module(module), name)
    parts = []
    for heading, members in groups.items():
        rows = [
            f"| [`{path}`](#{path}) | {_first_line(found)} |" for path, found in members.items()
        ]
        parts += [f"## {heading}\n", "| name | what it does |", "|---|---|", *rows, ""]
        for path, found in members.items():
            kind = "autoclass" if inspect.isclass(found) else "autofunction"
            parts += [f"### {path.rpartition('.')[2]}\n", "```{eval-rst}", f".. {kind}:: {path}"]
            if kind == "autoclass":
                parts += ["   :members:"]
            parts += ["```", ""]
    return "\n".join(parts)


def _first_line(found: Any) -> str:
    return (found.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
