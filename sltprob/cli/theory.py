"""`sltprob exact` and `sltprob rlct`: answers without sampling the posterior."""

from __future__ import annotations

import inspect
import typing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sltprob.cli._app import THEORY, app
from sltprob.cli._options import AsJson, DataOption, ModelArgument, Tolerance, configure, read_betas
from sltprob.cli._output import print_json, print_rows, say

__all__ = ["exact", "rlct"]


@app.command(rich_help_panel=THEORY)
def exact(
    model: ModelArgument = "tanh_zero",
    betas: Annotated[str, typer.Option(help="comma-separated")] = "1,1e2,1e4",
    tolerance: Tolerance = 0.01,
    as_json: AsJson = False,
) -> None:
    """Compute lambda-hat and the free energy without sampling the posterior."""
    configure("float64")
    from sltprob import models
    from sltprob.collapsed import PrecisionError, ResolutionError
    from sltprob.program import is_program

    if is_program(model):
        raise ValueError(
            f"no exact answer is known for a program of your own; sltprob ladder {model} --data "
            "... measures the curve from the prior"
        )
    chosen = models.get(model)
    values = read_betas(betas)
    if not 0 < tolerance < 1:
        raise ValueError(f"--tolerance {tolerance:g}: it must lie between 0 and 1, such as 0.01")
    rows: list[Any] = []
    trouble: ValueError | None = None
    for beta in values:
        try:
            row = chosen.exact(beta, tolerance=tolerance)
        except (PrecisionError, ResolutionError) as error:
            if not rows:
                raise
            trouble = error  # what was found is shown first
            break
        if row is None:
            raise ValueError(f"no exact answer is known for {model}; see sltprob list models")
        rows.append(row)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        _print_answers(models.specification(chosen), rows, chosen.truth())
    if trouble is not None:
        raise trouble


def _print_answers(name: str, rows: list[Any], truth: Any) -> None:
    """Print a table of exact answers, and what theory says of β → ∞."""
    headings = ("β", "λ̂", "±", "F", "±", "method")
    table = [
        (
            f"{row.beta:g}",
            f"{row.lambda_hat:.5g}",
            f"{row.mcse:.1g}",
            f"{row.free_energy:.6g}",
            f"{row.free_energy_mcse:.1g}",
            row.method,
        )
        for row in rows
    ]
    print_rows(name, headings, table, words=("method",))
    if truth.learning_coefficient is not None:
        say(
            f"β → ∞: λ = {truth.learning_coefficient}, m = {truth.multiplicity} "
            f"({truth.status}; {truth.source})"
        )


@app.command(
    rich_help_panel=THEORY,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="For example: sltprob rlct deep_linear --widths 10,5,10 --rank 3",
)
def rlct(
    context: typer.Context,
    formula: Annotated[
        str,
        typer.Argument(
            metavar="FORMULA_OR_MODEL",
            help="see sltprob rlct list; or a model such as 'tanh_zero[width=2]', or your own "
            "path/to/file.py:function",
        ),
    ],
    data: DataOption = None,
    as_json: AsJson = False,
) -> None:
    """Print a learning coefficient from theory, with its multiplicity and source.

    The parameters of a formula are options: whole numbers, or lists as in 10,5,10. For a program
    of your own it says what the Hessian at the optimum tells: d/2 where it has full rank.
    """
    from sltprob.theory.learning_coefficients import FORMULAS

    if formula not in (*FORMULAS, "list"):
        _of_model(formula, data, context.args, as_json)
        return
    if formula == "list":
        signatures = {name: list(_parameters(function)) for name, function in FORMULAS.items()}
        if as_json:
            print_json(signatures)
        for name, parameters in signatures.items() if not as_json else ():
            say(f"{name} {' '.join(f'--{key}' for key in parameters)}")
        return
    function = FORMULAS[formula]
    given = _extra_options(context.args)
    values = {}
    for key, annotation in _parameters(function).items():
        if key in given:
            values[key] = _whole_numbers(key, given.pop(key), many=annotation is not int)
    missing = [
        key
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and key not in values
    ]
    if given or missing:
        wanted = " ".join(f"--{key}" for key in _parameters(function))
        wrong = f"has no option --{next(iter(given))}" if given else f"needs --{missing[0]}"
        raise ValueError(f"{formula} {wrong}; its options are {wanted}")
    found = function(**values)
    if as_json:
        print_json(
            {
                "formula": formula,
                "parameters": values,
                "learning_coefficient": str(found.value),
                "value": float(found.value),
                "multiplicity": found.multiplicity,
                "status": found.status,
                "source": found.source,
            }
        )
    else:
        say(f"{found}  ({found.status})", found.source)


def _of_model(model: str, data: Path | None, arguments: list[str], as_json: bool) -> None:
    """Print what is known about the learning coefficient of a model or a program."""
    from sltprob import models
    from sltprob.program import is_program
    from sltprob.theory.learning_coefficients import FORMULAS

    name = model.partition("[")[0]
    if not is_program(model) and name not in models.registry.names():
        raise ValueError(
            f"unknown formula {model!r}; there are: {', '.join(FORMULAS)}; or give a model, see "
            "sltprob list models"
        )
    if arguments:
        raise ValueError(f"{model} has no option {arguments[0]}; write {name}[option=value]")
    configure("float64")
    from sltprob.known_coefficient import learning_coefficient

    found = learning_coefficient(model, data=data)
    if as_json:
        print_json({"model": model, **found.as_json()})
        return
    say(str(found), found.source)


def _parameters(function: Any) -> dict[str, Any]:
    """Give the parameters of a formula with their types."""
    hints = typing.get_type_hints(function)
    return {name: hints[name] for name in inspect.signature(function).parameters}


def _extra_options(arguments: list[str]) -> dict[str, str]:
    """Read ``--key value`` and ``--key=value``."""
    options = {}
    rest = list(arguments)
    while rest:
        key, equals, value = rest.pop(0).partition("=")
        if not key.startswith("--") or (not equals and not rest):
            raise ValueError(f"{key!r} is not an option with a value; write --option 3")
        options[key[2:].replace("-", "_")] = value if equals else rest.pop(0)
    return options


def _whole_numbers(key: str, text: str, *, many: bool) -> Any:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or (len(numbers) > 1 and not many):
        form = "whole numbers, such as 10,5,10" if many else "a whole number"
        raise ValueError(f"--{key} {text}: it takes {form}")
    return numbers if many else numbers[0]
