"""The report: one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import xarray as xr
from markupsafe import Markup

from sltprob import draws as schema
from sltprob.exact import Exact
from sltprob.files import write_text
from sltprob.report import numbers
from sltprob.report.answer import answers, headline, recommendation
from sltprob.report.content import Sources, reproduce, settings, versions
from sltprob.report.curve import by_model, curve_figure
from sltprob.report.html import interactive, render
from sltprob.report.judged import Judged, judge, quiet
from sltprob.report.payload import compressed_json
from sltprob.report.pictures import pictures_of

__all__ = ["write_report"]

type Curves = Sequence[Exact] | Mapping[str, Sequence[Exact]]

#: Points of all traces together, so that a report of many runs stays small enough to mail.
_POINTS = 100_000
_POINTS_OF_RUN = 4_000


def write_report(
    runs: Sequence[xr.DataTree],
    path: str | os.PathLike[str],
    *,
    curve: Curves = (),
    title: str,
    command: str = "",
    overwrite: bool = False,
) -> Path:
    """Write a report of runs as one HTML file, whole or not at all.

    Parameters
    ----------
    runs : sequence of xarray.DataTree
        Of `sltprob.sample` or `sltprob.load`.
    path : path
    curve : sequence of Exact, or mapping of str to sequence of Exact
        Exact values of the model on a grid of beta, drawn as the exact line; by the runs'
        attribute ``model`` if there are several models.
    title : str
    command : str
        What to type to make the report again.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If there are no runs, a run does not follow the schema, or a curve belongs to no model
        of the runs.
    TypeError
        If a run is no DataTree.
    FileExistsError
        If the file exists and `overwrite` is false.
    OSError
        If the folder cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or pass overwrite=True")
    if not runs:
        raise ValueError("runs is empty: a report needs at least one run, such as [sample(...)]")
    page = _render(runs, curve, title, command)
    return write_text(page, path)


def _curves(curve: Curves, models: Sequence[str]) -> dict[str, Sequence[Exact]]:
    if isinstance(curve, Mapping):
        unknown = sorted(set(curve) - set(models))
        if unknown:
            raise ValueError(
                f"curve of {', '.join(unknown)}: no run has this model; the runs have "
                f"{', '.join(models)}"
            )
        return dict(curve)
    if curve and len(models) > 1:
        raise ValueError(
            f"one curve for {len(models)} models; pass a mapping such as "
            f"curve={{{models[0]!r}: [...]}}"
        )
    return {models[0]: curve}


def _render(runs: Sequence[xr.DataTree], curve: Curves, title: str, command: str) -> str:
    for run in runs:
        schema.check(run)
    curves = _curves(curve, sorted({str(run.attrs["model"]) for run in runs}))
    judged = judge(runs, curves)
    found = answers(judged)
    models, charts = [], {}
    for index, (model, own) in enumerate(by_model(judged).items(), start=1):
        figure = curve_figure(own, curves.get(model, ()), f"curve-{index}")
        charts[figure.key] = figure.spec
        answered = [answer for answer in found if answer.model == model]
        models.append(
            {
                "name": model,
                "headline": headline(answered),
                "recommendation": recommendation(own),
                "answers": answered,
                "figure": figure,
            }
        )
    sources = Sources()
    points = max(200, min(_POINTS_OF_RUN, _POINTS // len(runs)))
    details = [_details(run, points, sources) for run in judged]
    templates = sorted(entry.name for entry in (files("sltprob.report") / "sections").iterdir())
    created = max(str(run.draws.attrs.get("created", "")) for run in judged)
    return render(
        "report/report.html",
        templates=[f"report/sections/{name}" for name in templates],
        sections=[name.partition("-")[2].removesuffix(".html") for name in templates],
        title=title,
        command=command,
        models=models,
        judged=judged,
        refused=[run for run in judged if not run.believable],
        details=details,
        sources=list(sources.entries),
        several_models=len(models) > 1,
        several_seeds=len({run.cell["seed"] for run in judged}) > 1,
        created=created.partition("T")[0],
        version=str(judged[0].draws.attrs.get("version_sltprob", "")),
        numbers=numbers,
        **interactive(charts),
    )


def _details(judged: Judged, points: int, sources: Sources) -> dict[str, Any]:
    with quiet():
        figures = pictures_of(judged, points)
    drawn = {f"{judged.number}-{figure.key}": figure.spec for figure in figures if figure.spec}
    return {
        "run": judged,
        "figures": figures,
        "payload": Markup(compressed_json(drawn)),
        "sources": sources.of(judged),
        "cite": {check.name: sources.cite(check.reference) for check in judged.verdict.checks},
        "settings": settings(judged),
        "versions": versions(judged),
        "command": reproduce(judged),
    }
