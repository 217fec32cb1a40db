"""Is a study refused with every problem at once, each in one line with its place?"""

from __future__ import annotations

import importlib
import sys

import pytest
from studies import BUDGET, GRID, TOML

from sltprob.grids.definition import StudyError
from sltprob.grids.study import Study
from sltprob.grids.toml_lines import toml_lines

TEXT = "it must be a text"
NUMBER = 'it must be a number, "n" or "wbic", such as 1e4'
WHOLE = "it must be a whole number from 1 to 10^9, such as 1000"
SEEDS = "it must be a number of seeds from 1 to 2^32, or a list of them, such as 10"
REFUSED = {
    # The file
    "": ["study.toml: there is no grid; write [[grid]] with models"],
    "models = [\n": [":1: not TOML: Invalid value"],
    "hello\n": [":1: not TOML: Expected '='"],
    "exact = true\nexact = true\n" + GRID: [":2: not TOML: Cannot overwrite a value"],
    # Keys
    'dtyp = "float64"\n' + GRID: [
        ":1: unknown key 'dtyp'; there are: dtype, exact, data, budget, grid"
    ],
    "[bugdet]\ndraws = 20\n" + GRID: [":1: unknown key 'bugdet'; there are"],
    "[budget]\ndraw = 20\n" + GRID: [":2: unknown key 'draw'; there are: draws, warmup"],
    GRID + "chains = 3\n": [":6: unknown key 'chains'; there are: models, samplers, betas"],
    GRID + "budget = {draws = 0, draw = 1}\n": [f":6: draws = 0: {WHOLE}", ":6: unknown key"],
    GRID.replace("betas = [1, 10]\n", ""): [":1: the grid has no betas; write betas = [1, 1e2"],
    # Types and ranges
    'dtype = "float16"\n' + GRID: [':1: dtype = "float16": it must be "float64" or "float32"'],
    'exact = "yes"\n' + GRID: [':1: exact = "yes": it must be true or false'],
    "budget = 3\n" + GRID: [":1: budget = 3: it must be a table"],
    "grid = 3\n": [":1: grid = 3: it must be a table"],
    "grid = [1]\n": [":1: grid[0] = 1: it must be a table"],
    '[budget]\ndraws = "20"\n' + GRID: [f':2: draws = "20": {WHOLE}'],
    "[budget]\ndraws = 1e3\n" + GRID: [f":2: draws = 1000.0: {WHOLE}"],
    "[budget]\ndraws = true\n" + GRID: [f":2: draws = true: {WHOLE}"],
    "[budget]\r\ndraws = -5\r\n" + GRID: [f":2: draws = -5: {WHOLE}"],
    "[budget]\ndraws = 10000000000\n" + GRID: [f":2: draws = 10000000000: {WHOLE}"],
    "[budget]\nwarmup = 5\n" + GRID: [":2: warmup = 5: it must be a whole number from 20"],
    '[budget]\ninit = "priro"\n' + GRID: [':2: init = "priro": it must be "prior" or "optimum"'],
    "[budget]\ntarget_mcse = nan\n" + GRID: [":2: target_mcse = nan: it must be a positive"],
    '[budget]\ntarget_mcse = "2"\n' + GRID: [':2: target_mcse = "2": it must be a positive number'],
    '[budget]\ntarget_mcse = "0%"\n' + GRID: [
        ':2: target_mcse = "0%": it must be a positive number'
    ],
    GRID.replace('["mala"]', "[]"): [":3: samplers = []: it must be a list of texts, such as"],
    GRID.replace('["mala"]', '"mala"'): [':3: samplers = "mala": it must be a list of texts'],
    GRID.replace('["mala"]', '["mala",\n3]'): [f":4: samplers[1] = 3: {TEXT}"],
    GRID.replace("[1, 10]", "10"): [":4: betas = 10: it must be a list of numbers, such as"],
    GRID.replace("[1, 10]", '["1"]'): [f':4: betas[0] = "1": {NUMBER}'],
    GRID.replace("seeds = 3", "seeds = 0"): [f":5: seeds = 0: {SEEDS}"],
    GRID.replace("seeds = 3", "seeds = 5000000000"): [f":5: seeds = 5000000000: {SEEDS}"],
    GRID.replace("seeds = 3", "seeds = [-1]"): [":5: seeds[0] = -1: it must be a whole number"],
    # What the values stand for
    GRID.replace("regular[", "reguler["): [":2: unknown model 'reguler'; there are: airy,"],
    GRID.replace("dimension", "dim"): [":2: regular has no option 'dim'; its options are:"],
    GRID.replace("=1]", "=-1]"): [":2: dimension=-1: it must be a whole number >= 1"],
    GRID.replace("=1]", "=1"): [":2: 'regular[dimension=1' is not a specification; write name"],
    GRID.replace("mala", "mlaa"): [":3: unknown sampler 'mlaa'; there are: adjusted_mclmc,"],
    GRID.replace("mala", "mala[step=1]"): [":3: mala has no option 'step'; its options are:"],
    GRID.replace("[1, 10]", "[0,\ninf]"): [
        ":4: beta=0: it must be positive",
        ":5: beta=inf: it must be positive and finite",
    ],
    GRID.replace("[1, 10]", "[1, 10, 1.0]"): [":4: 1.0 comes twice; leave one out"],
    GRID.replace("seeds = 3", "seeds = [1, 1]"): [":5: 1 comes twice; leave one out"],
    GRID + GRID: [":6: regular[dimension=1] with mala has cells in two grids"],
    # All of these at once
    'dtype = 3\n[budget]\ndraws = 0\n[[grid]]\nmodels = ["nosuch"]\nbetas = [-1]\nseed = 3\n': [
        ":1: dtype = 3",
        ":3: draws = 0",
        ":4: the grid has no samplers",
        ":4: the grid has no seeds",
        ":5: unknown model 'nosuch'",
        ":6: beta=-1",
        ":7: unknown key 'seed'",
    ],
}


