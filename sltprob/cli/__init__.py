"""The command line, one file for each group of commands. Only this package prints.

Exit codes: 0 done, 1 a verdict failed under --strict, 2 bad usage (one line on standard error).
"""

# In the order in which `sltprob --help` lists the commands: importing a file registers its own.
from sltprob.cli import measure, local, ladder, theory, curve, modes, ansatz, effective  # isort: skip
from sltprob.cli import bench, calibrate, listing, judge, probe, sbc, study  # isort: skip
from sltprob.cli._app import app, main

__all__ = [
    "ansatz",
    "app",
    "bench",
    "calibrate",
    "curve",
    "effective",
    "judge",
    "ladder",
    "listing",
    "local",
    "main",
    "measure",
    "modes",
    "probe",
    "sbc",
    "study",
    "theory",
]
