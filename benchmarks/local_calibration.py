"""How often the verdict on a local run is wrong, and how often its interval has the truth.

Runs of many settings, good ones and such as are wrong on purpose, against exact answers: linear
regression (closed form), reduced-rank regression and deep linear networks (block Gibbs), small
tanh, relu and softmax networks (long HMC on all data in double precision). Limits may be chosen by
what the design models show; the test models only count, and the late ones were added when limits
and intervals were final. Runs are appended to a file of one line each, so that it goes on where it
was stopped.

    python benchmarks/local_calibration.py --references   # HMC, once; small, kept beside this file
    python benchmarks/local_calibration.py RUNS.jsonl     # makes the runs that are missing
    python benchmarks/local_calibration.py RUNS.jsonl --table
"""

import argparse
import functools
import itertools
import json
import sys
from pathlib import Path

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy.optimize

REFERENCES = Path(__file__).with_name("local_references.json")

#: Name: kind, sizes, rows, noise, and its part: whether limits may be chosen by it.
MODELS = {
    "linear 30": ("linear", (30, 1.0), 2000, 1.0, "design"),
    "linear 200": ("linear", (200, 2.0), 3000, 1.0, "test"),
    "reduced rank 6-3-5": ("deep", ((6, 3, 5), 1), 2000, 1.0, "design"),
    "reduced rank 10-6-8": ("deep", ((10, 6, 8), 3), 3000, 0.5, "test"),
    "deep linear 5-5-5-5": ("deep", ((5, 5, 5, 5), 2), 2000, 1.0, "design"),
    "deep linear 8-8-8": ("deep", ((8, 8, 8), 2), 3000, 1.0, "test"),
    "deep linear 6-6-6-6-6": ("deep", ((6, 6, 6, 6, 6), 1), 3000, 1.0, "test"),
    "reduced rank 9-5-7": ("deep", ((9, 5, 7), 2), 2500, 0.7, "test"),
    "deep linear 7-7-7-7": ("deep", ((7, 7, 7, 7), 3), 3000, 0.5, "test"),
    "tanh 2-5-1": ("tanh", (2, 5, 1), 400, 0.3, "design"),
    "tanh 4-8-2": ("tanh", (4, 8, 2), 800, 0.3, "test"),
    "relu 2-6-1": ("relu", (2, 6, 1), 400, 0.3, "design"),
    "relu 5-10-1": ("relu", (5, 10, 1), 1000, 0.3, "test"),
    "reduced rank 12-4-6": ("deep", ((12, 4, 6), 2), 2500, 1.0, "late"),
    "deep linear 9-4-7-5": ("deep", ((9, 4, 7, 5), 2), 3000, 0.7, "late"),
    "relu 3-5-4-1": ("relu", (3, 5, 4, 1), 600, 0.3, "late"),
    "tanh 3-4-1": ("tanh", (3, 4, 1), 500, 0.5, "late"),
    "softmax 12-4": ("softmax", (12, 4), 1500, 1.0, "late"),
    "softmax tanh 4-6-3": ("softmax tanh", (4, 6, 3), 1200, 1.0, "late"),
}
PARTS = ("design", "test", "late")
#: Kinds whose posterior only HMC knows.
NETWORKS = ("tanh", "relu", "softmax", "softmax tanh")
#: nβ and γ. Networks are held closer, so that HMC can be a reference: their posterior has one mode.
TEMPERATURES = ((100.0, 1.0), (300.0, 10.0), (1000.0, 100.0))
CLOSE = ((100.0, 10.0), (300.0, 30.0), (1000.0, 100.0))
SAMPLERS = ("sgld", "preconditioned_sgld", "sghmc", "sgnht")


def temperatures(name):
    """Give the temperatures at which a model is measured."""
    return CLOSE if MODELS[name][0] in NETWORKS else TEMPERATURES


def squares(apply):
    """Give half the squared error of every row."""

    def losses(params, batch):
        x, y = batch
        return 0.5 * jnp.sum((y - apply(params, x)) ** 2, axis=-1)

    return losses


def entropies(apply):
    """Give the cross entropy of every row."""

    def losses(params, batch):
        x, y = batch
        logits = apply(params, x)
        return jax.nn.logsumexp(logits, axis=-1) - jnp.take_along_axis(logits, y, axis=-1)[:, 0]

    return losses


def linear_rows(params, x):
    """Apply a product of matrices."""
    for w in params:
        x = x @ w.T
    return x


