"""Every example runs as it stands, and its verdict is what its text says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import run_with_few_draws

EXAMPLES = {
    path.stem: path for path in sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_trusted_as_it_stands(name, tmp_path):
    """Every size of data, sampler and network is compiled."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES[name])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "lambda-hat(" in done.stdout or "λ̂ ± MCSE" in done.stdout
    assert "trusted" in done.stdout


def test_the_quickstart_is_short_and_runs(tmp_path, monkeypatch, capsys):
    assert len(EXAMPLES["quickstart"].read_text(encoding="utf-8").splitlines()) <= 20
    run_with_few_draws(EXAMPLES["quickstart"], tmp_path, monkeypatch)
    assert "lambda-hat(100) = " in capsys.readouterr().out
