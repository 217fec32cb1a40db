"""Files that were cut off or damaged: one clear line each, and nothing printed besides."""

import gc

import numpy as np
import pytest

import sltprob


@pytest.mark.slow
def test_a_damaged_run_is_refused_in_one_line(tmp_path, capfd):
    """100 cuts and 200 files with wrong bytes; what still opens is a run, whatever it says."""
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=10.0)
    path = tmp_path / "run.nc"
    sltprob.save(sltprob.sample(posterior, "hmc", draws=50, warmup=50), path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    cuts = [whole[:size] for size in np.linspace(0, len(whole) - 1, 100).astype(int)]
    altered = []
    for _ in range(200):
        wrong = bytearray(whole)
        for place in generator.integers(len(wrong), size=generator.integers(1, 20)):
            wrong[place] = generator.integers(256)
        altered.append(bytes(wrong))
    lines = []
    for damaged in [*cuts, *altered]:
        path.write_bytes(damaged)
        try:
            sltprob.diagnose(sltprob.load(path))
        except ValueError as error:
            lines.append(str(error))
    gc.collect()
    assert len(lines) > 200
    assert all(str(path) in line and "\n" not in line for line in lines)
    assert capfd.readouterr() == ("", "")
