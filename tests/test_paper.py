"""`sltprob report`, figures for papers, the terminal's trace and the notebook's output."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import webbrowser
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from test_report import HOSTILE, broken, gallery, make

import sltprob
from sltprob import draws as schema
from sltprob.cli import main
from sltprob.report import sparkline, write_figures

BLOCKS = "▁▂▃▄▅▆▇█"


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return stopped.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    for index, run in enumerate(gallery()):
        schema.save(run, root / f"part{index % 2}" / f"run{index}.nc")
    return root


# ---- the command


@pytest.mark.turns
def test_report_reads_folders_and_files_once(folder, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert command("report", folder, folder / "part0" / "run0.nc", "--out", out, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["cells"]) == len(gallery())
    assert printed["report"] == str(out)
    page = out.read_text(encoding="utf-8")
    assert "standard errors" in page  # the exact values are those that the runs hold
    before = out.read_bytes()
    assert command("report", folder, "--out", out) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert command("report", folder, "--out", out, "--overwrite", "--strict") == 1


@pytest.mark.turns
def test_report_needs_no_jax_and_writes_report_html_here(folder, tmp_path):
    code = (
        "import sys\n"
        "for name in ('jax', 'numpyro', 'blackjax'): sys.modules[name] = None\n"
        "from sltprob import load\n"
        "from sltprob.report import write_report\n"
        "write_report([load(sys.argv[1])], 'python.html', title='t')\n"
        "from sltprob.cli import main\n"
        "main(['report', sys.argv[2]])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder / "part0" / "run0.nc", folder],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "8 runs" in done.stdout
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "python.html").is_file()


@pytest.mark.parametrize("kind", ["missing", "empty", "damaged", "directory"])
def test_report_of_nothing_is_one_line(kind, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.nc").write_text("no netCDF")
    words = {
        "missing": (["report", tmp_path / "missing.nc"], "no such file"),
        "empty": (["report", tmp_path / "empty"], "ends in .nc"),
        "damaged": (["report", tmp_path / "damaged.nc"], "cannot be read"),
        "directory": (["report", folder, "--out", tmp_path / "empty"], "is a folder"),
    }
    arguments, said = words[kind]
    if "--out" not in arguments:
        arguments += ["--out", tmp_path / "r.html"]
    assert command(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "r.html").exists()


def test_open_shows_the_page(folder, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert command("report", folder, "--out", tmp_path / "r.html", "--open") == 0
    assert opened == [(tmp_path / "r.html").as_uri()]


# ---- figures


@pytest.mark.turns
def test_figures_and_tables_of_a_paper(folder, tmp_path):
    part, beside = folder / "part0", tmp_path / "figures"
    runs = len(list(part.iterdir()))
    assert command("report", part, "--out", tmp_path / "r.html", "--figures", beside) == 0
    names = {path.name for path in beside.iterdir()}
    assert {"curve.svg", "curve.pdf", "table.md", "table.tex", "table.csv"} <= names
    assert len(names) == 2 + 3 + 2 * runs
    for path in beside.iterdir():
        start = path.read_bytes()[:200]
        assert start.startswith(b"%PDF") == (path.suffix == ".pdf")
        assert (b"<?xml" in start) == (path.suffix == ".svg")
    assert (beside / "table.tex").read_text(encoding="utf-8").count("\\\\") == runs + 1


@pytest.mark.slow
def test_same_runs_give_the_same_figures(tmp_path):
    runs = gallery()[:2]
    first = write_figures(runs, tmp_path / "a")
    second = write_figures(runs[::-1], tmp_path / "b")
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    with pytest.raises(FileExistsError, match="overwrite"):
        write_figures(runs, tmp_path / "a")
    assert write_figures(runs, tmp_path / "a", overwrite=True) == first


@pytest.mark.turns
def test_hollow_markers_are_those_not_to_be_believed(monkeypatch, tmp_path):
    from matplotlib.axes import Axes

    faces = {}
    original = Axes.errorbar

    def watch(self, x, y, **options):
        faces[round(y, 3)] = options["markerfacecolor"]
        return original(self, x, y, **options)

    monkeypatch.setattr(Axes, "errorbar", watch)
    good, bad = make(beta=10.0, seed=1), make(beta=100.0, exact=3.0, sampler="sgld")
    write_figures([good, bad], tmp_path)
    values = [round(sltprob.estimate(run).value, 3) for run in (good, bad)]
    assert faces[values[0]] != "white"
    assert faces[values[1]] == "white"


@pytest.mark.slow
def test_figures_of_broken_and_hostile_runs(tmp_path):
    runs = [*broken().values(), make(sampler=HOSTILE + "$x$ \\", model="$y")]
    written = write_figures(runs, tmp_path / "figures")
    assert all(path.stat().st_size for path in written)
    assert {path.parent for path in written} == {tmp_path / "figures"}
    for path in written:
        if path.suffix == ".svg":
            assert b"<script" not in path.read_bytes()


def test_missing_matplotlib_is_one_line(folder, tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = ("report", folder, "--out", tmp_path / "r.html", "--figures", tmp_path / "f")
    assert command(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'sltprob[figures]'" in line
    assert list(tmp_path.iterdir()) == []


# ---- the terminal


def test_sparkline_keeps_the_extremes():
    trace = np.random.default_rng(0).normal(size=(2, 5000))
    trace[0, 1234], trace[1, 4321] = 40.0, -40.0
    line = sparkline(trace, 60)
    first, second = line.split(" ")
    assert len(line) <= 60
    assert first.count("█") == 1
    assert second.count("▁") == 1
    assert set(line) <= set(BLOCKS + " ")


def test_sparkline_of_what_is_broken():
    assert sparkline(np.zeros((0, 0))) == ""
    assert set(sparkline(np.full((2, 9), np.nan))) == {"×", " "}
    assert len(set(sparkline(np.full((1, 9), 0.5)))) == 1
    assert sparkline(np.array([[-1e308, 1e308]])) == "▁█"
    lonely = np.random.default_rng(0).normal(size=(1, 4000))
    lonely[0, 777] = math.inf
    assert sparkline(lonely).count("×") == 1
    many = sparkline(np.random.default_rng(0).normal(size=(40, 100)))
    assert " " not in many
    assert len(many) <= 60


def test_diagnose_prints_the_trace(tmp_path, capsys):
    schema.save(make(), tmp_path / "run.nc")
    assert command("diagnose", tmp_path / "run.nc") == 0
    assert any(block in capsys.readouterr().out for block in BLOCKS)


# ---- notebooks


class Balanced(HTMLParser):
    """Fails on a tag that is not closed in order; keeps the words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""
        self.tags: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


@pytest.mark.parametrize("name", ["fine", *broken()])
def test_notebooks_show_verdict_and_estimate(name):
    run = make() if name == "fine" else broken()[name]
    verdict = sltprob.diagnose(run)
    page = Balanced(verdict._repr_html_())
    assert verdict.status in page.words
    for check in verdict.failed:
        assert check.advice in page.words
    if not math.isnan(run.attrs["minimum_loss"]):
        assert "±" in Balanced(sltprob.estimate(run)._repr_html_()).words


def test_notebook_output_is_escaped():
    check = sltprob.Check("a<b>", 2.0, 1.0, "<", False, True, HOSTILE, HOSTILE, "")
    page = Balanced(sltprob.Verdict("wrong", (check,))._repr_html_())
    assert not {"script", "img", "b"} & page.tags
    assert HOSTILE in page.words
