"""What comes with an installation: licences, pins, and the files that say whom to tell."""

import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from audit import main as audit
from harness import attempt

requirements = pytest.importorskip("packaging.requirements")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
PROMISE = "All that is installed with it has a licence that lets it be used for any purpose"

#: Permissive, or (MPL-2.0) a copyleft of single files, which are used as they come.
ALLOWED = {
    "0BSD",
    "AFL-2.1",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "Unlicense",
    "Zlib",
}
#: How packages wrote it before there were expressions; of several classifiers each must be allowed.
OLDER = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def installed_with(name, extras):
    """Follow what a package requires here, with these extras of its own."""
    found, waiting = {}, [(name, frozenset(extras))]
    while waiting:
        name, extras = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found and extras <= found[key]:
            continue
        found[key] = found.get(key, frozenset()) | extras
        try:
            required = distribution(name).requires or ()
        except PackageNotFoundError:
            del found[key]  # for another system or an extra that is not installed
            continue
        for text in required:
            one = requirements.Requirement(text)
            if one.marker is None or any(
                one.marker.evaluate({"extra": extra}) for extra in (*extras, "")
            ):
                waiting.append((one.name, frozenset(one.extras)))
    return sorted(found)


def licences(name):
    """Give the names of the licences of a package, as far as its metadata have them."""
    metadata = distribution(name).metadata
    told = [metadata[key] for key in ("License-Expression", "License") if key in metadata]
    for text in told:
        parts = [part.strip(" ()") for part in re.split(r"\b(?:AND|OR|WITH)\b", text)]
        named = {OLDER.get(part, part) for part in parts}
        if text and all(len(part) < 40 for part in parts):
            return named
    kinds = [value for value in metadata.get_all("Classifier") or () if value.startswith("Lic")]
    last = {kind.split(" :: ")[-1] for kind in kinds}
    return {OLDER.get(kind, kind) for kind in last - {"OSI Approved"}}


def test_every_licence_is_allowed():
    """A package that changes its licence, or brings one with another, is seen here."""
    found = installed_with("sltprob", {"cluster", "figures", "orbax"})
    assert len(found) > 30
    for name in found:
        with attempt(PROMISE, name):
            assert licences(name), f"{name} tells no licence"
            assert licences(name) <= ALLOWED, f"{name}: {licences(name) - ALLOWED}"


def test_what_is_required_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    needed = {requirements.Requirement(text).name.lower() for text in texts} - {"sltprob"}
    assert needed <= pins


def test_the_citation_is_valid():
    """The keys that CFF 1.2.0 requires, and those we have, with the version of the package."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["repository-code"] == project["urls"]["Repository"]
    assert all("name" in author or "family-names" in author for author in citation["authors"])
    assert citation.keys() <= {
        "abstract",
        "authors",
        "cff-version",
        "keywords",
        "license",
        "message",
        "repository-code",
        "title",
        "type",
        "url",
        "version",
    }


@pytest.mark.parametrize(
    ("package", "code", "says"),
    [
        ({"vulns": []}, 0, "1 packages, no known vulnerability"),
        ({"vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}, 1, "a 1: CVE-1, mended in 2"),
        ({"skip_reason": "not found"}, 2, "1 of 1 packages could not be looked up"),
    ],
)
def test_an_audit_that_saw_nothing_is_no_good_news(package, code, says, tmp_path, capsys):
    found = tmp_path / "found.json"
    found.write_text(json.dumps({"dependencies": [{"name": "a", "version": "1", **package}]}))
    assert audit(str(found)) == code
    captured = capsys.readouterr()
    assert says in captured.out + captured.err
    assert (captured.out + captured.err).count("\n") == 1


def test_somebody_is_told_of_a_hole():
    text = (ROOT / "SECURITY.md").read_text()
    assert "security/advisories" in text
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"][:3] in text
