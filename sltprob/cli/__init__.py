"""The command line, one file for each group of commands. Only this package prints.

Exit codes: 0 done, 1 a verdict failed under --strict, 2 bad usage (one line on standard error).
"""

from importlib import import_module
from pkgutil import iter_modules

from sltprob.cli._app import app, main

__all__ = ["app", "main"]

# In the order in which `sltprob --help` lists the commands; a file that is not named comes after
# these. Importing a file registers its commands.
_THEORY = ("ansatz", "theory", "curve", "modes", "effective", "generalisation")
_FIRST = ("measure", "local", "ladder", *_THEORY, "bench")

_found = sorted(module.name for module in iter_modules(__path__) if module.name[0] != "_")
for _name in dict.fromkeys([*(name for name in _FIRST if name in _found), *_found]):
    import_module(f"{__name__}.{_name}")
