"""The list of jobs: which peer does which work, with which settings and limits."""

from __future__ import annotations

from typing import Any

#: What a job has if nothing else is said; seconds of the processor.
DEFAULTS: dict[str, Any] = {
    "chains": 4,
    "draws": 1000,
    "warmup": 1000,
    "block": 1000,
    "limit": 60,
    "cores": 1,
    "seed": 0,
    "start": None,
    "step_size": None,
    "step_factor": None,
    "chains_at_once": False,
    "rao_blackwell": False,
    "reparameterise": None,
    "leapfrog": 16,
    "particles": 1000,
    "part": "work",
    "fault": None,
}

#: Left out, so that the whole stays within its minutes.
LEFT_OUT = {
    "tanh-1e4--stan--nuts",
    "tanh-1e6--numpyro--nuts",
    "mixture--blackjax--mclmc",
    "logistic--blackjax--mclmc",
    "digits--devinterp--devinterp1--sgnht",
    "mixture--pymc--pymc",
    "mixture--blackjax--hmc",
    "tanh-1e4--blackjax--mclmc--a-chain-that-has-not-arrived",
}

DENSITIES = ("gaussian", "logistic", "eight-schools", "mixture")


def job(peer: str, sampler: str, problem: str, **options: Any) -> dict[str, Any]:
    """Make a job, with a name of its own."""
    unknown = set(options) - set(DEFAULTS) - _LOCAL - {"label", "environment"}
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: no such setting of a job")
    made = DEFAULTS | {"peer": peer, "sampler": sampler, "problem": problem} | options
    made.setdefault("label", sampler)
    extra = [made["fault"] or "", "cores" if made["cores"] > 1 else ""]
    shown = made["label"].replace(" ", "_").replace(",", "")
    environment = made.get("environment", "")
    parts = [problem, peer, environment if peer == "devinterp" else "", shown, *extra]
    made["name"] = "--".join(part.replace(" ", "-") for part in parts if part)
    return made


_LOCAL = {"batch_size", "steps_per_draw", "lr", "half_step", "target_mcse"}


def jobs() -> list[dict[str, Any]]:
    """List all jobs, the longest first."""
    made = [*_flagship(), *_deep_linear(), *_digits(), *_densities(), *_faults(), *_all_cores()]
    made = [one for one in made if one["name"] not in LEFT_OUT]
    return sorted(made, key=lambda one: -one["limit"])


def _flagship() -> list[dict[str, Any]]:
    made = []
    for beta in ("1e2", "1e4", "1e6"):
        problem = f"tanh-{beta}"
        made.append(job("sltprob", "exact", problem))
        made.append(job("sltprob", "hmc", problem, warmup=500, limit=90, rao_blackwell=True))
        made.append(
            job(
                "sltprob",
                "hmc",
                problem,
                label="hmc, readout map",
                reparameterise="readout",
                warmup=500,
                rao_blackwell=True,
            )
        )
        leapfrog = {"1e2": 32, "1e4": 64, "1e6": 256}[beta]
        made.append(job("blackjax", "hmc", problem, leapfrog=leapfrog, block=100, limit=70))
        if beta != "1e6":
            made.append(job("blackjax", "mclmc", problem, warmup=4000, draws=20000, block=2000))
            made.append(job("blackjax", "smc", problem, leapfrog=16, particles=500, limit=70))
        # Trees at their limit of 1,023 steps: what fits into the limit is what it gives.
        limit = {"limit": 50, "warmup": 200, "block": 50}
        made.append(job("numpyro", "nuts", problem, **limit))
        if beta != "1e6":
            made.append(job("pymc", "nutpie", problem, limit=90, warmup=150, draws=150))
            made.append(job("stan", "nuts", problem, limit=150, warmup=150, draws=150))
    return made


def _deep_linear() -> list[dict[str, Any]]:
    made = []
    small = "deep-linear-432"
    made.append(job("blackjax", "hmc", small, leapfrog=32, block=250))
    # Steps of devinterp by hand: see peer_devinterp.
    steps = {
        432: {"sgld": 3e-5, "rmsprop_sgld": 3e-6, "sgnht": 3e-7},
        10_800: {"sgld": 3e-5, "rmsprop_sgld": 3e-6, "sgnht": 3e-7},
        97_200: {"sgld": 1e-5, "rmsprop_sgld": 3e-6, "sgnht": 3e-7},
    }
    ours = {
        432: {"draws": 2000, "warmup": 500},
        10_800: {"draws": 1000, "warmup": 500, "chains": 2},
        97_200: {"draws": 250, "warmup": 250, "chains": 2},
    }
    # What who wants 5 % writes: there is no running mean of which one could tell when it was there.
    wanted = {"batch_size": 512, "limit": 80, "target_mcse": "5%", "half_step": True}
    theirs = {
        432: {"draws": 2000, "warmup": 1000},
        10_800: {"draws": 1000, "warmup": 1000, "chains": 2},
        97_200: {"draws": 600, "warmup": 600, "chains": 2},
    }
    for size, options in ours.items():
        problem = f"deep-linear-{size}"
        made.append(job("sltprob", "exact", problem))
        made.append(job("sltprob", "sgld", problem, **wanted, **options))
        # Version 2 has no SGNHT, and is the same sampler as version 1 otherwise.
        left_out = ("sgnht",) if size == 432 else ("sgnht", "rmsprop_sgld")
        for method, lr in steps[size].items():
            for environment in ("devinterp1", "devinterp2"):
                if environment == "devinterp2" and method in left_out:
                    continue
                made.append(
                    job(
                        "devinterp",
                        method,
                        problem,
                        environment=environment,
                        lr=lr,
                        batch_size=512,
                        steps_per_draw=1,
                        limit=80,
                        **theirs[size],
                    )
                )
    return made


