"""Reports: self-contained, small, escaped, and working in a browser."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import os
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
import xarray as xr

from sltprob import Exact
from sltprob import draws as schema
from sltprob.cell import CELL_FIELDS, summarise
from sltprob.report import csv_text, latex_table, markdown_table, write_report
from sltprob.report import page as page_module
from sltprob.report.answer import answers, headline
from sltprob.report.downsample import bucket_means, extremes, shortened
from sltprob.report.judged import judge
from sltprob.report.numbers import inverse_temperature, measured, number, signed
from sltprob.report.payload import plotly_payload
from sltprob.report.pictures.ranks import ranks

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>%{x}"


def make(
    *,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = 50,
    seed: int = 0,
    minimal: bool = False,
    loss: np.ndarray | None = None,
    **attributes: Any,
) -> xr.DataTree:
    """Build a run that every check trusts, as if the posterior had been drawn independently."""
    # One key in a hundred fails a test of the verdict by chance, as it must; these do not.
    rng = np.random.default_rng([seed, 1])
    attributes = {
        "model": "toy[width=2]",
        "sampler": "hmc",
        "beta": 100.0,
        "seed": seed,
        "minimum_loss": 0.0,
        "unadjusted": 0,
        "step_size": 0.1,
        "loss_rounding": 1e-18,
        "data_error": 1e-12,
        "exact": 1.0,
        "exact_mcse": 0.001,
        "seconds_warmup": 1.0,
        "seconds_sampling": 2.0,
        "created": "2026-01-02T03:04:05+00:00",
        "version_sltprob": "0.1.0",
        **attributes,
    }
    shape = (chains, draws)
    stats = {
        "loss": rng.gamma(1.0, 1.0, shape) / float(attributes["beta"]) if loss is None else loss
    }
    if not minimal:
        # A Gaussian of two and of three dimensions, whose energy is half of its virial.
        virial = rng.chisquare([2.0, 3.0], (*shape, 2))
        stats |= {
            "lp": -0.5 * virial.sum(axis=-1),
            "squared_gradient": rng.gamma(4.0, 1.0, shape),
            "virial": virial,
            "virial_offset": rng.normal(size=(*shape, 2)),
            "acceptance_rate": rng.uniform(0.7, 1.0, shape),
            "num_gradients": np.full(shape, 10),
            "energy": rng.normal(size=shape),
            "diverging": np.zeros(shape, dtype=bool),
        }
    early = {} if minimal else {"loss": rng.gamma(5.0, 1.0, (chains, warmup))}
    return schema.build(
        sample_stats=stats,
        posterior=None,
        warmup=early,
        tuned={} if minimal else {"step_size": np.asarray(0.1), "scale": np.arange(9.0)},
        site_dimensions={} if minimal else {"net/w": 2, "a": 3},
        attributes=attributes,
    )


def gallery() -> list[xr.DataTree]:
    """Make runs of three samplers at three temperatures, some of them bad."""
    rng = np.random.default_rng(1)
    walk = np.abs(np.cumsum(rng.normal(size=(4, 1000)), axis=1)) / 1e4
    return [
        *(make(beta=beta, seed=0) for beta in (1.0, 100.0, 1e4)),
        *(make(beta=beta, sampler="mala[step_size=1e-3]") for beta in (1.0, 100.0)),
        make(beta=1e4, sampler="mala[step_size=1e-3]", loss=walk),
        make(beta=100.0, sampler="sgld", exact=3.0),
        make(beta=1e4, sampler="sgld", loss=walk * np.nan),
    ]


def broken() -> dict[str, xr.DataTree]:
    """Make runs with everything that goes wrong."""
    rng = np.random.default_rng(2)
    some_nan = rng.gamma(1.0, 1.0, (4, 200)) / 100
    some_nan[1, 50:] = np.nan
    some_nan[2, 7] = np.inf
    frozen = rng.gamma(1.0, 1.0, (4, 200)) / 100
    frozen[3] = 0.25
    return {
        "nan": make(loss=np.full((4, 200), np.nan), draws=200),
        "some_nan": make(loss=some_nan, draws=200),
        "one_draw": make(draws=1),
        "two_draws": make(draws=2, warmup=1),
        "one_chain": make(chains=1),
        "one_chain_one_draw": make(chains=1, draws=1),
        "frozen_chain": make(loss=frozen, draws=200),
        "frozen": make(loss=np.full((4, 200), 0.5), draws=200),
        "no_groups": make(minimal=True),
        "unknown_minimum": make(minimum_loss=np.nan, exact=np.nan),
        "no_exact": make(exact=np.nan, exact_mcse=np.nan),
        "huge": make(loss=np.full((2, 50), 1e300) * rng.uniform(1, 2, (2, 50)), draws=50, chains=2),
        "tiny": make(loss=rng.gamma(1.0, 1.0, (2, 50)) * 1e-300, draws=50, chains=2),
        "negative": make(loss=rng.normal(-5.0, 1.0, (4, 200)), draws=200),
        "many_chains": make(chains=20, draws=100),
        "no_seconds": make(seconds_sampling=np.nan),
    }


class Page(HTMLParser):
    """What a page loads, holds and carries."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.payloads: list[str] = []
        self.words: list[str] = []
        self._inside: list[tuple[str, dict[str, str | None]]] = []
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag, attributes = self._inside[-1] if self._inside else ("", {})
        if tag == "script" and attributes.get("type") == "application/gzip":
            self.payloads.append(gzip.decompress(base64.b64decode(data)).decode())
        elif tag not in ("script", "style"):
            self.words.append(data)

    @property
    def visible(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for payload in self.payloads:
            if payload.startswith("{"):
                found |= json.loads(payload)
        return found


def render(tmp_path: Path, runs: Sequence[xr.DataTree], **options: Any) -> Page:
    path = tmp_path / "report.html"
    write_report(runs, path, **{"title": "A report", **options}, overwrite=True)
    return Page(path)


@pytest.fixture(scope="module")
def gallery_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    curve = [exact(1.0, 1.0), exact(1e4, 1.1)]
    return render(tmp_path_factory.mktemp("gallery"), gallery(), curve=curve)


# ---- numbers


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.60312, 0.03712, "1.603 ± 0.037"),
        (1.6, 0.0996, "1.60 ± 0.10"),
        (-0.5, 0.12, "−0.50 ± 0.12"),
        (8434.7, 3211.0, "8400 ± 3200"),
        (1.23456e8, 2.3e5, "(1.2346 ± 0.0023)×10⁸"),
        (3e-9, 4e-10, "(3.00 ± 0.40)×10⁻⁹"),
        (0.0, 0.25, "0.00 ± 0.25"),
        (1.5, None, "1.5"),
        (1.5, 0.0, "1.5"),
        (0.0, None, "0"),
        (1.5, float("nan"), "1.5"),
        (None, None, "–"),
        (float("nan"), 1.0, "–"),
        (float("inf"), 1.0, "–"),
    ],
)
def test_error_has_two_significant_digits(value, error, text):
    assert measured(value, error).text() == text


