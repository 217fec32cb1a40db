"""The application that commands register with, and its entry point."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from sltprob.cli._stop import stoppable
from sltprob.command import typing
from sltprob.printable import printable

__all__ = ["JUDGE", "MANY", "MEASURE", "THEORY", "app", "main"]

app = typer.Typer(
    pretty_exceptions_enable=False,
    # Not "rich": the brackets of tanh_zero[width=64] are no markup.
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: The groups of commands in `sltprob --help`.
MEASURE = "Measure λ̂"
JUDGE = "Judge and report"
MANY = "Many runs"
THEORY = "Exact answers and theory"

# A message may quote what was given, which may be a whole file.
_LONGEST = 2000

# Every error of usage of the parser; typer exports only this subclass.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"sltprob {version('sltprob')}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="and nothing else"),
    ] = False,
) -> None:
    """Measure lambda-hat of singular models, and say when not to believe the measurement."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every error of usage is one line and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with stoppable(), typing(arguments):
            code = app(arguments or ["--help"], prog_name="sltprob", standalone_mode=False)
    except USAGE_ERROR as error:
        _fail(f"{error.format_message()} (see sltprob --help)")
    except (ValueError, TypeError, OSError) as error:
        _fail(str(error))
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    line = printable(" ".join(message.split()))
    sys.stderr.write(f"sltprob: {line if len(line) < _LONGEST else line[:_LONGEST] + ' …'}\n")
    sys.exit(2)
