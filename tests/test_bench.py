"""The league table: are its scores what they say, and does a biased sampler lose?"""

import csv
import dataclasses
import json
import math

import jax
import numpy as np
import pytest

import sltprob
from sltprob.cli import main
from sltprob.comparison import measure
from sltprob.league.bench import bench as league
from sltprob.league.groups import grouped, league_sentences
from sltprob.league.overview import overview
from sltprob.league.standing import STANDING_FIELDS, Standing, draws_to_accuracy, score
from sltprob.league.text import league_csv, league_markdown

MODEL = "regular[dimension=2]"
GOOD = "mala[steps_per_draw=5]"
# Curvature 10 and prior precision 1 at beta = 10: a step of 0.1 is as large as it is bad.
BIASED = "sgld[step_size=0.1,batch_size=none,steps_per_draw=5]"
ABSENT = "elliptical_slice"
OPTIONS = {"draws": 300, "warmup": 100}


@pytest.fixture(scope="module")
def table():
    # So few draws that no run is trusted, and none compiles scouts.
    models, few = [MODEL, "even_powers"], {**OPTIONS, "draws": 90}
    return league(models, [GOOD, ABSENT], [10.0, 100.0], seeds=[0, 1], **few)


@pytest.fixture(scope="module")
def runs():
    posterior = sltprob.temper(sltprob.models.get(MODEL), beta=10.0)
    exact = sltprob.models.get(MODEL).exact(10.0)
    return [measure(posterior, GOOD, exact=exact, seed=seed, **OPTIONS) for seed in (0, 1)]


def test_a_trace_at_the_exact_value_is_there_at_once():
    assert draws_to_accuracy([np.full((4, 10), 2.0)], 2.0) == 1


def test_a_bias_above_the_accuracy_never_gets_there():
    """Without noise, and with noise that longer runs would average away."""
    assert draws_to_accuracy([np.full((4, 1000), 1.06)], 1.0) is None
    assert draws_to_accuracy([np.full((4, 1000), 1.04)], 1.0) == 1
    noise = np.random.default_rng(0).normal(1.1, 1.0, (4, 4, 40_000))
    assert draws_to_accuracy(list(noise), 1.0) is None


def test_a_start_far_away_counts_until_it_is_forgotten():
    """A start of k draws at twice the value leaves an error of k / n after n draws."""
    trace = np.ones((3, 1000))
    trace[:, :10] = 2.0
    assert draws_to_accuracy([trace, trace], 1.0, accuracy=0.0501) == 200


def test_independent_draws_need_their_variance_over_the_squared_accuracy():
    """Draws of relative variance 1 in 4 chains: 1 / (4 · 0.05²) = 100 draws.

    The last crossing is later than the expected one, by less than half here; the runs are 400.
    """
    noise = np.random.default_rng(1).normal(1.0, 1.0, (400, 4, 500))
    assert 95 <= draws_to_accuracy(list(noise), 1.0) <= 150


def test_what_is_no_number_never_gets_there():
    trace = np.ones((2, 100))
    trace[0, 50] = math.nan
    assert draws_to_accuracy([trace], 1.0) is None


@pytest.mark.parametrize(
    ("traces", "exact", "accuracy"),
    [([], 1.0, 0.05), ([np.ones((1, 9))], 0.0, 0.05), ([np.ones((1, 9))], 1.0, math.nan)],
)
def test_bad_arguments_are_refused(traces, exact, accuracy):
    with pytest.raises(ValueError, match="must be"):
        draws_to_accuracy(traces, exact, accuracy)


def test_a_score_is_what_its_runs_say(runs):
    cells = [sltprob.estimate(run) for run in runs]
    row = score(runs)
    exact = row.exact
    errors = np.array([cell.value / exact - 1 for cell in cells])
    z = np.array([(cell.value - exact) / math.hypot(cell.mcse, row.exact_mcse) for cell in cells])
    assert row.relative_error == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-12)
    assert row.relative_bias == pytest.approx(np.mean(errors), rel=1e-12)
    assert row.rms_z == pytest.approx(np.sqrt(np.mean(z**2)), rel=1e-12)
    assert row.covered == np.sum(np.abs(z) < 1.96)
    assert row.coverage_low < row.covered / 2 <= row.coverage_high
    seconds = np.mean([run.attrs["seconds_sampling"] for run in runs])
    assert row.ess_per_second == pytest.approx(row.ess / seconds, rel=1e-12)
    assert row.gradients == 5 * 4 * OPTIONS["draws"]
    assert row.ess_per_gradient == pytest.approx(row.ess / row.gradients, rel=1e-12)
    assert row.trusted + row.doubtful + row.wrong == row.seeds == 2
    assert row.ess_per_second_in_all < row.ess_per_second


def test_a_trusted_run_that_is_off_is_a_false_trust(runs):
    """The same runs against a truth that is another: trusted still, and wrong."""
    moved = []
    for run in runs:
        other = run.copy()
        other.attrs = {**run.attrs, "exact": 2 * run.attrs["exact"]}
        moved.append(other)
    before, after = score(runs), score(moved)
    assert before.trusted == 2
    assert before.false_trust == 0
    assert (after.false_trust, after.covered) == (2, 0)
    assert after.gradients_to_accuracy is None