def network_of(activation):
    """Apply a network."""

    def apply(params, x):
        for layer in params[:-1]:
            x = activation(x @ layer["w"] + layer["b"])
        return x @ params[-1]["w"] + params[-1]["b"]

    return apply


LOSSES = {
    "linear": squares(linear_rows),
    "deep": squares(linear_rows),
    "tanh": squares(network_of(jnp.tanh)),
    "relu": squares(network_of(jax.nn.relu)),
    "softmax": entropies(network_of(jnp.tanh)),
    "softmax tanh": entropies(network_of(jnp.tanh)),
}


def make(name):
    """Make a model: its loss, trained parameters, and data."""
    kind, sizes, rows, noise, _ = MODELS[name]
    generator = np.random.default_rng(sum(map(ord, name)))
    if kind == "linear":
        dimension, decades = sizes
        x = generator.standard_normal((rows, dimension)) * np.logspace(0, -decades, dimension)
        y = noise * generator.standard_normal((rows, 1))
        y -= x @ np.linalg.lstsq(x, y, rcond=None)[0]
        return kind, [np.zeros((1, dimension))], (x, y)
    if kind == "deep":
        widths, rank = sizes
        x = np.linalg.qr(generator.standard_normal((rows, widths[0])))[0] * np.sqrt(rows)
        y = noise * generator.standard_normal((rows, widths[-1]))
        y -= x @ (x.T @ y) / rows
        y[:, :rank] += x[:, :rank]
        layers = [
            np.eye(b, a) * (np.arange(b) < rank)[:, None] for a, b in itertools.pairwise(widths)
        ]
        return kind, layers, (x, y)
    x = generator.standard_normal((rows, sizes[0]))
    if kind.startswith("softmax"):
        # Labels by chance, so that none of the weights wants to be infinite.
        score = np.sin(x @ generator.standard_normal((sizes[0], sizes[-1])))
        y = np.argmax(score + noise * generator.gumbel(size=score.shape), axis=1)[:, None]
    else:
        y = np.sin(x.sum(axis=1, keepdims=True)) * np.ones(sizes[-1])
        y = y + noise * generator.standard_normal(y.shape)
    params = [
        {"w": generator.standard_normal((a, b)) / np.sqrt(a), "b": 0.1 * np.ones(b)}
        for a, b in itertools.pairwise(sizes)
    ]
    # The parameters are kept, as training ends elsewhere in another precision.
    known = json.loads(REFERENCES.read_text()) if REFERENCES.exists() else {}
    if name in known:
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        return kind, unravel(jnp.asarray(known[name], flat.dtype)), (x, y)
    return kind, trained(LOSSES[kind], params, (x, y)), (x, y)


def trained(losses, params, data):
    """Find a minimum."""
    flat, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(jnp.asarray, params))

    @jax.jit
    def value_and_slope(flat):
        return jax.value_and_grad(lambda f: jnp.mean(losses(unravel(f), data)))(flat)

    def both(flat):
        value, slope = value_and_slope(flat)
        return float(value), np.asarray(slope, dtype=float)

    found = np.asarray(flat, dtype=float)
    for _ in range(3):
        found = scipy.optimize.minimize(
            both, found, jac=True, method="BFGS", options={"maxiter": 5000, "gtol": 1e-9}
        ).x
    return jax.tree.map(np.asarray, unravel(jnp.asarray(found)))


@functools.cache
def exact(name, nbeta, gamma, shift=0.0):
    """Give λ̂ at this nβ and γ, and its standard error."""
    from sltprob.models._gibbs import block_gibbs

    if MODELS[name][0] in NETWORKS:
        return tuple(json.loads(REFERENCES.read_text())[f"{name} {nbeta:g} {gamma:g}"])
    kind, params, (x, _) = make(name)
    if kind == "linear":
        curvatures, vectors = np.linalg.eigh(nbeta * x.T @ x / len(x))
        away = shift * (vectors.T @ direction(x))
        left = away * gamma / (curvatures + gamma)
        found = np.sum(curvatures / (curvatures + gamma) + curvatures * (left**2 - away**2))
        return 0.5 * float(found), 0.0
    # W = V/sqrt(γ) has the unit prior that block Gibbs takes.
    depth = len(params)
    found = block_gibbs(
        nbeta * gamma**-depth,
        np.linalg.multi_dot(params[::-1]) * gamma ** (depth / 2),
        prior_means=tuple(np.sqrt(gamma) * w for w in params),
        tolerance=0.002,
    )
    return found.lambda_hat, found.mcse


