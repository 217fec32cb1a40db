"""Put what a campaign has counted into docs/reliability.md: `make faults` runs both.

A campaign may have been made in pieces, in one file or several, if all are of one commit.
"""

import json
import os
import platform
import sys
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

BEGIN, END = "<!-- counts: make faults writes what is between these lines -->", "<!-- /counts -->"


def main(*paths):
    *counted, page = paths
    texts = [Path(name).read_text(encoding="utf-8") for name in counted]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    commits = sorted({line["commit"] for line in lines})
    if len(commits) != 1:
        sys.exit(f"reliability: the attempts are of {len(commits)} commits, {', '.join(commits)}")
    tried = Counter(line["promise"] for line in lines)
    failed = Counter(line["promise"] for line in lines if not line["kept"])
    now = (
        f"{datetime.now(UTC):%Y-%m-%d}: {len(lines):,} attempts, {failed.total() or 'none'} failed "
        f"(commit {commits[0]}, Python {platform.python_version()}, JAX {version('jax')}, "
        f"{platform.system()}, {os.cpu_count()} cores)."
    )
    table = ["| Promise | Tried with, and how often | Attempts | Failed |", "|---|---|---:|---:|"]
    for promise, count in tried.items():
        kinds = Counter(
            line["what"].partition(", ")[0] for line in lines if line["promise"] == promise
        )
        times = [f"`{kind}`" + (f" {many}" if many > 1 else "") for kind, many in kinds.items()]
        words = f"{len(kinds)} of them" if len(kinds) > 12 else ", ".join(times)
        table.append(f"| {promise} | {words} | {count:,} | {failed[promise]} |")
    text = Path(page).read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    counts = "\n".join([now, "", *table])
    Path(page).write_text(f"{before}{BEGIN}\n{counts}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
