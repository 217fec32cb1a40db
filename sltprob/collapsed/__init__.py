"""The exact answer of a model with a linear Gaussian readout, by integrating the readout out.

If the loss is ``L = a^T G(w) a`` with a prior ``a ~ N(0, sigma^2 I)``, the readout a integrates out
in closed form. With ``mu_k`` the eigenvalues of G(w) and ``z_k = 2 beta sigma^2 mu_k``, what is
left is a density of w alone::

    p(w | beta)  proportional to  p(w) det(I + 2 beta sigma^2 G(w))^(-1/2)
    lambda_hat = E_{w | beta}[ 1/2 sum_k z_k / (1 + z_k) ]
    F          = -log E_{w ~ prior}[ det(I + 2 beta sigma^2 G(w))^(-1/2) ]

Every flat direction of a, which is what makes sampling all of (a, w) hard, is gone. Two methods
evaluate it: importance sampling from the prior of w while its weights are good (wide networks), and
tempered sequential Monte Carlo on the density of w when they are not (narrow networks at a large
beta, where w itself concentrates).

The caller gives the feature matrix T with ``T T^T = G``. The eigenvalues of G are taken as squared
singular values of T, never from G: that resolves eigenvalues down to ``eps^2`` of the largest one
instead of ``eps``, and so serves up to beta of about 1e26 instead of 1e13. Beyond, features in a
basis of modes can be given, whose columns have all of their own digits: then there is no limit.
"""

from sltprob.collapsed.answer import exact, exact_ladder
from sltprob.collapsed.common import PrecisionError
from sltprob.collapsed.density import GradedFeatures, Problem, ResolutionError
from sltprob.collapsed.importance import importance_sampling
from sltprob.collapsed.tempering import Stage, started_sampling, tempered_sampling
from sltprob.collapsed.walls import SublevelSet, sublevel_sets

__all__ = [
    "GradedFeatures",
    "PrecisionError",
    "Problem",
    "ResolutionError",
    "Stage",
    "SublevelSet",
    "exact",
    "exact_ladder",
    "importance_sampling",
    "started_sampling",
    "sublevel_sets",
    "tempered_sampling",
]
