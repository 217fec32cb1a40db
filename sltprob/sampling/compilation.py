"""Compilation ahead of time: once for each program, and timed apart from its runs."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax

from sltprob.sampling.devices import cores

__all__ = ["Clock", "Program", "begin_compiling", "compiled", "once", "programs"]


@functools.cache
def _compilers() -> ThreadPoolExecutor:
    # XLA releases the interpreter lock, so that the other core traces or compiles meanwhile. In
    # turn, so that what is needed first is not slowed down by what is needed last.
    return ThreadPoolExecutor(min(4, cores()))


class Clock:
    """Seconds that a run has waited for the compiler."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a block."""
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start


class Program:
    """A function that is being compiled in a thread of its own; on one core, when it is needed."""

    def __init__(self, lowered: Any, options: dict[str, Any]) -> None:
        self.out_info = lowered.out_info
        self._compile = functools.partial(lowered.compile, compiler_options=options)
        # On one core the compiler and what traces the next program would get in each other's way.
        self._begun = _compilers().submit(self._compile) if cores() > 1 else None
        self._compiled: Any = None
        self._asked = threading.Lock()

    def ready(self, clock: Clock) -> Any:
        """Wait for the compiler."""
        if self._compiled is None:
            with clock.running(), self._asked:
                self._compiled = self._compiled or self._wait()
        return self._compiled

    def _wait(self) -> Any:
        if self._begun is not None:
            try:
                return self._begun.result()
            except CancelledError:  # another run has lost its interest in it
                pass
        return self._compile()

    def put_off(self) -> None:
        """Do not compile it before it is asked for, unless that has begun."""
        if self._begun is not None:
            self._begun.cancel()


#: What this process has compiled, by function, static options, shapes and device; used last, last.
programs: dict[Any, Program] = {}
# A program has some ten megabytes: a process that goes through many models must not keep them all.
_MOST_PROGRAMS = 64
_changing = threading.Lock()


def begin_compiling(
    function: Callable[..., Any],
    *arguments: Any,
    clock: Clock,
    device: Any = None,
    effort: int | None = None,
    donated: tuple[int, ...] = (),
    **static: Any,
) -> Program:
    """Compile once for each function, static options, shapes and device, and do not wait for it.

    Arguments at the places `donated` give their memory to the results. `effort` is XLA's level of
    optimisation: 0 for what runs once and does little, 1 where more takes longer to compile and is
    not quicker: XLA makes vectors of loops itself.
    """
    leaves, tree = jax.tree.flatten(arguments)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    signature = (function, tuple(sorted(static.items())), tree, shapes, device)
    with _changing:
        program = programs.pop(signature, None)
    if program is None:

        def call(*values: Any) -> Any:
            return function(*values, **static)

        options = {} if effort is None else {"xla_backend_optimization_level": effort}
        with clock.running():
            program = Program(jax.jit(call, donate_argnums=donated).lower(*arguments), options)
    with _changing:
        programs[signature] = program
        while len(programs) > _MOST_PROGRAMS:
            programs.pop(next(iter(programs)))
    return program


def compiled(function: Callable[..., Any], *arguments: Any, clock: Clock, **options: Any) -> Any:
    """Compile once for each function, static options, shapes and device."""
    return begin_compiling(function, *arguments, clock=clock, **options).ready(clock)


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile what a run calls a single time, which is not worth XLA's optimisation.

    Within another program it is a part of that.
    """
    alone = jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments))
        return (function if traced else alone)(*arguments)

    return call
