"""From results.json to docs/peers.md and its pictures; nothing is measured here.

python page.py [--results results.json] [--out ../../docs/peers.md]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"

PEERS = {
    "sltprob": "sltprob",
    "blackjax": "BlackJAX by hand",
    "numpyro": "NumPyro",
    "pymc": "PyMC",
    "stan": "Stan",
    "devinterp": "devinterp",
}
METHODS = {
    "hmc": "HMC",
    "hmc, readout map": "HMC, readout map",
    "nuts": "NUTS",
    "mclmc": "MCLMC",
    "smc": "tempered SMC",
    "tempered_smc": "tempered SMC",
    "pymc": "NUTS",
    "nutpie": "NUTS",
    "exact": "exact",
    "sgld": "SGLD",
    "rmsprop_sgld": "RMSProp-SGLD",
    "sgnht": "SGNHT",
}
# How a method looks in the picture; colours are those of tools.
MARKERS = {
    "exact": "*",
    "HMC": "o",
    "HMC, readout map": "P",
    "NUTS": "s",
    "MCLMC": "X",
    "tempered SMC": "D",
    "SGLD": "^",
    "RMSProp-SGLD": "v",
    "SGNHT": "<",
}
FAULTS = ("step 10 times too large", "a chain that has not arrived", "one mode of two")
TITLES = {
    "tanh-1e2": "Flagship, β = 1e2",
    "tanh-1e4": "Flagship, β = 1e4",
    "tanh-1e6": "Flagship, β = 1e6",
    "deep-linear-432": "Deep linear network, 432 parameters",
    "deep-linear-10800": "Deep linear network, 10,800 parameters",
    "deep-linear-97200": "Deep linear network, 97,200 parameters",
    "digits": "Trained network, 112,770 parameters",
    "gaussian": "Gaussian, 50 dimensions, precisions 2 to 10,001",
    "logistic": "Logistic regression, 10 coefficients, 500 rows",
    "eight-schools": "Eight schools",
    "mixture": "Mixture of three components in 5 dimensions",
}


def name_of(job: dict[str, Any]) -> str:
    """Name a peer and its method."""
    peer = PEERS[job["peer"]]
    if job["peer"] == "devinterp":
        peer += " 1.3.2" if job["environment"] == "devinterp1" else " 2"
    if job["sampler"] == "nutpie":
        return "nutpie"
    return f"{peer}, {METHODS.get(job['label'], job['label'])}"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash where there is none."""
    if value is None:
        return "–"
    if abs(value) >= 10 ** max(digits, 3):
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def seconds(value: float | None) -> str:
    """Write seconds."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def percent(value: float | None) -> str:
    """Write a relative error."""
    if value is None:
        return "–"
    return f"{100 * value:+.1f} %" if abs(value) < 10 else f"× {1 + value:,.0f}"


def best(jobs: list[dict[str, Any]], key: str) -> dict[str, Any] | None:
    """Find who was within a limit first."""
    found = [job for job in jobs if not job.get("error") and job["within"][key] is not None]
    return min(found, key=lambda job: job["within"][key], default=None)


def table(jobs: list[dict[str, Any]]) -> list[str]:
    """Write the measures of one problem, the quickest first."""
    lines = [
        "| | s to 5 % | s to 2 % | λ̂ | off by | error / claimed | ESS | ESS/s | µs/gradient "
        "| start + compile, s | tuning, s | peak, MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]

    def order(job: dict[str, Any]) -> tuple[float, float]:
        if job.get("error"):
            return (3e9, 0.0)
        far = abs(job["off"]) if job.get("off") is not None else 1e6
        return (job["within"]["5"] if job["within"]["5"] is not None else 1e9 * (1 + far), far)

    for job in sorted(jobs, key=order):
        if job.get("error"):
            why = "no answer within the limit" if "limit" in job["error"] else job["error"]
            lines.append(f"| {name_of(job)} | – | – | {why} | | | | | | | | |")
            continue
        parts = job["parts"]
        cells = [
            name_of(job),
            seconds(job["within"]["5"]),
            seconds(job["within"]["2"]),
            number(job["lambda_hat"], 4) + _all_rows(job),
            "it is the reference" if job["sampler"] == "exact" else percent(job.get("off")),
            "–" if job["sampler"] == "exact" else number(job.get("z"), 2),
            number(job.get("ess"), 3),
            number(job.get("ess_per_second"), 3),
            number(job.get("us_per_gradient"), 2),
            seconds(parts["start"] + parts["compile"]),
            seconds(parts["tuning"]),
            f"{job['peak_mib']:,.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _all_rows(job: dict[str, Any]) -> str:
    if "lambda_hat_all_rows" not in job:
        return ""
    return f" (all rows: {number(job['lambda_hat_all_rows'], 4)}, {percent(job['off_all_rows'])})"


def ratios(jobs: list[dict[str, Any]]) -> list[str]:
    """Write who is first, and by how much, whoever it is."""
    lines = [
        "| work | first within 5 % | s | sltprob's first sampler | s | of it judging, s "
        "| best peer | s | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for problem, title in TITLES.items():
        here = [job for job in jobs if job["problem"] == problem and job["part"] == "work"]
        here = [job for job in here if job["cores"] == 1]
        ours = best([job for job in here if job["peer"] == "sltprob"], "5")
        sampled = [j for j in here if j["peer"] == "sltprob" and j["sampler"] != "exact"]
        ours_sampled = best(sampled, "5")
        theirs = best([job for job in here if job["peer"] != "sltprob"], "5")
        first = best(here, "5")

        def cell(job: dict[str, Any] | None) -> str:
            return f"{name_of(job)} | {seconds(job['within']['5'])}" if job else "nobody | –"

        judging = seconds(ours_sampled["parts"]["judging"]) if ours_sampled else "–"
        if ours_sampled and theirs:
            ratio = f"{ours_sampled['within']['5'] / theirs['within']['5']:.2f}"
        else:
            ratio = "no peer is" if ours_sampled or ours else "no run of sltprob is"
        lines.append(
            f"| {title} | {cell(first)} | {cell(ours_sampled)} | {judging} "
            f"| {cell(theirs)} | {ratio} |"
        )
    return [*lines, ""]


def faults(jobs: list[dict[str, Any]]) -> list[str]:
    """Write who says that a wrong run is wrong."""
    lines = []
    for fault in FAULTS:
        lines += [
            f"**{fault[0].upper()}{fault[1:]}**",
            "",
            "| | work | λ̂ | exact | off by | error / claimed | R-hat of the loss "
            "| largest R-hat of a parameter | does it say so? |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for job in (job for job in jobs if job["fault"] == fault):
            if job.get("error"):
                said = "yes, it stops: " + job["error"].replace("|", "/")
                lines.append(f"| {name_of(job)} | {job['problem']} | – | | | | | | {said} |")
                continue
            said = job["says"]
            if job["peer"] == "sltprob":
                checks = ", ".join(f"`{check}`" for check in job["failed"][:3])
                said = f"**{said}**: {job['verdict']}{', ' if checks else ''}{checks}"
            cells = [
                name_of(job),
                job["problem"],
                number(job["lambda_hat"], 4),
                number(job["truth"], 4),
                percent(job.get("off")),
                number(job.get("z"), 2),
                number(job.get("rhat"), 4),
                number(job.get("rhat_of_parameters"), 4),
                said,
            ]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return lines


def all_cores(jobs: list[dict[str, Any]]) -> list[str]:
    """Compare one core and all of them, by the clock."""
    lines = [
        "| | work | ESS/s by the clock, one core | all cores | ratio |",
        "|---|---|---|---|---|",
    ]
    by_name = {job["name"]: job for job in jobs}
    for job in (job for job in jobs if job["cores"] > 1):
        single = by_name.get(job["name"].removesuffix("--cores"))
        if job.get("error") or single is None or single.get("error"):
            continue
        one, two = single.get("ess_per_second_clock"), job.get("ess_per_second_clock")
        if one and two:
            lines.append(
                f"| {name_of(job)} | {job['problem']} | {number(one)} | {number(two)} "
                f"| {two / one:.2f} |"
            )
    return [*lines, ""]


def pictures(jobs: list[dict[str, Any]], folder: Path) -> None:
    """Draw seconds and errors of all work, and how wrong the silent ones are."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams.update({"svg.hashsalt": "peers", "svg.fonttype": "none", "font.size": 9})
    colours = dict(
        zip(PEERS, ("#0a5c8f", "#d97706", "#6b7280", "#7c3aed", "#b91c1c", "#15803d"), strict=True)
    )
    figure, axes = plt.subplots(4, 3, figsize=(11, 12.5), sharey=True, constrained_layout=True)
    for place, (problem, title) in zip(axes.flat, TITLES.items(), strict=False):
        here = [j for j in jobs if j["problem"] == problem and j["part"] == "work"]
        for job in here:
            if job.get("error") or job["cores"] > 1 or job.get("off") is None:
                continue
            # Of devinterp the better of its two numbers.
            best_of = min(abs(job["off"]), abs(job.get("off_all_rows", job["off"])))
            off = max(100 * best_of, 0.02)
            colour = colours[job["peer"]]
            marker = MARKERS[METHODS[job["label"]]]
            place.plot(
                job["seconds"], off, marker, color=colour, ms=8, alpha=0.8, mec="white", mew=0.7
            )
        place.axhspan(0.01, 5, color="#0a5c8f", alpha=0.07)
        place.axhline(2, color="#0a5c8f", lw=0.6, ls=":")
        place.set(
            xscale="log",
            yscale="log",
            title=title.partition(", precisions")[0].partition(", 10 c")[0],
            xlim=(1, 300),
            ylim=(0.01, 300),
        )
    axes.flat[-1].axis("off")
    shown = axes.flat[-1]
    names = PEERS | {"pymc": "PyMC, nutpie"}
    tools = [shown.plot([], [], "s", color=c, label=names[peer])[0] for peer, c in colours.items()]
    methods = [
        shown.plot([], [], marker, color="#374151", label=name)[0]
        for name, marker in MARKERS.items()
    ]
    shown.add_artist(shown.legend(handles=tools, loc="center left", frameon=False))
    shown.legend(handles=methods, loc="center right", frameon=False)
    figure.supxlabel("seconds of one core, from the command to the end")
    figure.supylabel("|λ̂ / exact - 1|, %; shaded: within 5 %")
    figure.savefig(folder / "peers.svg", metadata={"Date": None})
    plt.close(figure)


