"""The pictures of the pages as figures: in both backends, with what the pages show."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from arviz_base import rcParams
from arviz_plots import PlotCollection

import sltprob
from sltprob import plot
from sltprob.finding.modes import RandomModes
from sltprob.ladders import Rung

mpl.use("Agg")

ONE_RUN = (
    "loss",
    "ranks",
    "effective_sample_size",
    "autocorrelation",
    "acceptance",
    "virial",
    "energy",
)


@pytest.fixture(scope="module")
def run():
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=10.0)
    return sltprob.sample(posterior, "hmc", draws=100, warmup=50, chains=2, seed=1)


@pytest.fixture(autouse=True)
def closed():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.mark.parametrize("name", ONE_RUN)
def test_picture_of_a_run_is_drawn_by_either_backend(run, name):
    drawn = getattr(plot, name)(run, backend="matplotlib")
    assert isinstance(drawn, PlotCollection)
    figure = drawn.get_viz("figure")
    assert all(len(axes.lines) for axes in figure.axes)
    heading = figure.axes[0].get_title(loc="left")
    other = getattr(plot, name)(run, backend="plotly")
    assert other.get_viz("figure").layout.title.text == heading


def test_lines_hold_the_numbers_of_the_page(run):
    figure = plot.loss(run, backend="matplotlib").get_viz("figure")
    values = run["sample_stats"]["loss"].values * 10.0
    longest = max(figure.axes[0].lines, key=lambda line: len(line.get_ydata()))
    drawn = longest.get_ydata()
    assert np.nanmax(drawn) == pytest.approx(values[0].max(), rel=0.01)


def test_arviz_chooses_the_backend_and_others_are_refused(run):
    with pytest.raises(ValueError, match="drawn by matplotlib or plotly"):
        plot.loss(run, backend="bokeh")
    before = rcParams["plot.backend"]
    try:
        rcParams["plot.backend"] = "plotly"
        assert plot.energy(run).backend == "plotly"
    finally:
        rcParams["plot.backend"] = before


def test_what_a_run_has_not_recorded_is_one_line(run):
    without = run.copy()
    without["sample_stats"] = run["sample_stats"].to_dataset().drop_vars("energy")
    with pytest.raises(ValueError, match="This sampler has no energy"):
        plot.energy(without)


def test_filled_markers_can_be_believed_and_hollow_ones_cannot(run):
    figure = plot.comparison([run], backend="matplotlib").get_viz("figure")
    assert figure.axes[0].get_xscale() == "log"
    low, high = figure.axes[0].get_ylim()
    assert low < sltprob.estimate(run).value < high


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_curve_and_ladder_have_a_panel_for_each_figure(backend):
    found = sltprob.curve("regular[dimension=2]", [1.0, 10.0, 100.0])
    assert plot.curve(found, backend=backend).viz["plot"].size == 2
    values = [(beta, sltprob.LambdaHat(0.5, 0.1, beta, 9.0, (0.5,))) for beta in (1.0, 10.0)]
    rungs = tuple(Rung(beta, value, beta, 0.1, beta, 0.1) for beta, value in values)
    assert plot.ladder(sltprob.Ladder(rungs), backend=backend).viz["plot"].size == 2


def test_modes_are_drawn_for_every_network_beside_what_random_inputs_cost():
    squares = np.exp(-np.sqrt(np.arange(9.0))) * np.array([[1.0], [2.0], [4.0]])
    inputs = [(100, 0.1, 0.11), (1000, 0.01, 0.011)]
    found = RandomModes(
        "made up", squares, None, None, squares[0], "exp(-√k)", True, 1.0, 3, inputs
    )
    drawn = plot.modes(found, backend="matplotlib")
    assert drawn.viz["plot"].size == 2
    axes = drawn.get_viz("figure").axes[0]
    lines = {tuple(np.round(each.get_ydata(), 3)) for each in axes.lines}
    assert {tuple(np.round(each, 3)) for each in squares} <= lines
    assert axes.get_yscale() == "log"
