"""A stored run, ready to be continued: its posterior, its sampler and what that has tuned."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from sltprob import draws as schema
from sltprob import models, samplers
from sltprob.diagnostics.base import Run
from sltprob.estimation import LambdaHat, estimate
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._frozen import Frozen, Tuned
from sltprob.samplers.base import Sampler
from sltprob.sampling import Progress, sample
from sltprob.tempering import temper

__all__ = ["StoredRun", "gradients_of", "lambda_hat_of"]

# βL may differ by this much: the trip through a file and back to unconstrained coordinates.
_LARGEST_DIFFERENCE = 0.01


@dataclass(frozen=True)
class StoredRun:
    """A stored run with what it takes to make more draws like it; made by `of`."""

    draws: xr.DataTree
    posterior: TemperedPosterior
    sampler: Sampler
    parameters: dict[str, np.ndarray]  # what its warm-up tuned

    @classmethod
    def of(
        cls,
        draws: xr.DataTree,
        posterior: TemperedPosterior | None = None,
        sampler: Sampler | None = None,
    ) -> StoredRun:
        """Make the posterior and the sampler of a run again."""
        schema.check(draws)
        if draws.attrs.get("local", 0):
            raise ValueError(
                "the run is around trained parameters, and what is probed is a tempered posterior; "
                "probe it by sampling again, with half_step=True, init='both' or another seed"
            )
        tuned = draws["constant_data"] if "constant_data" in draws.children else None
        if tuned is None or "site_dimension" not in tuned:
            raise ValueError(
                f"the run of {draws.attrs['model']} was not sampled by sltprob, so no more draws "
                "like it can be made; make one with sltprob.sample(...)"
            )
        parameters = {
            str(name): np.asarray(variable.values)
            for name, variable in tuned.data_vars.items()
            if name != "site_dimension"
        }
        stored = cls(
            draws,
            _posterior_of(draws) if posterior is None else posterior,
            samplers.get(str(draws.attrs["sampler"])) if sampler is None else sampler,
            parameters,
        )
        stored._check_sites()
        stored._check_losses()
        return stored

    @property
    def name(self) -> str:
        """The sampler as the run writes it."""
        return str(self.draws.attrs["sampler"])

    @property
    def chains(self) -> int:
        """Number of chains."""
        return int(self.draws["sample_stats"]["loss"].sizes["chain"])

    def values(self, draws: slice) -> dict[str, np.ndarray] | None:
        """Give stored values of the latent sites."""
        if "posterior" not in self.draws.children:
            return None
        group = self.draws["posterior"]
        return {
            name: np.asarray(group[name.replace("/", ".")].values)[:, draws]
            for name in self.posterior.structure.sites
        }

    def last(self) -> Any:
        """Give the last draw of every chain as a start, or the prior if there is none."""
        values = self.values(slice(-1, None))
        return "prior" if values is None else {name: v[:, 0] for name, v in values.items()}

    def again(
        self,
        what: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        repeats: int = 1,
        progress: Callable[[Progress], None] | None = None,
        **options: Any,
    ) -> xr.DataTree:
        """Run the sampler again without tuning it."""
        tuned = Tuned(self.parameters if parameters is None else parameters)
        # The rungs of a ladder are no parameters: it is made again.
        sampler = (
            self.sampler
            if "beta" in self.draws["constant_data"].coords
            else Frozen(base=self.sampler, tuned=tuned, repeats=repeats)
        )
        name = f"{self.name}, {what}"

        def report(state: Progress) -> None:
            if progress is not None:
                progress(dataclasses.replace(state, sampler=name))

        draws = sample(self.posterior, sampler, progress=report, **options)
        # It is this sampler that made the draws, held or not.
        draws.attrs |= {
            "sampler": self.name,
            "unadjusted": int(self.sampler.unadjusted),
            "probe": what,
        }
        return draws

    def _check_sites(self) -> None:
        """Compare the coordinates of the run with those of the posterior."""
        sampled = Run.of(self.draws).sites
        if sampled != self.posterior.dimensions:
            raise ValueError(
                f"the run was sampled in {sampled}, and the posterior has "
                f"{self.posterior.dimensions}; pass the posterior of the run, "
                "probe(draws, posterior=temper(...))"
            )

    def _check_losses(self) -> None:
        """Compare the stored losses of the last draws with those of the posterior."""
        values = self.values(slice(-1, None))
        if values is None:
            return
        stored = np.asarray(self.draws["sample_stats"]["loss"].values, dtype=float)[:, -1]
        found = np.array(
            [
                float(
                    self.posterior.loss(
                        self.posterior.unconstrain({n: v[chain, 0] for n, v in values.items()})
                    )
                )
                for chain in range(self.chains)
            ]
        )
        beta = float(self.posterior.beta)
        scale = _LARGEST_DIFFERENCE + 1e-6 * beta * np.abs(stored)
        different = beta * np.abs(found - stored) > scale
        if np.any(different):
            chain = int(np.argmax(different))
            raise ValueError(
                f"the loss at the last draw of the run is {stored[chain]:.6g}, and "
                f"{found[chain]:.6g} on this model and these data; pass those of the run"
            )


def lambda_hat_of(draws: xr.DataTree) -> LambdaHat:
    """Estimate lambda-hat, or the mean of βL where L* is not known."""
    minimum_loss = float(draws.attrs["minimum_loss"])
    return estimate(draws, minimum_loss=0.0 if math.isnan(minimum_loss) else minimum_loss)


def gradients_of(draws: xr.DataTree) -> float:
    """Count the gradients of a run, warm-up and all chains together."""
    sampled = float(draws["sample_stats"]["num_gradients"].sum())
    return sampled + float(draws.attrs["warmup_gradients"])


def _posterior_of(draws: xr.DataTree) -> TemperedPosterior:
    """Temper the model that a run names."""
    attributes = draws.attrs
    name = str(attributes["model"])
    try:
        model = models.get(name)
    except ValueError as error:
        raise ValueError(
            f"the run's model {name!r} is not one of sltprob's ({error}); pass it: "
            "probe(draws, posterior=temper(program, data, beta=...)), or on the command line "
            "--program path.py:function --data data.npz"
        ) from None
    if float(attributes.get("localization", 0.0)) > 0:
        raise ValueError(
            f"the run has localization={float(attributes['localization']):g}, and does not say "
            "around which point; pass probe(draws, posterior=temper(...))"
        )
    chart = str(attributes.get("reparameterise", "none"))
    posterior = temper(
        model,
        beta=float(attributes["beta"]),
        reparameterise=None if chart == "none" else chart,
    )
    return dataclasses.replace(
        posterior, minimum_loss=jnp.asarray(float(attributes["minimum_loss"]))
    )
