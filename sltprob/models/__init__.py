"""Models with exact answers, one file each; the file's name is the model's name.

Throughout, L is the mean loss of a model, L* its least value and β the inverse temperature; the
posterior is exp(-β L) times the prior, and λ̂ = β E[L - L*] is an expectation over it. The learning
coefficient λ and its multiplicity m are what theory says about β → ∞.
"""

from sltprob.models.base import Model, Truth
from sltprob.spec import Registry

__all__ = ["Model", "Truth", "get", "name_of", "names", "registry", "specification"]

registry: Registry[Model] = Registry("sltprob.models", "model")
names = registry.names
get = registry.get
name_of = registry.name_of
specification = registry.specification
