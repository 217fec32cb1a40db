"""Models with exact answers, one file each; the file's name is the model's name."""

from sltprob.models.base import Model, Truth
from sltprob.spec import Registry

__all__ = ["Model", "Truth", "get", "name_of", "names", "registry", "specification"]

registry: Registry[Model] = Registry("sltprob.models", "model")
names = registry.names
get = registry.get
name_of = registry.name_of
specification = registry.specification
