"""Samplers, one file each, all on BlackJAX's kernels; the file's name is the sampler's name.

A sampler draws from a density that is known up to a factor. One with a Metropolis test draws from
exactly this density in the long run; one without has a bias that grows with its step size.
"""

from typing import Any

from sltprob.samplers.base import Sampler
from sltprob.spec import Registry

__all__ = ["Sampler", "as_sampler", "get", "name_of", "names", "registry", "specification"]

registry: Registry[Sampler] = Registry("sltprob.samplers", "sampler")
names = registry.names
get = registry.get
name_of = registry.name_of
specification = registry.specification


def as_sampler(sampler: Any) -> Sampler:
    """Give a sampler itself, or make the one that a specification describes.

    Parameters
    ----------
    sampler : Sampler or str

    Returns
    -------
    Sampler

    Raises
    ------
    TypeError
        If it is neither, such as a class where an object of it is wanted.
    ValueError
        If there is no sampler of that name, or an option is out of range.
    """
    if isinstance(sampler, str):
        return get(sampler)
    if isinstance(sampler, Sampler):
        return sampler
    if isinstance(sampler, type):
        name = sampler.__name__
        raise TypeError(f"sampler={name} is a class; write an object of it, such as {name}()")
    raise TypeError(
        f"sampler={sampler!r} is no sampler; write a name such as 'hmc', or an object of a class "
        "of sltprob.Sampler"
    )