def has_exact(name, nbeta, gamma):
    """Say whether there is a reference."""
    known = MODELS[name][0] in ("linear", "deep")
    return known or f"{name} {nbeta:g} {gamma:g}" in json.loads(REFERENCES.read_text())


def direction(x):
    """Give a direction in which a minimum may be missed."""
    return np.ones(x.shape[1]) / np.sqrt(x.shape[1])


def find_references():
    """Sample the posteriors of networks by HMC on all data; long, in double precision."""
    import numpyro

    numpyro.enable_x64()
    import sltprob

    found = json.loads(REFERENCES.read_text()) if REFERENCES.exists() else {}
    for name, (kind, *_) in reversed(MODELS.items()):
        if kind not in NETWORKS:
            continue
        _, params, data = make(name)
        found[name] = [float(f"{x:.9g}") for x in jax.flatten_util.ravel_pytree(params)[0]]
        REFERENCES.write_text(json.dumps(found) + "\n")
        _, params, data = make(name)
        for nbeta, gamma in CLOSE:
            key = f"{name} {nbeta:g} {gamma:g}"
            if key in found:
                continue
            posterior = sltprob.local(
                LOSSES[kind], params, data, nbeta=nbeta, gamma=gamma, dtype="float64"
            )
            for draws in (1000, 4000):
                run = sltprob.sample(posterior, "hmc", draws=draws, warmup=400, keep="loss")
                estimate, verdict = sltprob.estimate(run), sltprob.diagnose(run)
                failed = [check.name for check in verdict.failed]
                print(key, estimate, verdict.status, failed, flush=True)
                known = verdict.status != "wrong" and estimate.mcse < 0.02 * estimate.value
                if known:
                    break
            if not known:
                continue  # no reference, and no runs
            found[key] = [round(estimate.value, 4), round(estimate.mcse, 4)]
            REFERENCES.write_text(json.dumps(found) + "\n")


def settings(name):
    """List what is run of a model: kind, sampler, temperature, options of the run."""
    known = temperatures(name)
    good = {"batch_size": 64, "draws": 1000, "warmup": 500}
    for sampler in SAMPLERS:
        for temperature in known:
            yield "default", sampler, temperature, good
        few = {"batch_size": 64, "draws": 50, "warmup": 250}
        for temperature in known if sampler == "sgld" else known[1:2]:
            yield "short", sampler, temperature, few
        for factor in (3, 10) if sampler == "sgld" else (4,):
            yield f"step x {factor}", sampler, known[1], {**good, "step": factor}
    yield "long", "sgld", known[0], {**good, "draws": 4000, "warmup": 1000}
    yield "long", "sgnht", known[0], {**good, "draws": 4000, "warmup": 1000}
    yield "batch of 4", "sgld", known[1], {**good, "batch_size": 4}
    yield "large step halved", "sgld", known[2], {
        **good, "target_rho": 0.25, "half_step": True,
    }  # fmt: skip
    yield "batch > n", "sgld", known[1], {**good, "batch_size": 10**6, "draws": 300}
    if MODELS[name][0] == "linear":
        for shift in (0.05, 0.2, 0.5):
            yield "no minimum", "sgld", known[1], {**good, "shift": shift}
        for size in (1e2, 1e4, 1e6):
            yield "loss + constant", "sgld", known[1], {**good, "constant": size}


def make_run(name, kind_of_run, sampler, temperature, options, steps):
    """Make one run, and put the truth beside what it says."""
    import sltprob

    nbeta, gamma = temperature
    options = dict(options)
    shift, constant = options.pop("shift", 0.0), options.pop("constant", 0.0)
    factor = options.pop("step", None)
    if factor is not None:
        options["step_size"] = factor * steps[name, sampler, temperature]
    kind, params, data = make(name)
    losses = LOSSES[kind]
    if constant:
        plain = losses

        def losses(params, batch):
            return plain(params, batch) + constant

    if shift:
        params = [params[0] + shift * direction(data[0])]
    posterior = sltprob.local(losses, params, data, nbeta=nbeta, gamma=gamma)
    run = sltprob.sample(posterior, sampler, **options)
    if kind_of_run == "default":
        steps[name, sampler, temperature] = run.attrs["step_size"]
    found, verdict = sltprob.estimate(run), sltprob.diagnose(run)
    truth, error = exact(name, nbeta, gamma, -shift)
    return {
        "model": name,
        "kind": kind_of_run,
        "sampler": sampler,
        "nbeta": nbeta,
        "gamma": gamma,
        "exact": truth,
        "error": error,
        "value": found.value,
        "mcse": found.mcse,
        "low": found.low,
        "high": found.high,
        "status": verdict.status,
        "checks": {c.name.partition("[")[0]: [c.value, c.limit, c.passed] for c in verdict.checks},
        "seconds": run.attrs["seconds_total"],
        "step": run.attrs["step_size"],
        "shift": shift,
        "constant": constant,
    }


