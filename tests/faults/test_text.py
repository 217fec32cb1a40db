"""Text of others: definitions, tables and names that are meant to break something."""

import contextlib
import io
import warnings

import h5py
import hypothesis
import hypothesis.strategies as st
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from harness import STUDY, TRIES, attempt, stored_runs

import sltprob
from sltprob.cli import main
from sltprob.printable import printable
from sltprob.reading import named_data, read_data

TOML = "A study.toml that is none, or hostile, is refused in clear lines"
TABLE = "A table of data that is none, or hostile, is refused in one clear line"
NAMES = "Names and texts in a file reach no terminal or page as codes"

pytestmark = pytest.mark.slow
many = hypothesis.settings(
    max_examples=50 * TRIES,
    suppress_health_check=list(hypothesis.HealthCheck),
)

#: What terminals, pages, paths and C would each take for something else.
HOSTILE = "\x1b[31m\x1b]0;owned\x07<script>window.owned=1</script>../../\x00\u202e"


def refused(*arguments):
    """Run a command in this process: its code and what it wrote on standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    return code, err.getvalue()


values = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.sampled_from([HOSTILE, "regular", "mala", "n", "wbic", 10**400, -1, 0]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def toml(value):
    """Write a value as TOML has it, right or nearly."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    return str(value)


@many
@hypothesis.given(
    key=st.sampled_from(["models", "samplers", "betas", "seeds", "draws", "chains", "exact", "x"]),
    value=values,
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
def test_definitions_with_other_values(tmp_path_factory, key, value, cut):
    path = tmp_path_factory.mktemp("toml") / "study.toml"
    lines = [
        f"{key} = {toml(value)}" if line.startswith(f"{key} =") else line
        for line in STUDY.splitlines()
    ]
    text = "\n".join(lines if key in STUDY else [f"{key} = {toml(value)}", *lines])
    path.write_text(
        text if cut is None else text[: int(cut * len(text))], encoding="utf-8", errors="replace"
    )
    check_definition(path)


@many
@hypothesis.given(content=st.one_of(st.binary(), st.text().map(str.encode)))
@hypothesis.example(content=b"x = " + b"[" * 10_000)
@hypothesis.example(content=b"x = " + b"9" * 10_000)
@hypothesis.example(content=b"\xff\xfe")
def test_definitions_of_anything(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("toml") / "study.toml"
    path.write_bytes(content)
    check_definition(path)


def check_definition(path):
    with attempt(TOML, "study plan"):
        code, said = refused("study", "plan", "--no-pilot", path)
        assert code == 0 or (code == 2 and said)
        assert all(line.startswith("sltprob: ") for line in said.splitlines())
        assert printable(said) == said
        assert len(said) < 20_000


def program(x, y=None):
    w = numpyro.sample("w", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", x.shape[0]):
        numpyro.sample("y", dist.Normal(w * x, 1.0), obs=y)


cells = st.one_of(
    st.floats().map(str),
    st.integers().map(str),
    st.text(max_size=5),
    st.sampled_from(["", "NA", "1e999", "0x10", '"', HOSTILE, "=cmd()", "1,2", "TRUE"]),
)
tables = st.lists(st.lists(cells, max_size=4).map(",".join), max_size=6).map("\n".join)


@many
@hypothesis.given(
    content=st.one_of(
        st.binary(),
        tables.map(lambda text: text.encode(errors="replace")),
        tables.map(lambda text: b"x,y\n" + text.encode(errors="replace")),
    )
)
@hypothesis.example(content=b"x,y\n" + b"1," * 10_000)
@hypothesis.example(content=b"x,x,y\n1,2,3\n")
@hypothesis.example(content=b"x,y\n" + b"a" * 10**6 + b",1\n")
def test_tables_of_anything(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_bytes(content)
    with attempt(TABLE, "CSV"), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        reason = ""
        try:
            data = named_data(read_data(path), program, f"data={path}")
            sltprob.temper(program, data, beta=1.0)
        except (ValueError, TypeError) as error:
            reason = str(error)
        assert len(reason) < 2000
        assert not said, said


def altered(tmp_path, alter):
    """Alter a stored run as HDF5."""
    path = tmp_path / "run.nc"
    path.write_bytes(sorted(stored_runs().glob("*.nc"))[0].read_bytes())
    with h5py.File(path, "r+") as file:
        alter(file)
    return path


def test_attributes_and_names(tmp_path):
    def texts(file):
        for key in ("model", "sampler", "dtype", "init"):
            if key in file.attrs:
                file.attrs[key] = HOSTILE.replace("\x00", "")

    def long(file):
        file.attrs["model"] = "x" * 10**6
        file.attrs["sampler"] = "hmc[" * 10**5

    def numbers(file):
        file.attrs["model"] = 7
        file.attrs["beta"] = "much"

    def name(file):
        group = file["posterior"]
        first = next(key for key in group if key not in ("chain", "draw"))
        group.move(first, HOSTILE.replace("\x00", "").replace("/", ""))

    for alter in (texts, long, numbers, name):
        path = altered(tmp_path, alter)
        for verb in (("diagnose",), ("diagnose", "--json"), ("report", "--overwrite")):
            with attempt(NAMES, alter.__name__):
                page = tmp_path / "page.html"
                more = ("--out", page) if verb[0] == "report" else ()
                out, err = io.StringIO(), io.StringIO()
                with (
                    contextlib.redirect_stdout(out),
                    contextlib.redirect_stderr(err),
                    pytest.raises(SystemExit) as end,
                ):
                    main([*verb, str(path), *map(str, more)])
                said = out.getvalue() + err.getvalue()
                assert end.value.code in (0, 2), said
                assert "Traceback" not in said
                assert printable(said) == said
                if page.exists():
                    assert "<script>window" not in page.read_text()
                assert {file.name for file in tmp_path.iterdir()} <= {"run.nc", "page.html"}


def test_dimensions_that_no_machine_has(tmp_path):
    """A file of some kilobytes may claim terabytes, or gigabytes, which are not even asked for."""
    for size in (10**9, 10**12):

        def vast(file, size=size):
            file["sample_stats"].create_dataset("vast", shape=(size,), chunks=(2**20,), dtype="f8")

        path = altered(tmp_path, vast)
        with attempt(NAMES, "dimensions of 1e9 and 1e12"), pytest.raises(ValueError, match="nc"):
            sltprob.load(path)
    packed = tmp_path / "bomb.npz"
    np.savez_compressed(packed, x=np.zeros(10**8))
    with attempt(NAMES, "a bomb"), pytest.raises(ValueError, match="claims"):
        sltprob.load(packed)
