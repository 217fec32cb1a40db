"""Do plug-ins of other packages work, and does a broken one harm nobody else?"""

import dataclasses
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

import sltprob
from sltprob.calibration.altered import NeverRejects
from sltprob.models.regular import Regular
from sltprob.testing import check_model, check_sampler

GOOD = """
from dataclasses import dataclass

from sltprob.samplers.mala import MALA


@dataclass(frozen=True, kw_only=True)
class Theirs(MALA):
    "MALA under another name."
"""
SMALL = ("--beta", "10", "--draws", "50", "--warmup", "50", "--json", "-q")


def install(folder, package, entries, code):
    """Put a distribution with entry points where Python finds it."""
    (folder / f"{package}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {package}:{value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("[sltprob.samplers]\n" + "\n".join(lines) + "\n")


def command(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "sltprob", *arguments],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}",
            # Nothing here depends on how fast the draws are.
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        check=False,
    )


@pytest.mark.turns
def test_a_broken_plug_in_is_one_line_and_the_others_work(tmp_path):
    install(tmp_path, "good", {"theirs": "Theirs"}, GOOD)
    install(tmp_path, "broken", {"gone": "Gone"}, "raise RuntimeError('no such device')")
    install(tmp_path, "rival", {"hmc": "Theirs"}, GOOD)
    listed = command(tmp_path, "list", "samplers")
    assert listed.returncode == 0
    assert "theirs" in listed.stdout
    assert "MALA under another name." in listed.stdout
    assert "nuts" in listed.stdout
    gone, clash = sorted(listed.stderr.splitlines())
    assert "'gone' of broken:Gone (package broken) cannot be loaded (RuntimeError: no such" in gone
    assert "'hmc' is the name of sltprob.samplers.hmc and of rival:Theirs (package rival)" in clash
    refused = command(tmp_path, "run", "regular", "--sampler", "hmc", *SMALL)
    assert refused.returncode == 2
    assert "uninstall one" in refused.stderr


@pytest.mark.slow
def test_a_sampler_of_another_package_runs_beside_a_broken_one(tmp_path):
    install(tmp_path, "good", {"theirs": "Theirs"}, GOOD)
    install(tmp_path, "broken", {"gone": "Gone"}, "raise RuntimeError('no such device')")
    used = command(tmp_path, "run", "regular", "--sampler", "theirs", *SMALL)
    assert used.returncode == 0, used.stderr
    assert '"sampler": "theirs"' in used.stdout


@dataclass(frozen=True, kw_only=True)
class Wrong(Regular):
    """A mutant: its exact answer is a tenth too large."""

    def _exact(self, beta, tolerance):
        right = super()._exact(beta, tolerance)
        return dataclasses.replace(right, lambda_hat=1.1 * right.lambda_hat)


@pytest.mark.turns
def test_the_contract_refuses_what_breaks_it():
    with pytest.raises(AssertionError, match="another density was sampled"):
        check_sampler(NeverRejects(step_size=0.1))
    with pytest.raises(AssertionError, match="dF/dlog"):
        check_model(Wrong())
    with pytest.raises(AssertionError, match="is no Sampler"):
        check_sampler(Regular())


@pytest.mark.slow
def test_the_contract_accepts_ours():
    """|z| < 5 for a right sampler: once in two million runs."""
    check_sampler(sltprob.samplers.get("mala"))
    # The model that samplers are held to, so that it is compiled once.
    check_model(sltprob.models.get("regular[dimension=3]"), sampler="mala")
