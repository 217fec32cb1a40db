"""What is around a run: switches of JAX, threads, processes, and the cache of compiled code."""

import contextlib
import os
import subprocess
import sys

import pytest
from harness import FEW, MODEL, RUN, attempt, end, environment, small_disk, unbroken

SAME = "The same numbers in other surroundings, or one clear line"
CACHE = "A cache of compiled code that is broken, read-only or shared changes no number"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SAMPLE = """
def fingerprint(seed=0):
    import sltprob
    from sltprob.packed import fingerprint
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=1]"), beta=10.0)
    draws = sltprob.sample(posterior, "mala", draws=50, warmup=50, chains=2, seed=seed)
    return fingerprint(draws)
"""
X64 = "import numpyro; numpyro.enable_x64()\n"
SURROUNDINGS = {
    "JAX set up first": (
        "import jax; jax.config.update('jax_enable_x64', True); jax.devices()\n"
        "jax.numpy.ones(3) @ jax.numpy.ones(3)\nprint(fingerprint())"
    ),
    "rank promotion refused": (
        X64 + "import jax; jax.config.update('jax_numpy_rank_promotion', 'raise')\n"
        "print(fingerprint())"
    ),
    "NaN looked for": (
        X64 + "import jax; jax.config.update('jax_debug_nans', True)\nprint(fingerprint())"
    ),
    "leaks looked for": (
        X64 + "import jax; jax.config.update('jax_check_tracer_leaks', True)\nprint(fingerprint())"
    ),
    "spawn": (
        "from multiprocessing import get_context\n"
        "def task(seed):\n    import numpyro; numpyro.enable_x64()\n    return fingerprint(seed)\n"
        "if __name__ == '__main__':\n"
        "    with get_context('spawn').Pool(2) as pool:\n"
        "        print(*set(pool.map(task, [0, 0])))"
    ),
    "threads": (
        X64 + "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    print(*set(pool.map(fingerprint, [0] * 8)))"
    ),
    "fork before JAX": (
        "import os, sys\nimport sltprob\n"
        "if child := os.fork():\n    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        + X64
        + "print(fingerprint())"
    ),
    "-O": X64 + "print(fingerprint())",
    "other locale and time zone": X64 + "print(fingerprint())",
}


def python(tmp_path, code, *flags, **more):
    path = tmp_path / "script.py"
    path.write_text(SAMPLE + code)
    return subprocess.run(
        [sys.executable, *flags, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env=environment(**more),
    )


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_the_same_numbers(name, tmp_path):
    expected = python(tmp_path, X64 + "print(fingerprint())").stdout
    flags = ("-O",) if name == "-O" else ()
    more = {"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"} if "locale" in name else {}
    with attempt(SAME, name):
        done = python(tmp_path, SURROUNDINGS[name], *flags, **more)
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected


def test_another_generator_is_refused(tmp_path):
    with attempt(SAME, "another generator"):
        done = python(
            tmp_path,
            "try:\n    fingerprint()\nexcept ValueError as error:\n    print(error)\n",
            JAX_DEFAULT_PRNG_IMPL="rbg",
        )
        assert done.returncode == 0, done.stderr
        assert "threefry2x32" in done.stdout


@pytest.mark.parametrize("off", ["JAX_ENABLE_X64=0", "enable_x64(False)", "too cold"])
def test_single_precision_is_said(off, tmp_path):
    """Without float64 the draws are others, and say so; where beta is too large it is one line."""
    beta = "1e9" if off == "too cold" else "10.0"
    code = (
        ("" if "JAX" in off else "import numpyro; numpyro.enable_x64(False)\n")
        + "import sltprob\n"
        + "try:\n"
        + f"    posterior = sltprob.temper(sltprob.models.get('regular'), beta={beta})\n"
        + "    run = sltprob.sample(posterior, 'mala', draws=50, warmup=50, chains=2)\n"
        + "    print(run['posterior']['w'].dtype)\n"
        + "except ValueError as error:\n    print(error)\n"
    )
    with attempt(SAME, off):
        # Not both: NumPyro takes the text "0" for true.
        more = {"JAX_ENABLE_X64": "0"} if "JAX" in off else {}
        done = python(tmp_path, code, **more)
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        assert ("enable_x64" in line) if off == "too cold" else (line == "float32"), line


def test_the_command_chooses_its_precision_itself(tmp_path):
    whole, _, _ = unbroken(RUN)
    with attempt(SAME, "JAX_ENABLE_X64=0 and a command"):
        code, _, said = RUN.run(tmp_path, JAX_ENABLE_X64="0")
        assert code == 0, said
        assert RUN.results(tmp_path) == whole


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_is_refused_and_does_not_hang(tmp_path):
    """JAX has threads, which a fork leaves behind: the child would wait for them forever."""
    code = (
        X64 + "fingerprint()\nimport os, sys, warnings\nwarnings.simplefilter('ignore')\n"
        "if child := os.fork():\n    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "try:\n    fingerprint(1)\nexcept ValueError as error:\n    print(error, flush=True)\n"
        "os._exit(0)"
    )
    with attempt(SAME, "fork after JAX"):
        done = python(tmp_path, code)
        assert done.returncode == 0, done.stderr
        assert "spawn" in done.stdout
        assert done.stdout.count("\n") == 1


# Compiled code


def cut(content):
    return content[: len(content) // 2]


def changed(content):
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 50]) + b"x"


