"""What the study of the verdict's errors runs: models, samplers and settings, good and bad."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sltprob.calibration.families import catalogue

__all__ = [
    "SETTINGS",
    "TRAINING_MODELS",
    "OwnProgram",
    "Plan",
    "Setting",
    "is_training",
    "plans_of_program",
    "training_plans",
]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a run is made, right or wrong on purpose."""

    name: str
    # What it has to do with: ``good``, ``step``, ``short``, ``start``, ``density``, ``damage``,
    # ``precision``, ``edit`` (of the file) or ``mistake`` (in what was given)
    kind: str
    draws: int = 1000
    warmup: int = 200  # Draws after tuning, before the first that is kept
    init: str = "prior"  # of `sltprob.sample`
    step_factor: float = 1.0
    restart: bool = False
    start_factor: float = 1.0
    beta_factor: float = 1.0
    prior_factor: float = 1.0
    jacobian_factor: float = 1.0  # of `sltprob.calibration.altered.AlteredPosterior`
    # What is done to the draws afterwards: ``none``, ``dead``, ``freezing``, ``nan``, ``inf``
    damage: str = "none"
    dtype: str = "float64"
    # Whether the sampler runs as it is, with warm-up and all; nothing above is altered then
    plain: bool = False
    minimum_shift: float = 0.0  # of the L* that is given, in units of 1/beta
    edit: str = "none"  # of the file of a run at defaults (`sltprob.calibration.edits`)

    @property
    def is_of_file(self) -> bool:
        """Whether it is another run, changed afterwards."""
        return self.plain and (self.edit, self.damage) != ("none", "none")


SETTINGS = (
    Setting(name="good", kind="good"),
    Setting(name="good, 2000 draws", kind="good", draws=2000),
    Setting(name="good, 500 draws", kind="good", draws=500),
    Setting(name="good, from the optimum", kind="good", init="optimum"),
    Setting(name="step × 0.1", kind="step", step_factor=0.1),
    Setting(name="step × 0.1, from the prior", kind="step", step_factor=0.1, restart=True),
    Setting(name="step × 0.3, from the optimum", kind="step", step_factor=0.3, init="optimum",
            restart=True),
    Setting(name="step × 2", kind="step", step_factor=2.0),
    Setting(name="step × 4", kind="step", step_factor=4.0),
    Setting(name="step × 10", kind="step", step_factor=10.0),
    Setting(name="step × 30", kind="step", step_factor=30.0),
    Setting(name="step × 100", kind="step", step_factor=100.0),
    Setting(name="50 draws", kind="short", draws=50),
    Setting(name="150 draws", kind="short", draws=150),
    Setting(name="no warm-up", kind="start", warmup=0, restart=True),
    Setting(name="from far away, short warm-up", kind="start", warmup=10, restart=True,
            start_factor=10.0),
    Setting(name="beta × 0.8", kind="density", beta_factor=0.8),
    Setting(name="beta × 1.25", kind="density", beta_factor=1.25),
    Setting(name="no prior", kind="density", prior_factor=0.0),
    Setting(name="prior twice", kind="density", prior_factor=2.0),
    Setting(name="one dead chain", kind="damage", damage="dead"),
    Setting(name="one chain freezes", kind="damage", damage="freezing"),
    Setting(name="NaN in one chain", kind="damage", damage="nan"),
    Setting(name="one infinite draw", kind="damage", damage="inf"),
    Setting(name="good, both starts", kind="good", init="both"),
)  # fmt: skip

#: Models with exact answers, and an inverse temperature or two; the second where it tells more.
#: What they show may shape a check or a limit. Those that count are `families`.
TRAINING_MODELS: dict[str, tuple[float, ...]] = {
    "airy[slope=0.03]": (3e1, 3e3),
    "cusp[power=7]": (1e1, 1e3),
    "deep_linear[widths=2:3:2,rank=1]": (1e1, 1e3),
    "even_powers[powers=2:2:6]": (1e1, 1e3),
    "gaussian_mixture[mean_scale=0.5]": (3e1, 1e3),
    "network[width=4,activation=erf,inputs=circle]": (1e1, 1e3),
    "network[width=5,embedding_prior=normal[1]]": (1e1, 1e3),
    "normal_crossing[powers=3:1]": (1e1, 1e3),
    "pearcey[quadratic=0.1]": (3e1, 3e3),
    "radial[dimension=7,power=3]": (1e1, 1e3),
    "reduced_rank[input=3,hidden=2,output=2,rank=1]": (1e1, 1e3),
    "regular[dimension=12,spectrum=powers[12]]": (1e1, 1e3),
    "scalar_product[size=4]": (1e1, 1e3),
    "tanh_zero[width=12,modes=3]": (1e1, 1e3),
    "airy[slope=0.1]": (3e1, 3e3),
    "cusp[power=5]": (1e1, 1e3),
    "deep_linear[widths=3:2:2]": (1e1, 1e3),
    "even_powers[powers=2:4:8:8]": (1e1, 1e3),
    "gaussian_mixture[mean_scale=2.0]": (3e1, 1e3),
    "network[width=2,inputs=circle]": (1e1, 1e3),
    "network[width=6,activation=erf]": (1e1, 1e3),
    "normal_crossing[powers=2:2,prior=normal]": (1e1, 1e3),
    "pearcey[linear=0.05]": (3e1, 3e3),
    "radial[dimension=10]": (1e1, 1e3),
    "reduced_rank[input=2,hidden=2,output=2,rank=1]": (1e1, 1e3),
    "regular[dimension=30]": (1e1, 1e3),
    "scalar_product[size=3]": (1e1, 1e3),
    "tanh_zero[width=10,embedding_prior=normal[1]]": (1e1, 1e3),
    "network[width=3,activation=relu]": (1e1, 1e2),
    "normal_crossing[powers=1:1:1]": (1e1, 1e3),
    "normal_crossing[powers=2:1,prior=normal]": (1e1, 1e3),
    "reduced_rank[input=2,hidden=2,output=2]": (1e1, 1e3),
    "scalar_product[size=2]": (1e2, 1e4),
    "tanh_zero[width=2]": (1e1, 1e3),
    "two_phase": (1e2, 3e3),
}

