"""What a study says while it runs: is it true, and does it fit where it is said?"""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from rich.console import Console
from studies import TOML

from sltprob.cli import _study_progress as progress
from sltprob.grids.events import Event

WHERE = {"model": "tanh_zero[width=64]", "sampler": "mala[steps_per_draw=4]", "beta": 1e4}


def event(kind, seed, **detail):
    return Event(kind, {"key": str(seed), **WHERE, "seed": seed, "work": 1000, **detail})


def running(seed, draws, stage="sample", lambda_hat=1.234, mcse=0.0123):
    estimate = {"lambda_hat": lambda_hat, "mcse": mcse}
    return event("running", seed, stage=stage, draws=draws, total=1000, **estimate)


def begin(cells):
    counts = {"cells": cells, "stored": 0, "failed": 0, "to_run": cells}
    return Event("begin", {**counts, "work": 1000 * cells})


STORY = [
    begin(4),
    running(0, 0, "compile", math.nan, math.nan),
    running(0, 500),
    event("finished", 0, lambda_hat=1.2, mcse=0.01, verdict="trusted"),
    running(1, 250),
    running(2, 250),
    event("failed", 2, error="MemoryError: no memory"),
    Event("waiting", {"scheduler": "tcp://10.0.0.1:8786"}),
]


@pytest.fixture
def clock(monkeypatch):
    """Ten seconds pass from each event to the next."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def tell(watch):
        with watch:
            for thing in STORY:
                now[0] += 10
                watch(thing)

    return tell


def test_lines_say_how_far_it_is_and_what_failed(clock, capsys):
    clock(progress.LineWatch())
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "4 cells; 4 to run",
        "0/4 cells",
        "0/4 cells, about 4 min left",  # half of the first of four in 30 s: 210 s
        "1/4 cells, about 60 s left",  # half of the first in 10 s, its wait left out
        "1/4 cells, about 73 s left",
        "1/4 cells, about 75 s left",
        "failed: tanh_zero[width=64] mala[steps_per_draw=4] β=10000 seed=2: MemoryError: no memory",
        "2/4 cells, about 40 s left",  # 1.75 of four in 40 s
        "no worker at tcp://10.0.0.1:8786 yet; waiting for one",
    ]


@pytest.mark.parametrize("waited", [0.5, 5, 20, 200])
def test_half_way_the_time_left_is_right_though_the_first_cell_has_compiled(
    waited, monkeypatch, capsys
):
    """A thousand small cells in batches of two seconds, after imports and compilation."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    watch = progress.LineWatch()
    watch(begin(1000))
    now[0] += waited
    watch(event("finished", 0))
    for batch in range(20):
        now[0] += 2.0
        for seed in range(50 - (batch == 0)):
            watch(event("finished", 50 * batch + seed + 1))
    lines = capsys.readouterr().err.splitlines()
    said = [re.fullmatch(r"(\d+)/1000 cells, about (\d+) s left", line) for line in lines]
    pairs = [(int(found[1]), int(found[2])) for found in said if found]
    done, left = min(pairs, key=lambda pair: abs(pair[0] - 500))
    # A line may come in the middle of a batch, whose cells are told together.
    truth = 2.0 * (1000 - done) / 50
    assert abs(left - truth) < 0.3 * truth, lines


def test_lines_come_less_often_later(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    watch = progress.LineWatch()
    watch(begin(100_000))
    for seed in range(36_000):
        now[0] += 1.0
        watch(event("finished", seed))
    assert len(capsys.readouterr().err.splitlines()) < 750


def test_json_has_an_object_for_each_event(clock, capsys):
    clock(progress.JsonWatch())
    said = capsys.readouterr().out.splitlines()
    objects = [json.loads(line, parse_constant=pytest.fail) for line in said]
    assert [thing["event"] for thing in objects] == [thing.kind for thing in STORY]
    assert objects[1]["lambda_hat"] is None
    assert objects[2]["lambda_hat"] == 1.234


def test_quiet_says_nothing(clock, capsys):
    clock(progress.QuietWatch())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("width", [70, 80, 100, 160])
def test_a_running_cell_takes_one_line_above_the_bar_of_all(width):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False)
    bars = progress.StudyBars(console)
    with bars:
        for thing in STORY[:-3]:
            bars(thing)
        bars(running(2, 1000))
        shown = Console(file=io.StringIO(), width=width)
        shown.print(bars._bars.get_renderable())
    lines = shown.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["tanh_zero[width=64]"] * 2
    assert lines[2].startswith("all cells")
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert "250/1000" in lines[0]
    assert "1000/1000" in lines[1]
    assert "λ̂ 1.234 ± 0.012" in lines[0]
    assert "1/4" in lines[2]
    assert "left" in lines[2]


@pytest.mark.slow
def test_bars_in_a_terminal_leave_nothing_behind(tmp_path):
    """A real pseudo-terminal; what was drawn is taken away, and the last line stays."""
    path = tmp_path / "study.toml"
    path.write_text(TOML)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "sltprob", "study", "run", path],
        stdout=follower,
        stderr=follower,
        stdin=follower,
        env={**os.environ, "TERM": "xterm-256color"},
    ) as process:
        os.close(follower)
        said = b""
        try:
            while piece := os.read(leader, 65536):
                said += piece
        except OSError:
            pass  # the terminal is closed
        os.close(leader)
    assert process.returncode == 0
    text = said.decode()
    assert "6 cells; 6 to run" in text
    assert "all cells" in text
    assert "\x1b[?25h" in text  # the cursor is back
    # The bars were taken away before the last line was written.
    *_, last = text.splitlines()
    assert re.fullmatch(rf"(\x1b\[1A\x1b\[2K)+6 of 6 cells stored in {tmp_path / 'study'}", last)
