"""Measure lambda-hat of singular models, and say when not to believe the measurement.

The verbs, one for each arrow:

    Model --temper--> TemperedPosterior --sample--> draws --estimate--> LambdaHat
                                                      draws --diagnose--> Verdict
                                                      draws --ladder----> Ladder

Everything is imported when it is first used: judging works on a machine without JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sltprob import models, plot, samplers
    from sltprob.calibration.calibrate import calibrate
    from sltprob.comparison import compare
    from sltprob.data import Data
    from sltprob.devinterp_runs import from_devinterp
    from sltprob.diagnostics import Check, Verdict, diagnose
    from sltprob.draws import load, save
    from sltprob.estimation import LambdaHat, estimate
    from sltprob.exact import Exact
    from sltprob.finding.curve import curve
    from sltprob.foreign import from_arviz
    from sltprob.grids.study import Study
    from sltprob.known_coefficient import learning_coefficient
    from sltprob.ladders import Ladder, ladder, rung
    from sltprob.league.bench import bench
    from sltprob.local_posterior import LocalPosterior
    from sltprob.localising import local
    from sltprob.marginal_likelihood import evidence
    from sltprob.models._loss import from_loss
    from sltprob.models.base import Model, Truth
    from sltprob.optimum import find_optimum
    from sltprob.posterior import TemperedPosterior
    from sltprob.probes.probe import probe
    from sltprob.probes.simulation_based_calibration import simulation_based_calibration
    from sltprob.problem import wbic
    from sltprob.report.page import write_report
    from sltprob.samplers.base import Sampler
    from sltprob.sampling.run import sample
    from sltprob.tempering import temper
    from sltprob.trajectories.covariance import loss_covariance
    from sltprob.trajectories.sweep import local_sweep
    from sltprob.trajectories.trajectory import trajectory
    from sltprob.trajectories.weights import load_weights, save_weights

__all__ = [
    "Check",
    "Data",
    "Exact",
    "Ladder",
    "LambdaHat",
    "LocalPosterior",
    "Model",
    "Sampler",
    "Study",
    "TemperedPosterior",
    "Truth",
    "Verdict",
    "bench",
    "calibrate",
    "compare",
    "curve",
    "diagnose",
    "estimate",
    "evidence",
    "find_optimum",
    "from_arviz",
    "from_devinterp",
    "from_loss",
    "ladder",
    "learning_coefficient",
    "load",
    "load_weights",
    "local",
    "local_sweep",
    "loss_covariance",
    "models",
    "plot",
    "probe",
    "rung",
    "sample",
    "samplers",
    "save",
    "save_weights",
    "simulation_based_calibration",
    "temper",
    "trajectory",
    "wbic",
    "write_report",
]

_LAZY = {
    "Check": "sltprob.diagnostics",
    "Data": "sltprob.data",
    "Exact": "sltprob.exact",
    "Ladder": "sltprob.ladders",
    "LambdaHat": "sltprob.estimation",
    "LocalPosterior": "sltprob.local_posterior",
    "Model": "sltprob.models.base",
    "Sampler": "sltprob.samplers.base",
    "Study": "sltprob.grids.study",
    "TemperedPosterior": "sltprob.posterior",
    "Truth": "sltprob.models.base",
    "Verdict": "sltprob.diagnostics",
    "bench": "sltprob.league.bench",
    "calibrate": "sltprob.calibration.calibrate",
    "compare": "sltprob.comparison",
    "curve": "sltprob.finding.curve",
    "diagnose": "sltprob.diagnostics",
    "estimate": "sltprob.estimation",
    "evidence": "sltprob.marginal_likelihood",
    "find_optimum": "sltprob.optimum",
    "from_arviz": "sltprob.foreign",
    "from_devinterp": "sltprob.devinterp_runs",
    "from_loss": "sltprob.models._loss",
    "ladder": "sltprob.ladders",
    "learning_coefficient": "sltprob.known_coefficient",
    "load": "sltprob.draws",
    "load_weights": "sltprob.trajectories.weights",
    "local": "sltprob.localising",
    "local_sweep": "sltprob.trajectories.sweep",
    "loss_covariance": "sltprob.trajectories.covariance",
    "probe": "sltprob.probes.probe",
    "rung": "sltprob.ladders",
    "sample": "sltprob.sampling.run",
    "save": "sltprob.draws",
    "save_weights": "sltprob.trajectories.weights",
    "simulation_based_calibration": "sltprob.probes.simulation_based_calibration",
    "temper": "sltprob.tempering",
    "trajectory": "sltprob.trajectories.trajectory",
    "wbic": "sltprob.problem",
    "write_report": "sltprob.report.page",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in ("models", "plot", "samplers"):
        return importlib.import_module(f"sltprob.{name}")
    raise AttributeError(f"module 'sltprob' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