def test_numbers_are_readable():
    assert [inverse_temperature(beta) for beta in (1.0, 100.0, 144.8, 1e4, 1e-5)] == [
        "1",
        "100",
        "144.8",
        "10⁴",
        "10⁻⁵",
    ]
    assert [signed(z) for z in (0.04, -2.45, None, float("nan"))] == ["0.0", "−2.5", "–", "–"]
    assert number(12345.678) == "12300"
    assert number(float("inf")) == "∞"


# ---- downsampling


def test_downsampling_keeps_every_extreme_and_the_order():
    trace = np.random.default_rng(0).normal(size=10_000)
    trace[7777], trace[4242], trace[100] = 50.0, -50.0, np.nan
    chosen = extremes(trace, 100)
    assert len(chosen) <= 200
    assert np.all(np.diff(chosen) > 0)
    assert {7777, 4242} <= set(chosen.tolist())
    for start in range(0, 10_000, 100):
        inside = chosen[(chosen >= start) & (chosen < start + 100)]
        part = trace[start : start + 100]
        assert np.nanmin(part) in trace[inside]
        assert np.nanmax(part) in trace[inside]


def test_downsampling_leaves_a_short_trace_and_survives_nan():
    np.testing.assert_array_equal(extremes(np.arange(9.0), 5), np.arange(9))
    assert len(extremes(np.full(1000, np.nan), 10)) == 10
    with pytest.raises(ValueError, match="at least 1"):
        extremes(np.arange(9.0), 0)
    positions, means = bucket_means(np.arange(10.0), 2)
    np.testing.assert_array_equal(positions, [2, 7])
    np.testing.assert_array_equal(means, [2, 7])


