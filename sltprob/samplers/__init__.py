"""Samplers, one file each, all on BlackJAX's kernels; the file's name is the sampler's name."""

from typing import Any

from sltprob.samplers.base import Sampler
from sltprob.spec import Registry, describe

__all__ = ["Sampler", "get", "name_of", "names", "registry", "specification"]

registry: Registry[Sampler] = Registry("sltprob.samplers", "sampler")
names = registry.names
get = registry.get
name_of = registry.name_of


def specification(sampler: Any) -> str:
    """Write the text from which `get` makes an equal sampler."""
    return describe(sampler, name_of(sampler))
