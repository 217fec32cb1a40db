"""ArviZ's statistics of arrays, imported when one is first used: they bring all of SciPy along."""

from typing import Any

__all__ = ["array_stats"]


class _Lazy:
    """Stands for ``arviz_stats.base.array_stats``."""

    def __getattr__(self, name: str) -> Any:
        from arviz_stats.base import array_stats

        return getattr(array_stats, name)


array_stats: Any = _Lazy()
