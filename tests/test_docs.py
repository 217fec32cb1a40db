"""The documentation is true: its code runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from scripts import run_with_few_draws

from sltprob.cli import app

ROOT = Path(__file__).parents[1]
PAGES = {page.name: page for page in sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])}
NAMES = list(PAGES)


def blocks(page: Path, *languages: str) -> list[str]:
    fence = rf"^```(?:{'|'.join(languages)})\n(.*?)^```"
    return re.findall(fence, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def python_of(page: Path) -> list[str]:
    """Find the blocks of Python, and the cells of a notebook without their options."""
    found = blocks(page, "python", r"\{code-cell\} python")
    return [re.sub(r"\A(?::.*\n)+", "", block) for block in found]


WITH_CODE = [name for name, page in PAGES.items() if python_of(page)]
# Their cost is compilation, which few draws do not save; what they show has tests of its own.
SHORT = {"finding.md", "studies.md"}
LONG = set(WITH_CODE) - SHORT


def write_script(name: str, folder: Path) -> Path:
    script = folder / "page.py"
    script.write_text("\n\n".join(python_of(PAGES[name])), encoding="utf-8")
    # A reader is in the project's folder.
    (folder / "examples").symlink_to(ROOT / "examples")
    return script


@pytest.mark.parametrize("name", [name for name in WITH_CODE if name not in LONG])
def test_python_of_a_page_runs_with_few_draws(name, tmp_path, monkeypatch):
    """Its own assertions hold, apart from those about how good the draws are: these are slow."""
    run_with_few_draws(write_script(name, tmp_path), tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_CODE)
def test_python_of_a_page_runs_as_it_is_written(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(write_script(name, tmp_path))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    compare_with_what_was_promised(name, done.stdout)


def compare_with_what_was_promised(name: str, printed: str) -> None:
    """Hold ``print(...)  # what it prints``, and a block of text like the output, to the output."""
    code = "\n".join(python_of(PAGES[name]))
    promises = [[line] for line in re.findall(r"^ *print\(.*\)  # (.*\d.*)$", code, re.MULTILINE)]
    lines = printed.splitlines()
    for block in blocks(PAGES[name], "text"):
        shown = [line for line in block.splitlines() if line.strip() not in ("", "...", "…")]
        if words_of(shown[0]) in map(words_of, lines):
            promises.append(shown)
    for promise in promises:
        for promised in promise:
            assert any(alike(promised, line) for line in lines), (promised, printed)


_NUMBER = r"[-+]?\d+(?:\.\d+)?"


def words_of(line: str) -> str:
    """Leave out numbers, and how wide a column is."""
    return " ".join(re.sub(_NUMBER, "#", line).split())


def alike(promised: str, line: str) -> bool:
    """Let numbers differ by a fifth, as those of another processor may: but counts and words."""
    if words_of(promised) != words_of(line):
        return False
    for a, b in zip(re.findall(_NUMBER, promised), re.findall(_NUMBER, line), strict=True):
        signed = a.startswith("+") or b.startswith("+") or float(a) * float(b) < 0
        exact = "." not in a and float(a) < 100
        # What has a sign is a z-score, whose difference is one itself.
        limit = 2.0 if signed else 0.0 if exact else 0.2 * abs(float(a))
        if abs(float(a) - float(b)) > limit:
            return False
    return True


def test_an_output_that_is_out_of_date_is_seen():
    line = "trusted: all 25 checks passed"
    assert alike(line, line)
    assert not alike("trusted: all 22 checks passed", line)
    assert alike("lambda-hat(100) = 1.058 ± 0.012", "lambda-hat(100) = 1.061 ± 0.0121")
    assert not alike(
        "hmc 481 1.003 ± 0.023 +1.0  2121  trusted", "hmc 481 0.99 ± 0.016 +0.5 4274 trusted"
    )
    assert alike(
        "hmc  481 1.003 ± 0.023 +1.0  2121  trusted", "hmc 481 0.98 ± 0.021 -0.5 2074 trusted"
    )


def commands(page: Path) -> list[str]:
    """Find what a reader would type, in blocks and in the text."""
    text = page.read_text(encoding="utf-8")
    shell = "\n".join(blocks(page, "bash", "console", "sh"))
    lines = [line.removeprefix("$ ").strip() for line in shell.splitlines()]
    found = [line for line in lines if line.startswith("sltprob ")]
    found += [" ".join(line.split()) for line in re.findall(r"`(sltprob [^`]+)`", text)]
    return list(dict.fromkeys(found))


