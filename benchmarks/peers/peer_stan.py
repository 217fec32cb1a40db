"""Stan's NUTS through PyStan, whose wheels bring Stan and its compiler along.

CmdStanPy installs, but CmdStan itself is a download of its own, which `make peers` does not make.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import _shared
import numpy as np
import problems
import stan

PROGRAMS = {
    "tanh": """
data { int h; int q; row_vector[q] nodes; vector[q] weights; real beta; }
parameters { vector<lower=-1, upper=1>[h] w; vector[h] a; }
transformed parameters { real loss = dot_product(weights, square((a' * tanh(w * nodes))')); }
model { a ~ std_normal(); target += -beta * loss; }
""",
    "gaussian": """
data { int d; vector[d] curvatures; real beta; }
parameters { vector[d] x; }
transformed parameters { real loss = 0.5 * dot_product(curvatures, square(x)); }
model { x ~ std_normal(); target += -beta * loss; }
""",
    "mixture": """
data { int k; array[k] vector[5] centres; vector[k] widths; vector[k] weights; real prior_scale; }
parameters { vector[5] x; }
transformed parameters {
  real loss;
  {
    vector[k] terms;
    for (i in 1:k)
      terms[i] = log(weights[i]) - 5 * log(widths[i])
                 - 0.5 * squared_distance(x, centres[i]) / square(widths[i]);
    loss = -log_sum_exp(terms);
  }
}
model { x ~ normal(0, prior_scale); target += -loss; }
""",
    "logistic": """
data { int n; int d; matrix[n, d] x; array[n] int y; }
parameters { vector[d] b; }
transformed parameters { real loss = -bernoulli_logit_glm_lpmf(y | x, 0, b) / n; }
model { b ~ normal(0, 5); target += -n * loss; }
""",
    "eight-schools": """
data { vector[8] y; vector[8] sigma; }
parameters { real mu; real<lower=0> tau; vector[8] z; }
transformed parameters { real loss = -normal_lpdf(y | mu + tau * z, sigma) / 8; }
model { mu ~ normal(0, 5); tau ~ cauchy(0, 5); z ~ std_normal(); target += -8 * loss; }
""",
}


def _data(problem: problems.Problem) -> dict[str, Any]:
    n = problem.numbers
    if problem.kind == "tanh":
        nodes, weights = list(n["nodes"]), list(n["weights"])
        size = {"h": n["width"], "q": len(nodes)}
        return size | {"nodes": nodes, "weights": weights, "beta": problem.beta}
    if problem.kind == "gaussian":
        return {"d": 50, "curvatures": list(n["curvatures"]), "beta": problem.beta}
    if problem.kind == "mixture":
        given = {name: n[name].tolist() for name in ("centres", "widths", "weights")}
        return given | {"k": len(n["widths"]), "prior_scale": float(n["prior"])}
    if problem.kind == "logistic":
        x, y = n["x"], n["y"]
        return {"n": len(y), "d": x.shape[1], "x": x.tolist(), "y": y.tolist()}
    return {"y": n["y"].tolist(), "sigma": n["sigma"].tolist()}


def run(job: dict[str, Any], clock: Any, heard: list[str]) -> dict[str, Any]:
    problem = problems.get(job["problem"])
    clock.mark("start")
    known = Path(os.environ["XDG_CACHE_HOME"]) / f"build-{problem.kind}"
    with known.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = stan.build(PROGRAMS[problem.kind], data=_data(problem), random_seed=job["seed"] + 1)
        clock.mark("compile")
        # What another job of this run has built is not built again, and is counted all the same.
        if known.exists():
            clock.parts["compile"] = float(known.read_text())
        else:
            known.write_text(str(clock.parts["compile"]))
    options: dict[str, Any] = {}
    if job["start"] == "one mode":
        options["init"] = [{"x": [0.1 * c] * 5} for c in range(job["chains"])]
    if job["step_size"]:
        options |= {"stepsize": job["step_size"], "adapt": {"engaged": False}}
        raise NotImplementedError("PyStan does not take a step size without adaptation")
    fit = built.sample(
        num_chains=job["chains"],
        num_samples=job["draws"],
        num_warmup=job["warmup"],
        **options,
    )
    clock.mark("sampling")
    share = job["warmup"] / (job["warmup"] + job["draws"])
    clock.move(clock.parts["sampling"] * share, "sampling", "tuning")

    def by_chain(name: str) -> np.ndarray:
        # The last axis has draws, chains side by side.
        return np.moveaxis(fit[name].reshape(-1, job["draws"], job["chains"]), (2, 1, 0), (0, 1, 2))

    loss = by_chain("loss")[..., 0]
    return {
        "version": stan.__version__,
        "loss": loss,
        "positions": _shared.flat(
            {name: by_chain(name) for name in fit.param_names if name != "loss"}
        ),
        "gradients": int(by_chain("n_leapfrog__").sum()),
        "divergences": int(by_chain("divergent__").sum()),
        "tuned": f"{job['warmup']} draws of warm-up",
        "shown": [],
    }
