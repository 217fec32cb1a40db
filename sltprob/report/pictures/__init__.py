"""The pictures of one run in a report, one file each, found by their names.

A file has one public function, of a `Judged` and of the points that its traces may have together,
and ``PLACE``, by which the pictures are sorted.
"""

from importlib import import_module
from pkgutil import iter_modules

from sltprob.report.figures import Figure
from sltprob.report.judged import Judged

__all__ = ["pictures_of"]


def pictures_of(judged: Judged, points: int) -> list[Figure]:
    """Draw all pictures of a run."""
    names = [module.name for module in iter_modules(__path__) if module.name[0] != "_"]
    modules = sorted(map(import_module, [f"{__name__}.{n}" for n in names]), key=lambda m: m.PLACE)
    drawn: list[Figure] = [getattr(m, m.__all__[0])(judged, points) for m in modules]
    return drawn