def versions(results: dict[str, Any]) -> str:
    """Name all versions."""
    shown = {"pymc": "PyMC", "numpyro": "NumPyro", "blackjax": "BlackJAX", "stan": "PyStan"}
    names = [f"{shown.get(k, k)} {v}" for k, v in results["versions"].items() if k[:3] != "dev"]
    devinterp = [v for k, v in results["versions"].items() if k.startswith("devinterp")]
    return ", ".join([*names, *(f"devinterp {v}" for v in devinterp)])


def write(results: dict[str, Any]) -> str:
    """Write the page."""
    jobs = results["jobs"]
    cores = results["machine"]["cores"]
    filled = {
        "date": results["date"],
        "versions": versions(results),
        "machine": f"{cores} cores ({results['machine']['processor']})",
        "minutes": f"{results['minutes']:.0f}",
        "count": str(len(jobs)),
        "ratios": "\n".join(ratios(jobs)),
        "words": (HERE / "words.md").read_text().rstrip(),
        "faults": "\n".join(faults(jobs)),
        "cores": "\n".join(all_cores(jobs)),
    }
    lines = []
    for problem, title in TITLES.items():
        here = [j for j in jobs if j["problem"] == problem and j["part"] == "work"]
        lines += [f"### {title}", "", _exact(problem), ""]
        lines += table([job for job in here if job["cores"] == 1])
    filled["tables"] = "\n".join(lines)
    text = (HERE / "page.md").read_text()
    for name, value in filled.items():
        text = text.replace(f"<!-- {name} -->", value)
    return text.rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--out", type=Path, default=DOCS / "peers.md")
    asked = parser.parse_args()
    results = json.loads(asked.results.read_text())
    pictures(results["jobs"], asked.out.parent / "pictures")
    asked.out.write_text(write(results))
    print(f"Page: {asked.out}")


def _exact(problem: str) -> str:
    known = json.loads((HERE / "references.json").read_text())[problem]
    error = f" ± {known['mcse']:.1g}" if known["mcse"] > 1e-5 else ""
    return f"λ̂ = {known['lambda_hat']:.6g}{error}, by {known['method']}."


if __name__ == "__main__":
    main()
