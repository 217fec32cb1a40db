"""Say in a few lines what pip-audit has found: `make audit` runs it before this.

It calls a package that it could not look up "skipped", and ends well though it has looked up none.
"""

import json
import sys
from pathlib import Path


def main(found: str) -> int:
    """Give 0 if all were looked up and none is vulnerable, 1 if one is, and 2 otherwise."""
    packages = json.loads(Path(found).read_text(encoding="utf-8"))["dependencies"]
    holes = [(one, hole) for one in packages for hole in one.get("vulns", ())]
    skipped = [one for one in packages if "skip_reason" in one]
    for one, hole in holes:
        known = ", ".join(hole.get("fix_versions", ())) or "no version yet"
        sys.stdout.write(f"{one['name']} {one['version']}: {hole['id']}, mended in {known}\n")
    if skipped:
        sys.stderr.write(
            f"audit: {len(skipped)} of {len(packages)} packages could not be looked up, so that "
            f"nothing is known of them ({skipped[0]['skip_reason']})\n"
        )
    elif not holes:
        sys.stdout.write(f"audit: {len(packages)} packages, no known vulnerability\n")
    return 1 if holes else 2 if skipped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