def test_a_good_run_that_is_refused_is_a_false_alarm(runs):
    """A loss said to be rounded coarsely makes the verdict refuse; the number is as it was."""
    doubted = []
    for run in runs:
        other = run.copy()
        other.attrs = {**run.attrs, "loss_rounding": 1.0}
        doubted.append(other)
    assert score(runs).false_alarm == 0
    assert score(doubted).false_alarm == 2


def test_a_dead_run_is_not_left_out(runs):
    dead = runs[0].copy(deep=True)
    dead["sample_stats"]["loss"][0, 7] = math.nan
    row = score([runs[1], dead])
    assert row.relative_error is None
    assert row.rms_z is None
    assert row.gradients_to_accuracy is None
    assert row.covered <= 1


def test_runs_of_several_kinds_are_not_one_score(runs):
    other = runs[1].copy()
    other.attrs = {**other.attrs, "beta": 20.0}
    with pytest.raises(ValueError, match="2 kinds"):
        score([runs[0], other])
    with pytest.raises(ValueError, match="empty"):
        score([])
    unknown = runs[0].copy()
    unknown.attrs = {**unknown.attrs, "exact": math.nan}
    with pytest.raises(ValueError, match="exact"):
        score([unknown])


def test_a_league_has_a_row_for_everything_and_compiles_once(table):
    """Later betas and seeds of a sampler on a model spend nothing on compilation."""
    assert [(row.model.partition("[")[0], row.beta, row.sampler) for row in table.rows] == [
        (model, beta, sampler)
        for model in ("regular", "even_powers")
        for beta in (10.0, 100.0)
        for sampler in (GOOD, ABSENT)
    ]
    spent: dict[tuple[str, str], list[float]] = {}
    for cell in table.cells:
        spent.setdefault((cell["model"], cell["sampler"]), []).append(cell["seconds_compile"])
    for seconds in spent.values():
        assert len(seconds) == 4
        assert seconds[1:] == [0.0, 0.0, 0.0]
    absent = [row for row in table.rows if row.reason is not None]
    assert [row.sampler for row in absent] == [ABSENT, ABSENT]
    assert all(row.seeds == 0 and row.exact > 0 for row in absent)


@pytest.mark.turns
def test_a_biased_sampler_ranks_below_one_that_is_right():
    """The bias of Euler's step is 20 %; its effective draws are as many as the other's."""
    made = league([MODEL], [BIASED, GOOD], [10.0], seeds=[0, 1], **OPTIONS)
    biased, good = made.rows
    assert biased.relative_bias > 0.05
    assert biased.gradients_to_accuracy is None
    assert biased.ess > 400
    assert good.gradients_to_accuracy < good.gradients
    assert [row.sampler for row in grouped(made.rows)[0].rows] == [GOOD, BIASED]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], ["hmc"], [10.0]), "at least one"),
        (([MODEL], ["hmc"], []), "at least one"),
        (([MODEL], ["hmc"], ["wbic"]), "needs a data set"),
    ],
)
def test_a_league_of_nothing_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        league(*arguments, seeds=[0])
    with pytest.raises(ValueError, match="twice"):
        league([MODEL], ["hmc"], [10.0], seeds=[0, 0])


def test_tables_hold_every_row(table):
    rows = list(csv.DictReader(league_csv(table.rows).splitlines()))
    assert list(rows[0]) == list(STANDING_FIELDS)
    for read, row in zip(rows, table.rows, strict=True):
        assert read["reason"] == (row.reason or "")
        if row.relative_error is not None:
            assert float(read["relative_error"]) == row.relative_error
    text = league_markdown(table.rows)
    assert text.count(f"| `{GOOD}` |") == 4
    assert text.count(f"- `{ABSENT}` does not apply: its prior") == 2
    # A table is broken unless all its lines have as many cells.
    bars = {line.replace(r"\|", "").count("|") for line in text.splitlines() if line[:1] == "|"}
    assert len(bars) == 1
    assert "12 runs against exact values" in league_sentences(table.rows)[0]


def test_rows_that_do_not_apply_come_last():
    rows = [
        Standing(model="m", sampler="absent", beta=1.0, reason="it does not", exact=1.0),
        Standing(model="m", sampler="never", beta=1.0, seeds=1, relative_error=0.2),
        Standing(model="m", sampler="slow", beta=1.0, seeds=1, gradients_to_accuracy=9.0),
        Standing(model="m", sampler="fast", beta=1.0, seeds=1, gradients_to_accuracy=3.0),
    ]
    (group,) = grouped(rows)
    assert [row.sampler for row in group.rows] == ["fast", "slow", "never", "absent"]
    with pytest.raises(ValueError, match="empty"):
        grouped([])