_ALWAYS = ("sgld", "mala", "hmc")
_OF_ONE = ("sgld[batch_size=1]",)
_IN_TURN = (
    "random_walk",
    "preconditioned_sgld",
    "mclmc",
    "NeverRejects",
    "barker",
    "sgld[steps_per_draw=5]",
    "nuts",
    "sghmc",
)
# Models whose loss is a mean over data or inputs, so that a minibatch is not all of it.
_WITH_DATA = ("deep_linear", "gaussian_mixture", "network", "reduced_rank", "tanh_zero", "n=")
_PRECISION = (
    ("gaussian_mixture[mean_scale=0.5]", (1e5, 1e7)),
    ("gaussian_mixture[mean_scale=2.0]", (1e5, 1e7)),
    ("network[width=4,activation=erf,inputs=circle]", (1e7, 1e10)),
    ("network[width=6,activation=erf]", (1e7, 1e10)),
    ("reduced_rank[input=2,hidden=2,output=2]", (1e8, 1e12)),
    ("scalar_product[size=3]", (1e8, 1e12)),
    ("scalar_product[size=4]", (1e8, 1e12)),
    ("tanh_zero[width=2]", (1e8, 1e12)),
    ("tanh_zero[width=12,modes=3]", (1e7, 1e8)),
)


@dataclass(frozen=True)
class OwnProgram:
    """A program of the user's own, with its data."""

    program: str  # ``path.py:function``
    data: str
    betas: tuple[float, ...]

    @property
    def content(self) -> str:
        """Hash of the files: what was run on others is no part of the study."""
        digest = hashlib.sha256()
        for path in (self.program.rpartition(":")[0], self.data):
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run of the study."""

    model: str
    beta: float
    sampler: str
    setting: Setting
    seed: int
    own: OwnProgram | None = None

    @property
    def kind(self) -> str:
        """What the run has to do with: a minibatch of one is no good setting."""
        good = self.setting.kind == "good"
        return "minibatch" if good and self.sampler in _OF_ONE else self.setting.kind

    @property
    def compilation(self) -> tuple[object, ...]:
        """What runs must share to share one compilation, as far as it is known in advance."""
        found = None if self.own is not None else catalogue.case(self.model)
        setting = self.setting
        counts = (setting.draws, setting.warmup) if setting.plain else (0, 0)
        program = self.model if found is None else found.program.__name__
        return program, self.sampler, setting.dtype, setting.plain, counts

    @property
    def key(self) -> str:
        """A name that no other run has, fit for a file."""
        text = f"{self.model}-{self.beta:g}-{self.sampler}-{self.setting.name}-{self.seed}"
        if self.own is not None:
            text += f"-{self.own.content[:12]}"
        return "".join(c if c.isascii() and (c.isalnum() or c in "-.=") else "_" for c in text)


def is_training(model: str) -> bool:
    """Say whether limits may be chosen by what this model shows; the others only count."""
    return model in TRAINING_MODELS


def plans_of_program(name: str, own: OwnProgram) -> Iterator[Plan]:
    """List the runs of a program of the user's own."""
    for plan in _plans_of(name, own.betas, 0, small=True):
        yield replace(plan, own=own)


def training_plans(*, small: bool = False) -> Iterator[Plan]:
    """List the runs of the training models, those that share a compilation one after the other."""
    # A run is named by its place in these lists: what is new goes to their ends.
    for place, model in enumerate(TRAINING_MODELS):
        if not small or place % 14 == 2:
            yield from _plans_of(model, TRAINING_MODELS[model], place, small=small)
    for model, betas in () if small else _PRECISION:
        # Rounding keeps hmc from its acceptance there: it ends in tiny steps, half an hour a run.
        for sampler in ("sgld", "mala"):
            for beta in betas:
                setting = Setting(name="float32", kind="precision", dtype="float32")
                yield Plan(model=model, beta=beta, sampler=sampler, setting=setting, seed=0)


def _plans_of(model: str, betas: tuple[float, ...], place: int, *, small: bool) -> Iterator[Plan]:
    samplers = list(_ALWAYS)
    if not small:
        samplers.append(_IN_TURN[place % len(_IN_TURN)])
        if any(word in model for word in _WITH_DATA):
            samplers.extend(_OF_ONE)
    for turn, sampler in enumerate(samplers):
        for number, setting in enumerate(SETTINGS):
            beta = betas[(place + turn + number) % len(betas)]
            yield Plan(model=model, beta=beta, sampler=sampler, setting=setting, seed=number)