def _digits() -> list[dict[str, Any]]:
    ours = {"draws": 500, "warmup": 300, "batch_size": 128, "limit": 80}
    made = [job("sltprob", "sgld", "digits", **ours)]
    theirs = {"draws": 1500, "warmup": 1000, "batch_size": 128, "steps_per_draw": 1}
    for method, lr in {"sgld": 3e-5, "rmsprop_sgld": 3e-6, "sgnht": 1e-6}.items():
        made.append(job("devinterp", method, "digits", environment="devinterp1", lr=lr, **theirs))
        if method == "sgld":
            made.append(
                job("devinterp", method, "digits", environment="devinterp2", lr=lr, **theirs)
            )
    return made


def _densities() -> list[dict[str, Any]]:
    made = []
    for problem in DENSITIES:
        made.append(job("sltprob", "hmc", problem, warmup=500))
        made.append(job("blackjax", "hmc", problem))
        if problem in ("gaussian", "eight-schools"):
            made.append(job("blackjax", "nuts", problem))
        else:
            made.append(job("blackjax", "mclmc", problem, warmup=10000, draws=10000, block=10000))
        made.append(job("blackjax", "smc", problem))
        made.append(job("numpyro", "nuts", problem))
        made.append(job("pymc", "pymc", problem))
        made.append(job("pymc", "nutpie", problem))
        if problem != "gaussian":  # a minute or two of the C++ compiler for every program
            made.append(job("stan", "nuts", problem, limit=150))
    made.append(job("sltprob", "tempered_smc", "mixture", warmup=500))
    return made


def _faults() -> list[dict[str, Any]]:
    """Break the same three things with every peer that lets one."""
    made = []

    def add(fault: str, *given: Any, **options: Any) -> None:
        made.append(job(*given, part="fault", fault=fault, **options))

    step = "step 10 times too large"
    add(step, "sltprob", "sgld", "gaussian", step_factor=10.0, warmup=500)
    add(step, "sltprob", "hmc", "gaussian", step_factor=10.0, warmup=500)
    add(
        step,
        "sltprob",
        "sgld",
        "deep-linear-432",
        batch_size=512,
        draws=500,
        warmup=200,
        step_factor=10.0,
    )
    add(
        step,
        "blackjax",
        "mclmc",
        "gaussian",
        warmup=10000,
        draws=10000,
        block=10000,
        step_factor=10.0,
    )
    add(step, "blackjax", "hmc", "gaussian", step_factor=10.0)
    add(step, "numpyro", "nuts", "gaussian", step_factor=10.0)
    for environment in ("devinterp1", "devinterp2"):
        add(
            step,
            "devinterp",
            "sgld",
            "deep-linear-432",
            environment=environment,
            lr=3e-5,
            step_factor=10.0,
            batch_size=512,
            steps_per_draw=1,
            draws=2000,
            warmup=1000,
        )
    early = "a chain that has not arrived"
    short = {"draws": 200, "warmup": 100}
    add(early, "sltprob", "sgld", "deep-linear-10800", batch_size=512, chains=2, **short)
    for environment in ("devinterp1", "devinterp2"):
        add(
            early,
            "devinterp",
            "sgld",
            "deep-linear-10800",
            environment=environment,
            lr=1e-5,
            batch_size=512,
            steps_per_draw=1,
            chains=2,
            draws=1000,
            warmup=500,
        )
    cold = {"start": "optimum", "warmup": 200, "draws": 200, "block": 100}
    add(early, "sltprob", "hmc[num_steps=16]", "tanh-1e4", label="hmc", **cold)
    add(early, "blackjax", "hmc", "tanh-1e4", **cold)
    add(
        early,
        "blackjax",
        "mclmc",
        "tanh-1e4",
        **cold | {"warmup": 1000, "draws": 1000, "block": 500},
    )
    add(early, "numpyro", "nuts", "tanh-1e4", **cold | {"warmup": 50, "draws": 50, "block": 50})
    mode = {"start": "one mode"}
    missed = "one mode of two"
    add(missed, "sltprob", "hmc", "two-modes", warmup=500, **mode)
    add(missed, "blackjax", "hmc", "two-modes", **mode)
    add(missed, "blackjax", "mclmc", "two-modes", warmup=10000, draws=10000, block=10000, **mode)
    add(missed, "numpyro", "nuts", "two-modes", **mode)
    add(missed, "pymc", "pymc", "two-modes", **mode)
    add(missed, "pymc", "nutpie", "two-modes", **mode)
    add(missed, "stan", "nuts", "two-modes", limit=149, **mode)
    return made


def _all_cores() -> list[dict[str, Any]]:
    """Give the fastest of each kind all cores."""
    problem, both = "logistic", {"cores": 2}
    cold = {"warmup": 500, "limit": 90, "rao_blackwell": True}
    return [
        job("sltprob", "hmc", "tanh-1e6", **cold, **both),
        job("blackjax", "hmc", "tanh-1e6", leapfrog=256, block=100, limit=70, **both),
        job("sltprob", "hmc", problem, warmup=500, **both),
        job("blackjax", "hmc", problem, block=250, **both),
        job("numpyro", "nuts", problem, chains_at_once=True, **both),
        job("pymc", "nutpie", problem, **both),
        job("pymc", "pymc", problem, **both),
        job("stan", "nuts", problem, **both),
    ]