BROKEN = {"empty": lambda _: b"", "cut": cut, "changed": changed, "text": lambda _: b"no code"}


@pytest.mark.parametrize("kind", BROKEN)
def test_compiled_code_that_is_broken(kind, tmp_path):
    whole, _, _ = unbroken(RUN)
    kept = tmp_path / "compiled"
    first = RUN.run(tmp_path / "first", JAX_COMPILATION_CACHE_DIR=str(kept))
    assert first[0] == 0
    files = [path for path in kept.rglob("*") if path.is_file() and "-cache" in path.name]
    assert files
    for path in files:
        path.write_bytes(BROKEN[kind](path.read_bytes()))
    with attempt(CACHE, f"every file {kind}"):
        code, _, said = RUN.run(tmp_path / "out", JAX_COMPILATION_CACHE_DIR=str(kept))
        assert (code, said) == (0, "")
        assert RUN.results(tmp_path / "out") == whole


@pytest.mark.parametrize("kind", ["read-only", "full", "a file", "a folder that is not there"])
def test_compiled_code_that_cannot_be_kept(kind, tmp_path):
    whole, _, _ = unbroken(RUN)
    kept = tmp_path / "compiled"
    with attempt(CACHE, kind), contextlib.ExitStack() as stack:
        if kind == "read-only" or kind == "full":
            stack.enter_context(small_disk(kept, "8k" if kind == "full" else "1M"))
            if kind == "read-only":
                subprocess.run(["mount", "-o", "remount,ro", kept], check=True)
        elif kind == "a file":
            kept.write_text("")
        code, _, said = RUN.run(tmp_path / "out", JAX_COMPILATION_CACHE_DIR=str(kept))
        assert (code, said) == (0, "")
        assert RUN.results(tmp_path / "out") == whole


def test_compiled_code_that_several_processes_share(tmp_path):
    """All begin with nothing, write the same files and read what others are writing."""
    whole, _, _ = unbroken(RUN)
    kept = str(tmp_path / "compiled")
    many = 10 if "SLTPROB_FAULTS" in os.environ else 4
    processes = [
        RUN.start(tmp_path / str(turn), JAX_COMPILATION_CACHE_DIR=kept) for turn in range(many)
    ]
    for turn, process in enumerate(processes):
        code, _, said = end(process)
        with attempt(CACHE, "shared by ten processes at once"):
            assert (code, said) == (0, "")
            assert RUN.results(tmp_path / str(turn)) == whole


def test_a_home_that_cannot_be_written(tmp_path):
    with attempt(CACHE, "no home"):
        variables = environment(HOME="/nowhere", XDG_CACHE_HOME="/dev/null")
        del variables["JAX_COMPILATION_CACHE_DIR"]
        done = subprocess.run(
            [sys.executable, "-m", "sltprob", "run", MODEL, "--sampler", "mala", "-q", *FEW],
            capture_output=True,
            text=True,
            check=False,
            env=variables,
        )
        assert (done.returncode, done.stderr) == (0, "")
