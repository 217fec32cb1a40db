"""Start commands as forks of a process that has imported what they import, but not used JAX.

A command then begins with its work, so that a kill costs no start of Python. Reads a line of JSON
for each command: its arguments, and a file for what it says. Writes its number, then how it ended.
"""

import json
import os
import sys
import warnings


def begin() -> None:
    """Import, but not BlackJAX: that compiles, and JAX has threads, which a fork leaves behind."""
    import arviz_stats
    import distributed
    import h5netcdf
    import jax
    import numpyro
    import optax
    import pandas
    import plotly.graph_objects
    import scipy.stats

    import sltprob.cli
    import sltprob.report

    assert {arviz_stats, distributed, h5netcdf, numpyro, optax, pandas, plotly, scipy, sltprob}
    assert not jax._src.xla_bridge._backends
    # It warns of every fork.
    warnings.filterwarnings("ignore", category=RuntimeWarning, message=".*fork")
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")


def command(arguments: list[str], said: str) -> None:
    """Be a command, in a session of its own."""
    from sltprob.cli import main

    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for target, source in ((0, nothing), (1, nothing), (2, file)):
        os.dup2(source, target)
    main(arguments)


def tell(number: int) -> None:
    """Answer with a line."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def serve() -> None:
    """Start one command after the other."""
    begin()
    for line in sys.stdin:
        arguments, said = json.loads(line)
        number = os.fork()
        if not number:
            command(arguments, said)
        tell(number)
        _, status = os.waitpid(number, 0)
        tell(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    serve()
