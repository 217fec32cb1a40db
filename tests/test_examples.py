"""Every example runs as it stands, and its verdict is what its text says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "lambda-hat(" in done.stdout or "λ̂ ± MCSE" in done.stdout
    assert "trusted" in done.stdout


def test_the_quickstart_is_short():
    (example,) = [path for path in EXAMPLES if path.stem == "quickstart"]
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 20
