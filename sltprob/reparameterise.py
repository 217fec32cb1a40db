"""Coordinates in which the readout of a network is a standard normal, whatever its features.

A loss that is quadratic in a site a has, given the other sites w, a Gaussian posterior of a. Its
coordinates z of a = m(w) + A(w) z, A Aᵀ = (I/σ² + 2βG(w))⁻¹, are N(0, I) and independent of w:
the stiffest directions of the whole posterior are gone, for any sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer.reparam import Reparam

from sltprob.whitening import colour, expected_misfit, log_evidence, whiten

__all__ = ["ReadoutReparam", "base_name", "reparameterised"]


def base_name(site: str) -> str:
    """Name the site that takes the place of another, by NumPyro's convention."""
    return f"{site}_base"


class ReadoutReparam(Reparam):
    """Sample a readout as ``a_base`` ~ N(0, I), and make ``a`` deterministic.

    A factor ``a_evidence`` has the log of what the readout integrates to, so that the sampled
    sites with the factor have the whole posterior density: the prior of the other sites, the
    normal of ``a_base``, and the evidence. The likelihood must not be counted again.

    References
    ----------
    .. [1] M. I. Gorinova, D. Moore, M. D. Hoffman, "Automatic reparameterisation of probabilistic
       programs", ICML 2020.
    .. [2] O. Papaspiliopoulos, G. O. Roberts, M. Sköld, "A general framework for the
       parametrization of hierarchical models", Statistical Science 22 (2007) 59-73.
    """

    def __init__(
        self, features: Any, target: Any, precisions: Any, localization: Any, center: Any
    ) -> None:
        self.features = features
        self.target = target
        self.roots = jnp.sqrt(precisions)
        self.localization = localization
        self.center = center

    def __call__(self, name: str, fn: Any, obs: Any) -> tuple[None, Any]:
        """Replace a site."""
        assert obs is None
        b, t, mean, scale, log_overlap = self._regression(fn)
        standard = dist.Normal(0.0, 1.0).expand(fn.shape()).to_event(1)
        z = numpyro.sample(base_name(name), standard)
        numpyro.factor(f"{name}_evidence", log_evidence(b, t) + log_overlap)
        return None, mean + scale * colour(b, t, z)

    def base(self, fn: Any, value: Any) -> Any:
        """Map a value of the site to the coordinates that replace it."""
        b, t, mean, scale, _ = self._regression(fn)
        return whiten(b, t, (value - mean) / scale)

    def expected_energy(self, fn: Any) -> Any:
        """Give E[βL] over the site, given all other sites."""
        b, t, _, _, _ = self._regression(fn)
        return 0.5 * expected_misfit(b, t)

    def _regression(self, fn: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Give B and t in units of the prior times the localization, and that prior."""
        normal, _, _ = self._unwrap(fn)
        loc = jnp.broadcast_to(normal.loc, fn.shape())
        shrink = 1 / (1 + self.localization * normal.scale**2)
        mean = loc + (1 - shrink) * (self.center - loc)
        scale = jnp.broadcast_to(normal.scale * jnp.sqrt(shrink), fn.shape())
        distance = self.localization * shrink * (self.center - loc) ** 2
        log_overlap = 0.5 * jnp.sum(jnp.log(shrink) - distance)
        b = self.roots[:, None] * self.features * scale[None, :]
        t = self.roots * (self.target - self.features @ mean)
        return b, t, mean, scale, log_overlap


class reparameterised(handlers.reparam):
    """Replace the readout of a program by its base, given what was sampled before it."""

    def __init__(
        self,
        program: Callable[..., Any],
        name: str,
        make: Callable[[Mapping[str, Any]], ReadoutReparam],
    ) -> None:
        self._values: dict[str, Any] = {}

        def choose(site: Mapping[str, Any]) -> ReadoutReparam | None:
            return make(self._values) if site["name"] == name else None

        super().__init__(program, config=choose)

    def postprocess_message(self, msg: dict[str, Any]) -> None:
        """Remember what was sampled."""
        if msg["type"] == "sample" and not msg["is_observed"]:
            self._values[msg["name"]] = msg["value"]