def test_shortened_rounds_to_what_can_be_seen():
    values = 1e6 + np.linspace(0, 1, 100)
    np.testing.assert_allclose(shortened(values), values, atol=1e-3)
    assert shortened([np.nan, np.inf, 2.0]) == [None, None, 2]
    assert shortened([]) == []


def test_rank_plot_shows_a_chain_apart():
    loss = np.random.default_rng(3).gamma(1.0, 1.0, (4, 400)) / 100
    (fine,) = judge([make(loss=loss, draws=400)])
    loss[2] += 0.02
    (apart,) = judge([make(loss=loss, draws=400)])
    largest = [
        max(abs(value) for trace in ranks(run, 4000).spec["data"][1:] for value in trace["y"])
        for run in (fine, apart)
    ]
    assert largest[0] < 0.1
    assert largest[1] > 0.3


# ---- tables


def test_csv_holds_full_precision():
    cells = [summarise(run) for run in (gallery()[0], gallery()[-1])]
    rows = list(csv.DictReader(io.StringIO(csv_text(cells))))
    assert tuple(rows[0]) == CELL_FIELDS
    assert float(rows[0]["lambda_hat"]) == cells[0]["lambda_hat"]
    assert rows[1]["lambda_hat"] == ""
    assert rows[1]["failed_checks"].split(";") == cells[1]["failed_checks"]


def test_markdown_and_latex_escape_and_align():
    cells = [summarise(make(sampler="a|b_c*<b>", seed=seed)) for seed in (0, 1)]
    table = markdown_table(cells).splitlines()
    assert len(table) == 4
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert r"a\|b\_c\*&lt;b>" in table[2]
    assert "seed" in table[0]
    assert "model" not in table[0]
    latex = latex_table(cells)
    assert latex.count(r"\\") == 3
    assert r"a|b\_c*<b>" in latex
    assert r"\pm" in latex


def test_tables_refuse_what_is_no_cell():
    for table in (csv_text, markdown_table, latex_table):
        with pytest.raises(ValueError, match="lacks model"):
            table([{"sampler": "hmc"}])


# ---- the answer


def test_best_trusted_run_is_the_answer():
    judged = judge(gallery())
    found = {answer.beta: answer for answer in answers(judged)}
    assert found[1.0].best is not None
    assert "agrees" in found[1.0].agreement
    assert headline(list(found.values())) == "λ̂ can be believed at all 3 temperatures."
    only = answers(judge([make(beta=1e4), make(minimal=True, draws=20)]))
    assert "10⁴" in headline(only)
    assert "not at β = 100" in headline(only)


def test_exact_value_overrules_the_checks():
    (run,) = judge([make(exact=3.0)])
    assert run.verdict.trusted
    assert run.status == "contradicted"
    assert not run.believable
    assert "deceived" in run.reason


def test_trusted_runs_that_contradict_each_other_are_told():
    runs = [make(exact=np.nan), make(exact=np.nan, sampler="mala", loss=_scaled(2.0))]
    (answer,) = answers(judge(runs))
    assert answer.agreement.startswith("Caution")


def _scaled(factor: float) -> np.ndarray:
    return np.random.default_rng(5).gamma(1.0, factor, (4, 1000)) / 100