def test_the_overview_has_a_cell_for_everything():
    rows = [
        Standing(model="m", sampler="absent", beta=1.0, reason="it does not", exact=1.0),
        Standing(model="m", sampler="never", beta=1.0, seeds=1, gradients=7000.0),
        Standing(model="m", sampler="slow", beta=1.0, seeds=1, gradients_to_accuracy=100.0),
        Standing(model="m", sampler="fast", beta=1.0, seeds=1, gradients_to_accuracy=10.0),
        Standing(model="m", sampler="slow", beta=2.0, seeds=1, gradients_to_accuracy=1e9),
        Standing(model="m", sampler="never", beta=2.0, seeds=1, gradients_to_accuracy=1.0),
        Standing(model="k", sampler="fast", beta=1.0, seeds=1, gradients_to_accuracy=5.0),
    ]
    found = overview(rows)
    assert found.models == [("m", 2), ("k", 1)]
    cells = {name: [(cell.kind, cell.shade) for cell in own] for name, own in found.rows}
    assert cells == {
        "fast": [("best", 100), ("absent", 0), ("best", 100)],
        "slow": [("reached", 67), ("reached", 0), ("absent", 0)],
        "never": [("never", 0), ("best", 100), ("absent", 0)],
        "absent": [("absent", 0)] * 3,
    }
    assert list(cells) == ["fast", "slow", "never", "absent"]
    texts = {name: (own[0].text, own[0].note) for name, own in found.rows}
    assert texts["never"] == (">7k", "above 5 % after 7k gradients")
    assert texts["absent"] == ("–", "does not apply: it does not")
    with pytest.raises(ValueError, match="empty"):
        overview([])


@pytest.mark.turns
def test_what_is_finished_is_known_before_the_end(tmp_path):
    seen = []
    written = tmp_path / "league" / "league.csv"
    league(
        [MODEL, "even_powers"],
        ["random_walk"],
        [10.0],
        seeds=[0],
        out=tmp_path / "league",
        progress=lambda progress: seen.append(
            (progress.done, progress.total, written.exists() and written.read_text().count(MODEL))
        ),
        draws=20,
        warmup=20,
    )
    assert seen[0] == (1, 2, False)
    assert seen[1][:2] == (2, 2)
    assert seen[1][2] > 0


@pytest.mark.slow
def test_what_a_pilot_run_settles_is_one_row():
    """The number of rungs follows from β and from the seed; the sampler is the one asked for."""
    made = league([MODEL], ["replica_exchange"], [1.0, 1e4], seeds=[0, 1], draws=100, warmup=50)
    assert [(row.sampler, row.seeds) for row in made.rows] == [("replica_exchange", 2)] * 2
    assert {cell["sampler"] for cell in made.cells} == {"replica_exchange"}


def run_bench(arguments):
    """Run the command in this process, and leave the switches of JAX as they were."""
    cached = jax.config.jax_enable_compilation_cache
    try:
        with pytest.raises(SystemExit) as stopped:
            main(["bench", *map(str, arguments)])
    finally:
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_enable_compilation_cache", cached)
    return stopped.value.code


@pytest.mark.turns
def test_the_command_prints_and_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    out = tmp_path / "league"
    arguments = [
        *("--models", f"{MODEL},even_powers", "--samplers", f"{GOOD},{ABSENT}"),
        *("--betas", "10", "--seeds", "2", "--draws", "300", "--warmup", "100"),
    ]
    assert run_bench([*arguments, "--out", out]) == 0
    printed = capsys.readouterr()
    assert all(len(line) <= 100 for line in printed.out.splitlines() if "written" not in line)
    assert "pile s" in printed.out  # of the last column: a narrow terminal takes no digits
    assert "elliptical_slice does not apply" in printed.out
    assert sorted(path.name for path in out.iterdir()) == [
        "league.csv",
        "league.html",
        "league.md",
    ]
    page = (out / "league.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "")
    # A table with a line of headings for each model, and the overview with two.
    assert page.count("<tr") == 2 * (1 + 2) + (2 + 2)
    assert run_bench([*arguments, "--out", out]) == 2
    capsys.readouterr()
    assert run_bench([*arguments, "--json", "--models", MODEL, "--seeds", "1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [list(row) for row in document["rows"]] == [list(STANDING_FIELDS)] * 2
    assert len(document["cells"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "0"], "--seeds 0"),
        (["--samplers", ","], "--samplers"),
        (["--models", ","], "--models"),
        (["--betas", "0"], "beta=0"),
        (["--models", "regular", "--samplers", "mala", "--betas", "wbic"], "needs a data set"),
        (["--samplers", "gibbs"], "unknown sampler"),
    ],
)
def test_bad_input_of_the_command_is_one_line(arguments, words, capsys):
    assert run_bench(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.slow
def test_single_precision_is_scored_too(capsys):
    code = run_bench(
        [
            *("--models", MODEL, "--samplers", GOOD, "--betas", "10", "--seeds", "1"),
            *("--draws", "100", "--warmup", "40", "--dtype", "float32", "--json"),
        ]
    )
    assert code == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["relative_error"] < 0.5
    assert dataclasses.replace(Standing(**row)).seeds == 1
