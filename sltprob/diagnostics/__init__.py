"""Judge a run from its file alone: checks and the verdict that they make."""

from sltprob.diagnostics.checks import Check
from sltprob.diagnostics.verdict import Verdict, diagnose

__all__ = ["Check", "Verdict", "diagnose"]