def make_runs(path, models):
    """Make the runs that the file has not, and append them."""
    have = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {json.dumps(row["setting"]) for row in have}
    steps = {
        (row["model"], row["sampler"], (row["nbeta"], row["gamma"])): row["step"]
        for row in have
        if row["kind"] == "default"
    }
    for name in models:
        for each in settings(name):
            setting = json.loads(json.dumps([name, *each]))
            if json.dumps(setting) in done or not has_exact(name, *each[2]):
                continue
            row = {"setting": setting, **make_run(name, *each, steps)}
            with path.open("a") as handle:
                handle.write(json.dumps(row, default=float) + "\n")
            inside = row["low"] <= row["exact"] <= row["high"]
            failed = [check for check, (_, _, passed) in row["checks"].items() if not passed]
            print(
                f"{name:22} {each[0]:18} {each[1]:20} {each[2][0]:5g} {each[2][1]:4g} "
                f"{row['exact']:8.2f} {row['value']:8.2f} [{row['low']:.2f}, {row['high']:.2f}] "
                f"{inside!s:5} {row['status']:8} {','.join(failed)} {row['seconds']:.1f}",
                flush=True,
            )


def has_truth(row):
    """Say whether the interval has the exact value, give or take twice its own error."""
    slack = 2 * row["error"]
    return row["low"] - slack <= row["exact"] <= row["high"] + slack


def off(row):
    """Give how far λ̂ is from the exact value, relative."""
    return abs(row["value"] - row["exact"]) / abs(row["exact"])


def is_wrong(row):
    """Say whether a run misleads: no number, or one that is off by more than its interval says."""
    return not np.isfinite(row["value"]) or (not has_truth(row) and off(row) > 0.05)


def share(rows, test):
    """Write how many of some runs pass a test."""
    if not rows:
        return "–"
    count = sum(map(bool, map(test, rows)))
    return f"{100 * count / len(rows):.1f} % ({count} of {len(rows)})"


def table(rows):
    """Write the tables of the documentation."""
    lines = ["| | design models | test models | late models | all |", "|---|---|---|---|---|"]
    parts = [[row for row in rows if MODELS[row["model"]][-1] == part] for part in PARTS]
    parts.append(rows)

    def trusted(row):
        return row["status"] == "trusted"

    def good(row):
        return row["kind"] in ("default", "long") and has_truth(row) and off(row) < 0.1

    kinds = [
        ("exact value in the interval, of trusted runs", trusted, has_truth),
        ("wrong, of trusted runs", trusted, is_wrong),
        ("trusted, of wrong runs", is_wrong, trusted),
        ("not trusted, of good runs", good, lambda row: not trusted(row)),
        ("called wrong, of good runs", good, lambda row: row["status"] == "wrong"),
    ]
    for label, of, test in kinds:
        cells = [share([row for row in part if of(row)], test) for part in parts]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    for key in ("kind", "sampler", "model"):
        lines += [
            "",
            f"| {key} | runs | trusted | of them, exact value in the interval | off by, median "
            "| width, median |",
            "|---|---|---|---|---|---|",
        ]
        found = dict.fromkeys(row[key] for row in rows)
        for value in MODELS if key == "model" else found:
            own = [row for row in rows if row[key] == value]
            sure = [row for row in own if trusted(row)]
            error = np.median([off(row) for row in sure]) if sure else np.nan
            width = [(row["high"] - row["low"]) / abs(row["value"]) for row in sure]
            cells = [value, len(own), len(sure), share(sure, has_truth)]
            numbers = (error, np.median(width) if sure else np.nan)
            cells += [f"{100 * x:.1f} %" if np.isfinite(x) else "–" for x in numbers]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main():
    """Read the arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="?")
    parser.add_argument("--references", action="store_true")
    parser.add_argument("--models", help="comma-separated, for some of them")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.references:
        find_references()
    elif asked.runs is None:
        sys.exit("give a file for the runs, such as runs.jsonl, or --references")
    elif asked.table:
        print(table([json.loads(line) for line in asked.runs.read_text().splitlines()]))
    else:
        make_runs(asked.runs, asked.models.split(",") if asked.models else list(MODELS))


if __name__ == "__main__":
    main()
