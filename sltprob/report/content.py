"""What the page says about one run: settings, versions, its command and its sources."""

from __future__ import annotations

import math
import shlex
from typing import Any

import numpy as np

from sltprob.report.judged import Judged
from sltprob.report.numbers import number
from sltprob.report.sources import references

__all__ = ["Sources", "reproduce", "settings", "versions"]

_LONGEST = 400
_METHODS = (
    'T. Säilynoja, P.-C. Bürkner, A. Vehtari, "Graphical test for discrete uniformity", '
    "Statistics and Computing 32 (2022)",
)


class Sources:
    """Number the citations of a page in the order in which they come."""

    def __init__(self) -> None:
        self.entries: dict[str, int] = {}

    def cite(self, text: str) -> int:
        """Give the number of a source."""
        return self.entries.setdefault(" ".join(text.split()).rstrip("."), len(self.entries) + 1)

    def of(self, judged: Judged) -> dict[str, list[int]]:
        """Cite what a run rests on."""
        attributes = judged.draws.attrs
        texts = {
            "model": references("model", judged.cell["model"], attributes),
            "sampler": references("sampler", judged.cell["sampler"], attributes),
            "checks": [check.reference for check in judged.verdict.checks],
            "figures": list(_METHODS),
        }
        return {
            kind: list(dict.fromkeys(self.cite(text) for text in found if text))
            for kind, found in texts.items()
            if any(found)
        }


def reproduce(judged: Judged) -> str:
    """Write the command that makes the run again."""
    attributes, cell = judged.draws.attrs, judged.cell
    if attributes.get("origin") == "ArviZ":
        # Another program made the draws; only the judgement is ours to repeat.
        return shlex.join(["sltprob", "diagnose", cell["model"]])
    if attributes.get("local", 0):
        words = ["sltprob", "local", "FILE.py:LOSS", "--params", "FILE", "--data", "FILE"]
        chosen = {
            "sampler": cell["sampler"],
            "nbeta": _literal(cell["beta"]),
            "gamma": _literal(float(attributes["localization"])),
            "batch-size": attributes["batch_size"],
            "steps-per-draw": attributes["steps_per_draw"],
            "chains": cell["chains"],
            "draws": cell["draws"],
            "warmup": int(attributes["warmup"]),
            "seed": cell["seed"],
        }
        return shlex.join([*words, *(str(w) for k, v in chosen.items() for w in (f"--{k}", v))])
    options: dict[str, Any] = {
        "sampler": cell["sampler"],
        "beta": _literal(cell["beta"]),
        "seed": cell["seed"],
        "chains": cell["chains"],
        "draws": cell["draws"],
    }
    if "warmup_sample_stats" in judged.draws.children:
        made = judged.draws["warmup_sample_stats"].sizes.get("draw", 0)
        # A warm-up may end before the draws that it was allowed.
        options["warmup"] = int(attributes.get("warmup", made))
    if attributes.get("init", "prior") not in ("prior", "given"):
        options["init"] = attributes["init"]
    if attributes.get("reparameterise", "none") != "none":
        options["reparameterise"] = attributes["reparameterise"]
    if attributes.get("dtype", "float64") != "float64":
        options["dtype"] = attributes["dtype"]
    words = ["sltprob", "run", cell["model"]]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    return shlex.join(words)


def _literal(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def settings(judged: Judged) -> list[tuple[str, str]]:
    """List how a run was made: its attributes, its sites and what warm-up tuned."""
    rows = [
        (str(name).replace("_", " "), _show(value))
        for name, value in judged.draws.attrs.items()
        if not str(name).startswith("version_") and not str(name).endswith("_references")
    ]
    if judged.run.sites:
        sites = ", ".join(f"{site}: {size}" for site, size in judged.run.sites.items())
        rows.append(("dimension of each site", _cut(sites)))
    if "constant_data" in judged.draws.children:
        for name, variable in judged.draws["constant_data"].data_vars.items():
            if name != "site_dimension":
                rows.append((f"tuned {str(name).replace('_', ' ')}", _show(variable.values)))
    return rows


def versions(judged: Judged) -> list[tuple[str, str]]:
    """List the versions of the software that made a run."""
    return [
        (str(name).removeprefix("version_"), _show(value))
        for name, value in judged.draws.attrs.items()
        if str(name).startswith("version_")
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def _show(value: Any) -> str:
    array = np.asarray(value)
    if array.ndim and np.issubdtype(array.dtype, np.number) and array.size > 4:
        low, high = number(float(array.min())), number(float(array.max()))
        return f"{array.size} values from {low} to {high}"
    plain = array.tolist() if array.ndim else array.item()
    if isinstance(plain, float):
        return "not known" if math.isnan(plain) else _literal(plain)
    return _cut(str(plain))