@pytest.mark.parametrize("text", REFUSED)
def test_every_problem_is_told_at_once_in_one_line_with_its_place(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_bytes(text.encode())
    with pytest.raises(StudyError) as caught:
        Study.read("study.toml")
    problems = caught.value.problems
    assert len(problems) == len(REFUSED[text])
    for problem, start in zip(problems, REFUSED[text], strict=True):
        whole = start if start.startswith("study.toml") else f"study.toml{start}"
        assert problem.startswith(whole)
        assert "\n" not in problem
        assert len(problem) < 300


def test_a_sampler_that_does_not_apply_is_refused(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(GRID.replace("regular[dimension=1]", "normal_crossing").replace("mala", "x"))
    path.write_text(path.read_text().replace('"x"', '"mala",\n"elliptical_slice"'))
    with pytest.raises(StudyError, match=r":4: elliptical_slice does not apply to normal_crossing"):
        Study.read(path)


def test_what_is_no_file_of_text_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.toml: no such file"):
        Study.read(tmp_path / "none.toml")
    with pytest.raises(FileNotFoundError, match="not a file"):
        Study.read(tmp_path)
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="not a TOML file"):
        Study.read(path)


def test_a_study_of_the_wrong_precision_is_refused(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text('dtype = "float32"\n' + GRID)
    with pytest.raises(ValueError, match="enable_x64"):
        Study.read(path)


def test_lines_of_a_file_are_found_through_strings_tables_and_comments():
    text = (
        '# c\na = "x # = [" # y\n[[g]]\nm = ["p[q=1,r]", # one\n \'s\',\n]\n'
        'b = {c = 3, d.e = [1,\n2]}\n[[g]]\nt = """\n[no]\n"""\n[g.h]\nz = 1\n'
    )
    lines = toml_lines(text)
    assert lines["a",] == 2
    assert lines["g", 0, "m", 1] == 5
    assert lines["g", 0, "b", "d", "e", 1] == 8
    assert lines["g", 1] == 9
    assert lines["g", 1, "h", "z"] == 14


# The command line


@pytest.fixture
def refusal(tmp_path, monkeypatch, capsys):
    """Run a command that must be refused, in a folder with a study and a file."""
    # The package exports a function of this name too.
    application = importlib.import_module("sltprob.cli._app")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(TOML)
    (tmp_path / "file").write_text(TOML)

    def refuse(*arguments):
        with pytest.raises(SystemExit) as caught:
            application.main(["study", *arguments])
        assert caught.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("sltprob: ")
        assert said.err.count("\n") == 1
        return said.err

    return refuse


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "Missing command"),
        ("walk", "No such command 'walk'"),
        ("run", "Missing argument 'STUDY'"),
        ("run none.toml", "none.toml: no such file"),
        ("run study.toml more", "unexpected extra argument"),
        ("run study.toml --qiet", "--qiet"),
        ("run study.toml --quiet --json", "leave one out"),
        ("run study.toml --out file", "file: a file of that name exists"),
        ("run file", "file: a file of that name exists"),
        ("retry study.toml --out file", "file: a file of that name exists"),
        ("status study.toml --out file", "file: a file of that name exists"),
        ("table study.toml --out file", "file: a file of that name exists"),
        ("run study.toml --out file/below", "file/below: cannot be written (Not a directory)"),
        ("table study.toml --out none", "none: no cell of this study is stored here"),
        ("run study.toml --workers 2", "goes with --cluster local"),
        ("run study.toml --cluster local --workers two", "valid integer"),
        ("run study.toml --cluster local --workers 0", "--workers 0: it must be a whole number"),
        ("run study.toml --cluster slurm", "local, or the address of a scheduler"),
        ("run study.toml --cluster tcp://h:1 --workers 2", "goes with --cluster local"),
        ("run study.toml --cluster none://h", "no scheduler answers"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(refusal, arguments, said):
    assert said in refusal(*arguments.split())


def test_a_cluster_without_dask_is_refused_with_what_to_install(refusal, monkeypatch):
    for name in ("sltprob.grids.cluster", "sltprob.grids.dispatch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "dask", None)
    said = refusal("run", "study.toml", "--cluster", "local")
    assert said == "sltprob: --cluster needs dask; pip install 'sltprob[cluster]'\n"


def test_the_command_tells_each_problem_in_a_line_of_its_own(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text(BUDGET.replace("20", "-1", 1) + GRID.replace("seeds = 3", "seeds = 0"))
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module("sltprob.cli._app").main(["study", "plan", str(path)])
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert [line.split(":")[2] for line in lines] == ["2", "9"]
    assert all(line.startswith("sltprob: ") for line in lines)
