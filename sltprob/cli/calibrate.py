"""`sltprob calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sltprob.cli._app import MANY, app
from sltprob.cli._options import AsJson, DataOption, configure, names
from sltprob.cli._output import print_json, say
from sltprob.cli._stop import goes_on
from sltprob.files import write_text
from sltprob.progress import counting

if TYPE_CHECKING:
    from sltprob.calibration.score import Calibration

__all__ = ["calibrate"]


@app.command(rich_help_panel=MANY)
def calibrate(
    model: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:FUNCTION",
            help="your own program in place of the models of the study, against a reference",
        ),
    ] = None,
    data: DataOption = None,
    betas: Annotated[str, typer.Option(help="of your own program: numbers, n, wbic")] = "wbic,n",
    small: Annotated[bool, typer.Option("--small", help="about a tenth of the runs")] = False,
    part: Annotated[
        str, typer.Option(metavar="K/N", help="the K-th of N parts of the runs")
    ] = "1/1",
    stored: Annotated[
        bool, typer.Option("--stored", help="judge the runs that are there, and make none")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="processes; one for each core if left out")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="folder for the runs; what is there is not run again")
    ] = Path("calibration"),
    as_json: AsJson = False,
) -> None:
    """Count how often the verdict is wrong, over runs good and bad on purpose."""
    configure("float64")
    from sltprob.calibration import calibrate as calibration
    from sltprob.calibration.page import page

    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: a file of that name exists; choose a folder")
    goes_on(f"finished runs stay in {out}, and the same command goes on")
    with counting("runs") as show:
        found = calibration.calibrate(
            out,
            model=model,
            data=data,
            betas=names("--betas", betas, "wbic,n"),
            small=small,
            part=part,
            stored=stored,
            workers=workers,
            progress=lambda done, total, row: show(done, total, f"{row['model']} {row['sampler']}"),
        )
    text = page(found)
    target = write_text(text, out / "calibration.md")
    if as_json:
        print_json(_document(found))
    else:
        say(text, f"written: {target}, rows.jsonl, runs/")


def _document(found: Calibration) -> dict[str, Any]:
    """Put the rates of both parts, of all models, and of families and samplers in one document."""
    from sltprob.calibration.score import family_of

    test = found.part(training=False)
    samplers = test.of_models.by(lambda row: row["sampler"])
    return {
        "runs": len(found.rows),
        "training": _rates(found.part(training=True)),
        "test": _rates(test),
        "all": _rates(found),
        "families": {name: _rates(part) for name, part in test.by(family_of).items()},
        "samplers": {
            name: _rates(part) | {"deviation": part.spread.value} for name, part in samplers.items()
        },
    }


def _rates(part: Calibration) -> dict[str, Any]:
    return {
        rate: {
            "count": (value := getattr(part, rate)).count,
            "total": value.total,
            "low": value.interval[0],
            "high": value.interval[1],
        }
        for rate in ("false_trust", "missed", "missed_numbers", "false_alarm")
    }
