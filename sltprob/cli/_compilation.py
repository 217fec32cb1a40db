"""Where compiled code is kept from one command to the next."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from sltprob.compilation_cache import forgive_cache

__all__ = ["compilation_cache_folder", "keep_compiled_code"]

#: What compiles faster is not worth a file.
_LEAST_SECONDS = 0.3


def compilation_cache_folder() -> Path:
    """Name the folder of compiled code that belongs to this user and this machine."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "sltprob" / (platform.node() or "machine")


def keep_compiled_code() -> None:
    """Let JAX keep what it compiles, unless ``JAX_COMPILATION_CACHE_DIR`` says where, or not to.

    The folder is JAX's persistent compilation cache: it may be deleted at any time. The seconds of
    compilation that a run reports are those it spent, so they are few when the code was there.
    """
    import jax

    forgive_cache()
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.jax_compilation_cache_dir:
        return
    folder = compilation_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that cannot be written is no reason not to compute
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
