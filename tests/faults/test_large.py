"""Files of gigabytes, and studies of very many cells."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from harness import attempt, environment, start

import sltprob
from sltprob.packed import fingerprint

LARGE = "A file above 256 MB is written whole or not at all, and read as it was"
LINEAR = "Judging a file of gigabytes takes time in proportion, and memory for its scalars only"
MANY = "A study of 1,000 cells: memory stays, and half-way its time left is right within 30 %"

IS_CAMPAIGN = "SLTPROB_FAULTS" in os.environ
#: Of the files that are judged, in GB.
SIZES = (0.3, 0.6, 2) if IS_CAMPAIGN else (0.3, 0.6)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

#: Makes a run of gigabytes from a small one, whose draws come again and again.
ENLARGE = """
import sys
import numpy as np
import xarray as xr
import numpyro; numpyro.enable_x64()
import sltprob

posterior = sltprob.temper(sltprob.models.get("regular[dimension=100]"), beta=10.0)
run = sltprob.sample(posterior, "mala", draws=1000, warmup=100, chains=4)
times = round(float(sys.argv[1]) * 1e9 / run.nbytes)
for name, node in run.children.items():
    data = node.to_dataset()
    if "draw" in data.dims:
        long = xr.concat([data] * times, "draw")
        run[name] = xr.DataTree(long.assign_coords(draw=np.arange(long.sizes["draw"])))
print(run.nbytes, flush=True)
sltprob.save(run, sys.argv[2])
from sltprob.packed import fingerprint
print(fingerprint(run), flush=True)
"""
DIAGNOSE = r"""
import re, sys, time
from sltprob.cli import main
began, file = time.monotonic(), sys.argv[1]
sys.stdout, out = sys.stderr, sys.stdout
try:
    main(["diagnose", file])
except SystemExit as end:
    assert end.code == 0
# Not ru_maxrss, which begins at what the process had that started this one.
most = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]
print(time.monotonic() - began, int(most) * 1024, file=out)
"""


def python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_file_that_is_not_made_in_memory(tmp_path):
    """Killed in the middle of a write it is not there; whole, it is what was saved."""
    path = tmp_path / "large.nc"
    process = python(ENLARGE, 0.3, path)
    assert int(process.stdout.readline()) > 2**28
    expected = process.stdout.readline().strip()
    process.communicate()
    with attempt(LARGE, "whole"):
        assert fingerprint(sltprob.load(path)) == expected
    size = path.stat().st_size
    with attempt(LARGE, "cut"):
        os.truncate(path, size // 2)
        with pytest.raises(ValueError, match="cannot be read as netCDF"):
            sltprob.load(path)
    path.unlink()
    process = python(ENLARGE, 0.3, path)
    process.stdout.readline()
    while not list(tmp_path.glob(".large.nc.*.tmp")):
        time.sleep(0.001)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with attempt(LARGE, "killed while it was written"):
        assert not path.exists()


def test_time_and_memory_of_judging(tmp_path):
    taken = {}
    for size in SIZES:
        path = tmp_path / f"{size}.nc"
        process = python(ENLARGE, size, path)
        process.communicate()
        assert process.returncode == 0
        process = python(DIAGNOSE, path)
        out, _ = process.communicate()
        with attempt(LINEAR, f"{size} GB"):
            assert process.returncode == 0
            taken[size] = [float(text) for text in out.split()]
            sys.stderr.write(f"{size} GB: {taken[size]}\n")
            # A tenth of it are scalars, of which the effective sample size makes copies.
            assert taken[size][1] < 0.4e9 + 0.3 * size * 1e9
        path.unlink()
    with attempt(LINEAR, "seconds for each GB"):
        first, last = SIZES[0], SIZES[-1]
        assert taken[last][0] < 1.5 * last / first * taken[first][0] + 2


@pytest.mark.skipif(not IS_CAMPAIGN, reason="takes minutes: make faults")
def test_a_study_of_a_thousand_cells(tmp_path):
    """Its lines come with the time that is left; the one nearest to the middle is held to it."""
    study = tmp_path / "study.toml"
    study.write_text(
        '[[grid]]\nmodels = ["regular[dimension=1]"]\nsamplers = ["mala"]\nbetas = [1, 10]\n'
        "seeds = 500\n[budget]\ndraws = 50\nwarmup = 50\nchains = 2\n"
    )
    process = start("study", "run", study, "--out", tmp_path / "out")
    began, said, memory = time.monotonic(), [], []
    for line in process.stderr:
        now = time.monotonic() - began
        with open(f"/proc/{process.pid}/statm") as file:
            memory.append(int(file.read().split()[1]) * 4096 / 1e6)
        if found := re.search(r"^(\d+)/1000 cells.*about (\d+) (s|min) left", line):
            said.append((now, float(found[2]) * (60 if found[3] == "min" else 1), int(found[1])))
    whole = time.monotonic() - began
    process.communicate()
    with attempt(MANY, "mala"):
        assert process.returncode == 0
        assert said
        at, left, _ = min(said, key=lambda row: abs(row[0] - whole / 2))
        sys.stderr.write(f"{whole=} {said=} {memory=}\n")
        assert abs(left - (whole - at)) < 0.3 * (whole - at) + 1
        assert memory[-1] - memory[len(memory) // 2] < 50
