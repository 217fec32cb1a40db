"""What the peers share: seconds of compilation, and draws as one array."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

_EVENTS = (
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class Compilations:
    """Sum what JAX spends on lowering and compiling, and charge it to the part where it was.

    JAX tells seconds by the clock; they are scaled to those of the processor by what the block
    as a whole used of both.
    """

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.seconds: list[tuple[float, float]] = []

    def __enter__(self) -> Compilations:
        import jax

        self.begin, self.used = time.perf_counter(), self.clock.now()
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        import jax

        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration: float, **_: Any) -> None:
        if event in _EVENTS:
            self.seconds.append((self.clock.now(), duration))

    def charge(self) -> None:
        """Move it out of the parts in which it happened, which have ended."""
        wall = time.perf_counter() - self.begin
        share = min(1.0, (self.clock.now() - self.used) / max(wall, 1e-9))
        for when, duration in self.seconds:
            part = self.clock.part_at(when)
            self.clock.move(share * duration, part, "compile")
        self.seconds = []


def flat(draws: dict[str, Any]) -> np.ndarray:
    """Give draws by (chain, draw, coordinate), at most 64 coordinates of each site."""
    parts = [np.asarray(v) for name, v in sorted(draws.items()) if name != "loss"]
    return np.concatenate([v.reshape(*v.shape[:2], -1)[..., :64] for v in parts], axis=-1)