def test_curve_gives_the_exact_value_to_runs_without_one(tmp_path):
    curve = [exact(100.0, 1.0), exact(1000.0, 1.3)]
    page = render(tmp_path, [make(exact=np.nan, exact_mcse=np.nan)], curve=curve)
    assert "standard errors" in page.visible
    line = next(trace for trace in page.figures["curve-1"]["data"] if trace["name"] == "exact")
    assert line["x"] == [100, 1000]


def exact(beta: float, value: float) -> Exact:
    return Exact(
        beta=beta,
        lambda_hat=value,
        mcse=1e-3,
        free_energy=2.0,
        free_energy_mcse=0.1,
        method="<i>method</i>",
    )


# ---- the page


def test_page_loads_nothing(gallery_page):
    page = gallery_page
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "object", "embed", "base", "img")
        for name in ("src", "srcset", "action", "poster", "background"):
            assert name not in attributes, (tag, attributes)
        if "href" in attributes:
            assert attributes["href"] is not None
            assert attributes["href"].startswith(("#", "data:,"))
        assert not any(name.startswith("on") for name in attributes)
    style = page.text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for t, a in page.tags if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_every_figure_is_valid_and_has_a_place(gallery_page):
    page = gallery_page
    places = {attributes.get("id") for _, attributes in page.tags}
    labels = [a for _, a in page.tags if a.get("class") == "chart"]
    assert len(labels) == len(page.figures)
    assert all(attributes["aria-label"] for attributes in labels)
    for name, spec in page.figures.items():
        assert f"chart-{name}" in places
        themed = json.loads(re.sub(r'"@\w+"', '"#123456"', json.dumps(spec)))
        plotly.graph_objects.Figure(themed)
    assert {name.partition("-")[2] for name in page.figures if name.startswith("1-")} == {
        "loss",
        "ranks",
        "ess",
        "autocorrelation",
        "acceptance",
        "virial",
        "energy",
    }