#: What stands for something else in running text, such as a file that the reader has.
_ELLIPSIS = re.compile(r"…|\.\.\.")


@pytest.mark.parametrize("name", NAMES)
def test_commands_of_a_page_exist(name):
    page = PAGES[name]
    command = typer.main.get_command(app)
    for line in commands(page):
        words = shlex.split(_ELLIPSIS.sub("", line), comments=True)[1:]
        if not words or words == ["--help"]:
            continue
        group = typer.Context(command, info_name="sltprob")
        chosen, subcommand, rest = command.resolve_command(group, words)
        assert subcommand is not None, line
        if hasattr(subcommand, "commands") and rest:  # a group, such as study
            group = typer.Context(subcommand, info_name=chosen, parent=group)
            chosen, subcommand, rest = subcommand.resolve_command(group, rest)
        known = {option for parameter in subcommand.params for option in parameter.opts}
        given = {word.partition("=")[0] for word in rest if word.startswith("--")}
        if subcommand.context_settings.get("ignore_unknown_options"):
            continue
        assert given <= known, f"{line}: {given - known} is no option of {chosen}"
        # In a table or a sentence an argument may be left out; what is there must be read.
        if line in "\n".join(blocks(page, "bash", "console", "sh")):
            subcommand.make_context(chosen, rest, parent=group)


def test_links_of_the_pages_lead_somewhere():
    for page in (ROOT / "docs").rglob("*.md"):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not target.startswith(("http", "#", "mailto:")):
                assert (page.parent / target.partition("#")[0]).exists(), (page.name, target)


def test_links_of_the_readme_work_where_the_package_is_published():
    """They are absolute, and those into the repository name a file of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    repository = project["urls"]["Repository"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    links = [inline or reference for inline, reference in targets]
    assert all(link.startswith(("https://", "#")) for link in links)
    ours = [link for link in [*links, *project["urls"].values()] if link.startswith(repository)]
    blob = rf"^{re.escape(repository)}/(?:blob|raw)/main/"
    files = [re.sub(blob, "", link.partition("#")[0]) for link in ours]
    pages = {repository, f"{repository}/issues"}
    assert [file for file in files if file not in pages and not (ROOT / file).is_file()] == []
    labels = set(re.findall(r"\]\[([^\]]+)\]", text))
    assert labels == set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))


# ---- the glossary


@pytest.fixture(scope="module")
def generate():
    import importlib.util

    place = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def test_every_check_and_every_column_is_in_the_glossary(generate):
    from sltprob.cell import CELL_FIELDS
    from sltprob.league.columns import LEAGUE_COLUMNS

    words = generate.fill((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    names = names_of_checks()
    assert {"finite", "virial_rhat[SITE]", "scouts", "local_step_bias", "ladder_swaps"} <= names
    names |= {"virial[SITE]", "virial", "drift", "loss_virial", "ess_bulk", "energy_excess"}
    assert sorted(name for name in names if f"`{name}`" not in words) == []
    assert [name for name in CELL_FIELDS if f"| `{name}` |" not in words] == []
    assert [c.heading for c in LEAGUE_COLUMNS if f"| {c.heading} |" not in words] == []


def names_of_checks() -> set[str]:
    """Read the names that the checks give themselves, from the code: no run fails them all."""
    import ast

    found = set()
    for path in (ROOT / "sltprob" / "diagnostics").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(getattr(node, "func", None), "id", "")
            if called in ("above", "below", "Check") and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
                if isinstance(first, ast.JoinedStr):
                    parts = [
                        part.value if isinstance(part, ast.Constant) else "SITE"
                        for part in first.values
                    ]
                    found.add("".join(map(str, parts)))
    return {name for name in found if "SITE" not in name or "[SITE]" in name}


def test_the_readme_counts_what_the_pages_count():
    """Error rates that the README states are those of the pages that were made last."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    counted = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    (wrong, trusted) = re.findall(
        r"nothing edited, broken or mistaken \|.*?(\d+) of (\d+)", counted
    )[0]
    assert f"of {int(trusted):,} trusted runs {wrong} were wrong" in readme
    local = (ROOT / "docs" / "local.md").read_text(encoding="utf-8")
    (inside, trusted) = re.findall(
        r"in the interval, of trusted runs \|.*\((\d+) of (\d+)\)", local
    )[0]
    assert f"of {inside} of {trusted} trusted runs" in readme
