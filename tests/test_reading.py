"""Data of a user's program: one table, whatever file it comes in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.feather
import pytest
import xarray as xr

from sltprob.problem import problem
from sltprob.reading import columns_of, named_data, read_data

X = np.array([0.5, -1.25, 2.0])
COUNTS = np.array([1, 0, 3])
TABLE = pd.DataFrame({"x": X, "k": COUNTS, "id": ["a", "b", "c"]})


def program(x, k=None):
    import numpyro
    import numpyro.distributions as dist

    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("k", dist.Normal(slope * x, 1.0), obs=k)


def write(path):
    match path.suffix:
        case ".csv" | ".tsv":
            TABLE.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
        case ".parquet":
            TABLE.to_parquet(path)
        case ".feather" | ".arrow":
            pyarrow.feather.write_feather(TABLE, path, compression="uncompressed")
        case ".npz":
            np.savez(path, x=X, k=COUNTS, id=np.array(["a", "b", "c"]))
        case ".nc":
            TABLE.to_xarray().to_netcdf(path, engine="h5netcdf")
        case ".zarr":
            xr.Dataset({"x": ("row", X), "k": ("row", COUNTS)}).to_zarr(path, consolidated=False)
    return path


@pytest.mark.filterwarnings("ignore")  # h5netcdf and zarr warn of their own formats
@pytest.mark.parametrize(
    "ending", [".csv", ".tsv", ".parquet", ".feather", ".arrow", ".npz", ".nc", ".zarr"]
)
def test_the_columns_that_the_arguments_name_are_read(tmp_path, ending):
    data = named_data(read_data(write(tmp_path / f"data{ending}")), program)
    assert set(data.arguments) == {"x", "k"}
    np.testing.assert_array_equal(np.asarray(data.arguments["x"]), X)
    np.testing.assert_array_equal(np.asarray(data.arguments["k"]), COUNTS)
    assert np.asarray(data.arguments["k"]).dtype.kind == "i"


def test_a_frame_and_a_file_are_the_same_problem(tmp_path):
    by_file = problem(program, write(tmp_path / "data.csv")).posterior
    position = {"slope": np.array(0.25)}
    right = np.mean(0.5 * (COUNTS - 0.25 * X) ** 2 + 0.5 * np.log(2 * np.pi))
    for frame in (TABLE, pl.from_pandas(TABLE)):
        posterior = problem(program, frame).posterior
        assert len(posterior.weights) == 3
        assert float(posterior.loss(position)) == pytest.approx(right, rel=1e-12)
    assert float(by_file.loss(position)) == pytest.approx(right, rel=1e-12)


def test_weights_of_a_table_are_weights_unless_the_program_takes_them():
    columns = {"x": X, "k": COUNTS, "weights": np.array([0.5, 0.25, 0.25])}
    assert named_data(columns, program).weights is columns["weights"]
    taken = named_data(columns, lambda x, weights: None)
    assert taken.weights is None
    assert set(taken.arguments) == {"x", "weights"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.csv", None, "no such file"),
        ("data.xlsx", b"x", "its ending must be one of .npz, .csv"),
        ("data.csv", b"", "cannot be read"),
        ("data.parquet", b"PAR1 no", "cannot be read"),
        ("data.npz", b"PK no", "cannot be read"),
        ("data.nc", b"CDF no", "cannot be read"),
        ("data.arrow", b"ARROW1 no", "cannot be read"),
        ("other.csv", b"a,b\n1,2\n", "needs x"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="data") as raised:
        named_data(read_data(path), program, f"data={path}")
    assert words in str(raised.value)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_columns_of_a_name_are_refused(tmp_path):
    (tmp_path / "twice.csv").write_text("x,x,y\n1,2,3\n")
    with pytest.raises(ValueError, match="two columns of the name 'x'"):
        read_data(tmp_path / "twice.csv")
    with pytest.raises(ValueError, match="two columns of the name 'a'"):
        columns_of(pd.DataFrame([[1, 2]], columns=["a", "a"]))
