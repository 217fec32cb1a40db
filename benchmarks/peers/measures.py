"""From what a job has left to its measures: the same arithmetic for every peer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import problems

#: Limits that ArviZ's documentation and Vehtari et al. (2021) give.
RHAT, ESS = 1.01, 400
_UNITS = ("start", "compile", "tuning", "sampling", "judging")


def read(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Read the record of a job, and add error, ESS and seconds to 5 % and 2 %."""
    path = folder / job["name"]
    if not path.exists():
        lines = (folder / f"{job['name']}.log").read_text().splitlines()
        return _plain({**job, "error": f"ended at its limit; {lines[-1] if lines else ''}"[:200]})
    record = json.loads(path.read_text())
    if record["error"]:
        return _plain(record)
    problem = problems.get(job["problem"])
    truth, truth_error = problem.reference["lambda_hat"], problem.reference["mcse"]
    arrays: dict[str, np.ndarray] = {}
    if path.with_suffix(".npz").exists():
        with np.load(path.with_suffix(".npz")) as stored:
            arrays = {name: stored[name] for name in stored.files}
    trace = arrays.get("loss")
    if trace is not None:
        _trace(record, trace, problem)
    if "positions" in arrays:
        record["rhat_of_parameters"] = _rhat(arrays["positions"])
    value, claimed = record["lambda_hat"], record.get("mcse")
    record["truth"] = truth
    record["off"] = value / truth - 1
    if claimed:
        record["z"] = (value - truth) / math.hypot(claimed, truth_error)
    if record.get("rao_blackwell"):
        record["off_rao_blackwell"] = record["rao_blackwell"] / truth - 1
    if record.get("ess") and record["seconds"]:
        record["ess_per_second"] = record["ess"] / record["seconds"]
        record["ess_per_second_clock"] = record["ess"] / record["seconds_clock"]
    if record.get("gradients") and record["parts"].get("sampling"):
        record["us_per_gradient"] = 1e6 * record["parts"]["sampling"] / record["gradients"]
    record["within"] = _within(record, trace, problem)
    if record["peer"] == "devinterp":
        all_rows(record, problem)
    record["says"] = says(record)
    record["parts"] = {name: round(record["parts"].get(name, 0.0), 2) for name in _UNITS}
    return _plain(record)


def _trace(record: dict[str, Any], trace: np.ndarray, problem: problems.Problem) -> None:
    from arviz_stats.base import array_stats

    least = record.get("minimum_loss", problem.minimum_loss)
    record["kept"] = list(trace.shape)
    if not np.isfinite(trace).all():
        record.setdefault("lambda_hat", math.nan)
        return
    axes = {"chain_axis": 0, "draw_axis": 1}
    if "ess" not in record or not math.isfinite(record["ess"]):
        record["ess"] = float(array_stats.ess(trace, method="bulk", **axes))
    record["rhat"] = float(array_stats.rhat(trace, method="rank", **axes))
    if "lambda_hat" not in record:
        record["lambda_hat"] = problem.beta * (float(trace.mean()) - least)
        mcse = float(array_stats.mcse(trace, method="mean", **axes))
        record["mcse"] = problem.beta * mcse


def _rhat(positions: np.ndarray) -> float:
    from arviz_stats.base import array_stats

    kept = positions[:, :: max(1, positions.shape[1] // 1000)]
    if not np.isfinite(kept).all():
        return math.nan
    found = [
        array_stats.rhat(kept[..., one], chain_axis=0, draw_axis=1, method="rank")
        for one in range(kept.shape[-1])
    ]
    return float(np.max(found))


def _within(
    record: dict[str, Any], trace: np.ndarray | None, problem: problems.Problem
) -> dict[str, float | None]:
    """Give the seconds after which the estimate stays within 5 % and 2 % to the end.

    Sampling is taken to go on evenly. Where there is no trace, or λ̂ is not the mean of it, only
    the end counts.
    """
    truth, parts, total = record["truth"], record["parts"], record["seconds"]
    sampling = parts.get("sampling", 0.0)
    ends = {"5": 0.05, "2": 0.02}
    least = record.get("minimum_loss", problem.minimum_loss)
    found: dict[str, float | None] = {}
    for name, limit in ends.items():
        if not abs(record["off"]) < limit:
            found[name] = None
            continue
        found[name] = total
        if trace is not None and math.isfinite(least) and trace.shape[1] > 1:
            running = np.cumsum(trace.mean(axis=0)) / np.arange(1, trace.shape[1] + 1)
            inside = np.abs(problem.beta * (running - least) / truth - 1) < limit
            if inside[-1]:
                outside = np.flatnonzero(~inside)
                first = outside[-1] + 2 if len(outside) else 1
                found[name] = total - sampling * (1 - first / trace.shape[1])
    return found


def all_rows(record: dict[str, Any], problem: problems.Problem) -> None:
    """Add what devinterp's λ̂ is with the loss of all rows as L*, which one can give it.

    As shipped L* is the mean of a few minibatches. Where that alone keeps λ̂ from the exact value,
    the seconds to it are those of the run to its end.
    """
    least = problems.loss_of_all_rows(problem)
    value = record["lambda_hat"] + problem.beta * (record["minimum_loss"] - least)
    record["lambda_hat_all_rows"] = float(f"{value:.5g}")
    record["off_all_rows"] = float(f"{value / record['truth'] - 1:.5g}")
    for name, limit in (("5", 0.05), ("2", 0.02)):
        if record["within"][name] is None and abs(record["off_all_rows"]) < limit:
            record["within"][name] = record["seconds"]


def says(record: dict[str, Any]) -> str:
    """Say whether a wrong run says so: by itself, in what it shows, if one asks, or not at all."""
    if record.get("verdict") not in (None, "trusted", "exact"):
        return "by itself"
    heard = [line for line in record["heard"] if _about_convergence(line)]
    if record["peer"] != "sltprob" and heard:
        return "by itself"
    shown = " ".join(record["shown"])
    divergent = record.get("divergences", 0) > 0
    rhat_of_parameters = record.get("rhat_of_parameters", 1.0)
    if (divergent and "divergences" in shown) or (rhat_of_parameters > RHAT and "R-hat" in shown):
        return "in what it shows"
    values = [record.get("rhat", 1.0), rhat_of_parameters]
    few = record.get("ess", math.inf) < ESS
    if max(values) > RHAT or divergent or few or not math.isfinite(record["lambda_hat"]):
        return "if one asks for R-hat and ESS"
    return "no"


def _about_convergence(line: str) -> bool:
    words = ("rhat", "r-hat", "diverge", "effective sample", "chain failed", "nan")
    return any(word in line.lower() for word in words)


def _plain(value: Any) -> Any:
    """Write what JSON can hold: no NaN, and five digits."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def line(record: dict[str, Any]) -> str:
    """Say in one line how a job went."""
    if record.get("error"):
        return f"{record['name']:60} {record['error']}"
    within = record["within"]
    return (
        f"{record['name']:60} {record['lambda_hat']!s:>9} off {record['off']!s:>9} z "
        f"{record.get('z')!s:>8} ess {record.get('ess')!s:>8} s {record['seconds']!s:>7} "
        f"{record['parts']} within {within['5']} {within['2']} {record['peak_mib']:.0f} MiB "
        f"{record['says']}"
    )


def versions(records: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Give the version of every peer that ran."""
    found = {}
    for record in records:
        if record.get("version"):
            name = record["peer"] if record["sampler"] != "nutpie" else "nutpie"
            key = f"devinterp {record['version'][0]}" if name == "devinterp" else name
            found[key] = record["version"]
    return dict(sorted(found.items()))
