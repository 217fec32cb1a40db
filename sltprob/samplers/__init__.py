"""Samplers, one file each, all on BlackJAX's kernels; the file's name is the sampler's name.

A sampler draws from a density that is known up to a factor. One with a Metropolis test draws from
exactly this density in the long run; one without has a bias that grows with its step size.
"""

from sltprob.samplers.base import Sampler
from sltprob.spec import Registry

__all__ = ["Sampler", "get", "name_of", "names", "registry", "specification"]

registry: Registry[Sampler] = Registry("sltprob.samplers", "sampler")
names = registry.names
get = registry.get
name_of = registry.name_of
specification = registry.specification
