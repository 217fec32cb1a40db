"""Samplers, one file each, all on BlackJAX's kernels; the file's name is the sampler's name."""

from sltprob.samplers.base import Sampler
from sltprob.spec import Registry

__all__ = ["Sampler", "get", "name_of", "names", "registry", "specification"]

registry: Registry[Sampler] = Registry("sltprob.samplers", "sampler")
names = registry.names
get = registry.get
name_of = registry.name_of
specification = registry.specification
