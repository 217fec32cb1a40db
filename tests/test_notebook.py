"""Objects show themselves in a notebook: all that matters, never the data, everything escaped."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sltprob
from sltprob.ladders import Rung
from sltprob.league.bench import League
from sltprob.league.standing import Standing
from sltprob.notebook import facts, heading, table
from sltprob.trajectories.row import Row
from sltprob.trajectories.sweep import Sweep
from sltprob.trajectories.trajectory import Trajectory

HOSTILE = "<script>alert(1)</script>&\"'"
SECRET = 0.123456789


class Words(HTMLParser):
    """Reads the words and the tags of a page, and holds that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.open, self.tags = "", [], set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += f"{data} "


def line(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def _row(name):
    return Row(name, 10.0, 1.0, 1e-3, 0.5, 2.0, 1.9, 2.1, 0.1, 0.01, "trusted", "", "", 1.0)


def _standing():
    given = dict.fromkeys(Standing.__dataclass_fields__)
    return Standing(**{**given, "model": "regular", "sampler": HOSTILE, "beta": 1.0, "exact": 0.5})


def _ladder():
    value = sltprob.LambdaHat(0.5, 0.1, 10.0, 9.0, (0.5,))
    return sltprob.Ladder((Rung(10.0, value, 3.0, 0.25, 3.0, 0.25),))


def objects():
    data = {"x": np.full(7, SECRET), "y": np.full(7, SECRET)}
    budget = {"draws": 20, "warmup": 20, "chains": 2}
    grid = {"models": ["regular"], "samplers": ["mala"], "betas": [1, 10], "seeds": 3}
    params = {"w": np.full(3, SECRET, np.float32)}
    rows = np.full((5, 3), SECRET, np.float32)
    losses = lambda p, x: (x @ p["w"]) ** 2  # noqa: E731
    return {
        "posterior": (sltprob.temper(line, data, beta=3.0), "line", "x (7,)", "7 data", "slope"),
        "local": (sltprob.local(losses, params, rows), "5", "3 coordinates", "γ"),
        "model": (sltprob.models.get("tanh_zero[width=3]"), "TanhZero", "width", "5/6", "proved"),
        "sampler": (sltprob.samplers.get("sgld"), "SGLD", "step_size", "the step biases"),
        "study": (sltprob.Study({"budget": budget, "grid": grid}), "6 cells", "mala", "1, 10"),
        "ladder": (_ladder(), "0.5 ± 0.1", "3 ± 0.25"),
        "estimate": (sltprob.LambdaHat(2.0, 0.1, 10.0, 9.0, (2.0, 2.0)), "2 ± 0.1", "by chain"),
        "league": (League((_standing(),), ()), "regular", HOSTILE, "gradients to 5 %"),
        "sweep": (Sweep((_row(HOSTILE),), ()), "1.9", "trusted"),
        "trajectory": (Trajectory((HOSTILE,), {"all": (_row("a"),)}, {}), HOSTILE, "trusted"),
    }


@pytest.mark.parametrize("name", [*objects()])
def test_an_object_shows_what_matters_and_never_the_data(name):
    shown, *words = objects()[name]
    page = shown._repr_html_()
    read = Words(page)
    assert [word for word in words if word not in read.words] == []
    assert "script" not in read.tags
    assert f"{SECRET}" not in page
    assert "style" not in page or "color" not in page


def test_what_comes_from_outside_is_escaped():
    for page in (
        heading(HOSTILE, HOSTILE),
        table([HOSTILE], [[HOSTILE]]),
        facts("a", {"b": HOSTILE}),
    ):
        read = Words(page)
        assert HOSTILE in read.words
        assert "script" not in read.tags