def test_every_table_has_caption_and_headings(gallery_page):
    page = gallery_page
    for table in re.findall(r"<table.*?</table>", page.text, re.DOTALL):
        assert "<caption" in table
        assert 'scope="row"' in table
    identifiers = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    for _, attributes in page.tags:
        if (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in identifiers


@pytest.mark.parametrize("name", broken())
def test_broken_runs_render(tmp_path, name):
    page = render(tmp_path, [broken()[name]])
    assert "nan" not in re.findall(r"[a-z]+", page.visible)
    for spec in page.figures.values():
        themed = json.loads(re.sub(r'"@\w+"', '"#123456"', json.dumps(spec, allow_nan=False)))
        plotly.graph_objects.Figure(themed)


def test_broken_runs_render_together(tmp_path):
    page = render(tmp_path, list(broken().values()))
    assert "Do not believe" in page.visible


def test_hostile_names_are_escaped(tmp_path):
    run = make(
        model=HOSTILE,
        sampler=HOSTILE,
        exact_method=HOSTILE,
        platform=HOSTILE,
        sampler_references=HOSTILE,
        version_evil=HOSTILE,
    )
    harmless = render(tmp_path, [make()])
    page = render(tmp_path, [run], title=HOSTILE, command=HOSTILE)
    assert [tag for tag, _ in page.tags].count("script") == [tag for tag, _ in harmless.tags].count(
        "script"
    )
    assert "img" not in [tag for tag, _ in page.tags]
    assert HOSTILE in page.visible
    for payload in page.payloads[:-1]:
        assert "<script" not in payload
        assert "<img" not in payload
        assert "%{x}" not in payload


def test_command_makes_the_run_again(tmp_path):
    page = render(tmp_path, [make(sampler="hmc[num_steps=64]", beta=144.8, dtype="float32")])
    command = (
        "sltprob run 'toy[width=2]' --sampler 'hmc[num_steps=64]' --beta 144.8 --seed 0 "
        "--chains 4 --draws 1000 --warmup 50 --dtype float32"
    )
    assert command in page.visible


def test_sources_of_model_sampler_and_checks_are_cited(tmp_path):
    page = render(tmp_path, [make(model="tanh_zero", sampler="sgld", unadjusted=1)])
    sources = page.text.partition('<ol class="sources">')[2].partition("</ol>")[0]
    for author in ("Aoyagi", "Welling", "Vehtari"):
        assert author in sources
    own = render(tmp_path, [make(sampler_references="A. Author, A paper (2020).")])
    assert "A. Author, A paper (2020)." in own.visible


def test_models_have_a_curve_each(tmp_path):
    runs = [make(model="b"), make(model="a")]
    page = render(tmp_path, runs, curve={"a": [exact(100.0, 1.0)], "b": [exact(100.0, 1.0)]})
    assert {"curve-1", "curve-2"} <= set(page.figures)
    with pytest.raises(ValueError, match="mapping"):
        render(tmp_path, runs, curve=[exact(100.0, 1.0)])
    with pytest.raises(ValueError, match="no run has this model"):
        render(tmp_path, runs, curve={"c": []})


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_hundred_runs_are_small(tmp_path, monkeypatch, count):
    monkeypatch.setattr(page_module, "_POINTS", page_module._POINTS * count // 100)
    runs = [
        make(
            draws=1000,
            warmup=200,
            seed=index,
            sampler=f"sampler[option={index % 5}]",
            beta=10.0 ** (index // 5),
        )
        for index in range(count)
    ]
    size = write_report(runs, tmp_path / "big.html", title="Many runs").stat().st_size
    fixed = len(plotly_payload())
    assert fixed + (size - fixed) * 100 / count < 5_000_000


def test_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "report.html"
    assert write_report([make()], path, title="One") == path
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_report([make()], path, title="Two")
    monkeypatch.setattr(os, "fsync", _fail)
    with pytest.raises(OSError, match="disk"):
        write_report([make()], path, title="Three", overwrite=True)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ValueError, match="runs is empty"):
        write_report([], tmp_path / "none.html", title="None")
    with pytest.raises(TypeError, match="not a run"):
        write_report([1], tmp_path / "none.html", title="None")


def _fail(_: int) -> None:
    raise OSError("disk full")


def test_same_runs_give_the_same_file(tmp_path):
    first = render(tmp_path, gallery()).text
    assert render(tmp_path, gallery()[::-1]).text == first


# ---- the page in a browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    runs = [*gallery(), broken()["some_nan"], make(sampler=HOSTILE)]
    curve = [exact(10.0**power, 1.0 + 0.01 * power) for power in range(5)]
    return write_report(runs, path, curve=curve, title="Three samplers", command="x").as_uri()


_FITS = "document.documentElement.scrollWidth <= innerWidth"
_DRAWN = (
    "document.querySelector('#curve').scrollIntoView({behavior: 'instant'}),"
    " document.querySelector('#chart-curve-1 .main-svg') !== null"
)


# Pairs of texts of a chart that lie on one another, and texts that leave their chart.
_OVERLAPS = """(() => {
  const bad = [];
  for (const chart of document.querySelectorAll('.chart')) {
    const frame = chart.getBoundingClientRect();
    const texts = [...chart.querySelectorAll('svg text')]
      .filter((t) => t.textContent.trim() && t.getClientRects().length && !t.closest('.hoverlayer'))
      .map((t) => [t.textContent, t.getBoundingClientRect()]);
    texts.forEach(([text, a], index) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1) bad.push([chart.id, text]);
      for (const [other, b] of texts.slice(0, index)) {
        const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (width > 2 && height > 4) bad.push([chart.id, text, other]);
      }
    });
  }
  return bad;
})()"""


@pytest.mark.parametrize("width", [1400, 800, 390])
def test_page_works_at_every_width(browser, address, width):
    browser.open(address, width)
    browser.wait(_DRAWN)
    assert browser.run(_FITS)
    count = browser.run("document.querySelectorAll('details.run').length")
    assert count == 10
    assert browser.run("document.querySelectorAll('details.run[open]').length") == 0
    browser.run("document.querySelector('.cells tbody a').click()")
    opened = "document.querySelector('details.run[open]')"
    browser.wait(f"{opened} !== null && {opened}.querySelectorAll('.main-svg').length > 0")
    for index in range(browser.run(f"{opened}.querySelectorAll('.chart').length")):
        chart = f"{opened}.querySelectorAll('.chart')[{index}]"
        scroll = f"{chart}.scrollIntoView({{behavior: 'instant'}})"
        browser.wait(f"{scroll}, {chart}.querySelector('.main-svg') !== null")
    assert browser.run(_FITS)
    assert browser.run(f"{opened}.getBoundingClientRect().right <= innerWidth")
    assert browser.run(_OVERLAPS) == []
    assert browser.problems() == []
    assert {url.partition("#")[0] for url in browser.requests()} == {address}


def test_sorting_and_filtering(browser, address):
    browser.open(address, 1400)
    column = (
        "[...document.querySelectorAll('.cells tbody tr')].map(r => r.children[{}].dataset.sort)"
    )
    headings = browser.run(
        "[...document.querySelectorAll('.cells thead th')].map(h => h.innerText)"
    )
    index = next(i for i, text in enumerate(headings) if text.startswith("λ̂"))
    button = f"document.querySelectorAll('.cells thead button')[{index}]"
    for direction in ("ascending", "descending"):
        browser.run(f"{button}.click()")
        values = browser.run(column.format(index))
        numbers = [float(value) for value in values if value]
        assert numbers == sorted(numbers, reverse=direction == "descending")
        assert values[len(numbers) :] == [""] * (len(values) - len(numbers))
        state = f"document.querySelectorAll('.cells thead th')[{index}].ariaSort"
        assert browser.run(state) == direction
    browser.run(
        "(() => { const s = document.querySelector('[data-filter=sampler]'); s.value = 'sgld';"
        " s.dispatchEvent(new Event('change')); })()"
    )
    assert browser.run("document.querySelectorAll('.cells tbody tr:not([hidden])').length") == 2
    assert browser.run("document.querySelectorAll('details.run:not([hidden])').length") == 2
    assert browser.run("document.querySelector('#shown').innerText") == "2 of 10 runs"
    assert browser.problems() == []


def test_theme_follows_the_system_and_the_button(browser, address):
    background = "getComputedStyle(document.body).backgroundColor"
    browser.open(address, 800, scheme="dark")
    browser.wait(_DRAWN)
    night = browser.run(background)
    browser.run("document.getElementById('theme').click()")
    day = browser.run(background)
    assert night != day == "rgb(255, 255, 255)"
    browser.run("document.getElementById('theme').click()")
    assert browser.run(background) == night
    browser.run("document.getElementById('theme').click()")
    assert browser.problems() == []


def test_hovering_tells_and_clicking_opens_the_run(browser, address):
    browser.open(address, 1400)
    browser.wait(_DRAWN)
    assert browser.run("document.body.innerHTML.includes('Share chart')") is False
    x, y = browser.run(
        "(() => { const p = document.querySelector('#chart-curve-2 .points path, "
        "#chart-curve-1 .scatterlayer .trace:nth-child(3) path.point').getBoundingClientRect();"
        " return [p.x + p.width / 2, p.y + p.height / 2]; })()"
    )
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)
        if kind == "mouseMoved":
            browser.wait("document.querySelector('.hoverlayer text') !== null")
            assert "λ̂ =" in browser.run("document.querySelector('.hoverlayer').textContent")
    browser.wait("document.querySelector('details.run[open]') !== null")
    assert browser.problems() == []


def test_injected_script_does_not_run(browser, address):
    browser.open(address, 800)
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=evil=1>')")
    browser.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.evil = 1';"
        " document.head.append(s); })()"
    )
    assert browser.run("window.evil === undefined")


def test_page_prints(browser, address):
    browser.open(address, 1400, scheme="dark")
    browser.wait(_DRAWN)
    result = browser.call("Page.printToPDF", printBackground=True)
    assert base64.b64decode(result["data"]).startswith(b"%PDF")
    assert browser.run("!('theme' in document.documentElement.dataset)")
    assert browser.problems() == []
