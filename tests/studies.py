"""What the tests of studies share: a small study, the command, and how to compare results."""

from __future__ import annotations

import subprocess
import sys

SMALL = {"draws": 20, "warmup": 20, "chains": 2}
DEFINITION = {
    "budget": SMALL,
    "grid": {
        "models": ["regular[dimension=1]"],
        "samplers": ["mala"],
        "betas": [1, 10],
        "seeds": 3,
    },
}
GRID = """[[grid]]
models = ["regular[dimension=1]"]
samplers = ["mala"]
betas = [1, 10]
seeds = 3
"""
BUDGET = """[budget]
draws = 20
warmup = 20
chains = 2
"""
TOML = BUDGET + GRID


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "sltprob", "study", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def contents(study, folder):
    """Say bit for bit what a study has found, without its times."""
    return dict(zip(*[study.table(folder)[name] for name in ("key", "content")], strict=True))
