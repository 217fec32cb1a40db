"""Switches that hold for every test, set before anything makes an array."""

import argparse
import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator

# Before anything imports NumPy: tests have a core each, and idle threads of BLAS wait by spinning.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import jax
import pytest
from browser import Browser

# beta * L has no digits left in float32 long before the largest beta that the tests use.
jax.config.update("jax_enable_x64", True)
# A silent (n,) against (n, m) is a density that is wrong without an error.
jax.config.update("jax_numpy_rank_promotion", "raise")

# The commands that a test process starts share what they compile, in a folder of that process:
# nothing is left in anybody's home. One folder for several processes would not do, since JAX does
# not write its files whole, and a test could read half of one.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:
    _compiled = tempfile.mkdtemp(prefix="sltprob-tests-")
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    # Not for this process: a worker of xdist has inherited the folder of the one that started it.
    jax.config.update("jax_compilation_cache_dir", None)

# What is imported stays: the collector need not look at it again, nor at what JAX keeps so often.
gc.freeze()
gc.set_threshold(100_000)

# No deadline, as the first example compiles; the same examples everywhere, as a failure should be
# the change's.
hypothesis.settings.register_profile("sltprob", deadline=None, derandomize=True)
hypothesis.settings.load_profile("sltprob")


def _shard(text: str) -> tuple[int, int]:
    """Read K/N."""
    which, _, count = text.partition("/")
    if not (which.isdecimal() and count.isdecimal() and 1 <= int(which) <= int(count)):
        raise argparse.ArgumentTypeError(f"--shard={text}: write K/N with 1 <= K <= N, such as 2/8")
    return int(which), int(count)


def _others(items: list[pytest.Item], which: int, count: int) -> list[pytest.Item]:
    """List all but every N-th."""
    return [item for place, item in enumerate(items) if place % count != which - 1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a part of the chosen tests run; the N parts together are all of them."""
    for option, of_what in [("--shard", "chosen tests"), ("--turn", "tests that take turns")]:
        parser.addoption(
            option,
            type=_shard,
            default="1/1",
            metavar="K/N",
            help=f"of the {of_what}, run the K-th, (K+N)-th, (K+2N)-th ...",
        )


@pytest.hookimpl(trylast=True)  # what -m and -k leave
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep every N-th test; neighbours, often cases of one test, go to different parts."""
    turning = [item for item in items if item.get_closest_marker("turns")]
    left_out = set(_others(turning, *config.getoption("turn")))
    chosen = [item for item in items if item not in left_out]
    left_out.update(_others(chosen, *config.getoption("shard")))
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def pytest_configure(config: pytest.Config) -> None:
    """Compile without LLVM's optimisation, but for the slow tests.

    Most of the time of a test is compilation, and the code is as true when it is slow. Commands and
    examples are other processes, which mostly sample: they get the flags that a user has.
    """
    if config.option.markexpr != "not slow":
        return
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = f"{before or ''} --xla_backend_optimization_level=0"
    jax.devices()  # This is where XLA reads them.
    if before is None:
        del os.environ["XLA_FLAGS"]
    else:
        os.environ["XLA_FLAGS"] = before


@pytest.fixture
def numpyro_promotes_ranks() -> Iterator[None]:
    """Let one test promote ranks, for models whose NumPyro distributions do so themselves.

    BlackJAX's kernels and adaptation never do. NumPyro's distributions do when a batch of values
    meets parameters that are not scalars: ``Dirichlet(ones(3)).log_prob(values)`` with values of
    shape (20, 3), likewise MultivariateNormal, LKJCholesky, ``Normal(zeros(3), 1).to_event(1)``.
    """
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium once, or skip where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    driver = Browser(program, tmp_path_factory.mktemp("profile"))
    yield driver
    driver.close()
