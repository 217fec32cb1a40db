"""devinterp 1.3.2 and 2, as their documentation runs them on a CPU.

Version 2 samples language models by its own words; its documented `loss_fn` takes rows of numbers
as well, if "tokens" are the numbers of rows. Neither looks for its step: `lr` is the largest of
a decade's steps (1, 3, 10, …) at which the loss trace neither climbs without end nor is NaN, found
by hand beforehand, as its guide says; that search is not counted.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import problems
import torch
from torch import nn


class DeepLinear(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*layer.shape[::-1], bias=False) for layer in layers)
        for module, layer in zip(self.layers, layers, strict=True):
            module.weight.data = torch.tensor(layer)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Digits(nn.Module):
    def __init__(self, arrays):
        super().__init__()
        widths = (64, 256, 360, 10)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        for number, layer in enumerate(self.layers):
            layer.weight.data = torch.tensor(arrays[f"{number}.weight"])
            layer.bias.data = torch.tensor(arrays[f"{number}.bias"])

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


def run(job: dict[str, Any], clock: Any, heard: list[str]) -> dict[str, Any]:
    torch.set_num_threads(job["cores"])
    version = importlib.metadata.version("devinterp")
    problem = problems.get(job["problem"])
    if problem.kind == "digits":
        arrays, (x, y) = problems.digits()
        model, loss = (
            Digits(arrays),
            lambda out, y: nn.functional.cross_entropy(out, y, reduction="none"),
        )
    else:
        layers, (x, y) = problems.deep_linear(problem.numbers["size"])
        model, loss = DeepLinear(layers), lambda out, y: 0.5 * ((out - y) ** 2).sum(-1)
    data = torch.tensor(x), torch.tensor(y)
    import devinterp.optim  # noqa: F401

    clock.mark("start")
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        found = (_two if version.startswith("2") else _one)(job, problem, model, loss, data, clock)
    return {"version": version, "shown": [], "chains": job["chains"], **found}


def _one(job, problem, model, loss, data, clock):
    from devinterp.optim import SGLD, SGNHT
    from devinterp.optim.sgmcmc import SGMCMC
    from devinterp.slt.sampler import estimate_learning_coeff_with_summary
    from torch.utils.data import DataLoader, TensorDataset

    methods = {"sgld": SGLD, "rmsprop_sgld": SGMCMC.rmsprop_sgld, "sgnht": SGNHT}
    options = {"lr": job["lr"] * (job["step_factor"] or 1.0), "nbeta": problem.beta}
    if job["sampler"] != "sgnht":  # it has no localization
        options["localization"] = problem.numbers["gamma"]
    loader = DataLoader(TensorDataset(*data), batch_size=job["batch_size"], shuffle=True)
    begin = clock.now()
    result = estimate_learning_coeff_with_summary(
        model,
        loader,
        evaluate=lambda model, batch: loss(model(batch[0]), batch[1]).mean(),
        sampling_method=methods[job["sampler"]],
        optimizer_kwargs=options,
        num_draws=job["draws"],
        num_chains=job["chains"],
        num_burnin_steps=job["warmup"],
        num_steps_bw_draws=job["steps_per_draw"],
        seed=job["seed"],
        device="cpu",
        verbose=False,
        online=False,
    )
    clock.mark("sampling")
    used = clock.now() - begin
    steps = job["warmup"] + job["draws"] * job["steps_per_draw"]
    clock.move(used * job["warmup"] / steps, "sampling", "tuning")
    trace, value = np.asarray(result["loss/trace"], float), float(result["llc/mean"])
    return {
        "lambda_hat": value,
        "minimum_loss": float(trace.mean()) - value / problem.beta,
        "mcse": float(result["llc/std"]),
        "loss": trace,
        "gradients": job["chains"] * job["draws"] * job["steps_per_draw"],
        "tuned": f"lr={job['lr']:g} by hand, {job['warmup']} steps of burn-in",
    }


def _two(job, problem, model, loss, data, clock):
    import xarray as xr
    from datasets import Dataset
    from devinterp.slt.llc import llc

    x, y = data
    rows = Dataset.from_dict({"input_ids": [[i, i] for i in range(len(x))]}).with_format("torch")

    def loss_fn(model, input_ids):
        chosen = input_ids[:, 0]
        return loss(model(x[chosen]), y[chosen])[:, None]

    begin = clock.now()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.zarr"
        result = llc(
            model,
            rows,
            {},
            lr=job["lr"] * (job["step_factor"] or 1.0),
            n_beta=problem.beta,
            loss_fn=loss_fn,
            num_chains=job["chains"],
            num_draws=job["draws"],
            batch_size=job["batch_size"],
            num_burnin_steps=job["warmup"],
            num_steps_bw_draws=job["steps_per_draw"],
            localization=problem.numbers["gamma"],
            sampling_method={"sgld": "sgmcmc_sgld"}.get(job["sampler"], job["sampler"]),
            output_path=path,
            device="cpu",
        )
        trace = np.asarray(result["loss_trace"], float)
        assert isinstance(result, xr.Dataset)
    clock.mark("sampling")
    used = clock.now() - begin
    # Its λ̂ is the mean over all steps, burn-in included.
    steps = trace.shape[1]
    clock.move(used * job["warmup"] / steps, "sampling", "tuning")
    trace = trace[:, job["warmup"] :]
    count = trace.shape[1] // job["steps_per_draw"] * job["steps_per_draw"]
    trace = trace[:, :count].reshape(len(trace), -1, job["steps_per_draw"]).mean(-1)
    return {
        "lambda_hat": float(result["llc_mean"]),
        "mcse": float(result["llc_std"]),
        "minimum_loss": float(result["init_loss"]),
        "loss": trace,
        "gradients": job["chains"] * count,
        "tuned": f"lr={job['lr']:g} by hand, {job['warmup']} steps of burn-in",
    }
