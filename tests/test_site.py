"""The documentation as a site: built without a warning, searched and read without a network.

A build takes ten seconds, hence the mark. Its notebooks are not run here: `make docs` runs them,
and ``test_docs.py`` their Python.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-D", "nb_execution_mode=off", "-d"]
    command = [sys.executable, "-m", "sphinx", *options, str(folder / "doctrees"), "docs"]
    done = subprocess.run(
        [*command, str(folder / "site")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "site"


def test_site_asks_the_network_for_nothing(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"([^\"]+)\"", text)
        loaded += re.findall(r"<link[^>]*\shref=\"([^\"]+)\"", text)
        assert not [url for url in loaded if url.startswith(("http", "//"))], page.name


def test_every_check_and_every_message_has_its_place(site):
    verdict = (site / "verdict.html").read_text(encoding="utf-8")
    for name in ("finite", "alive", "virial[SITE]", "step_bias", "energy_variance", "bfmi"):
        assert f'<span class="pre">{name}</span>' in verdict
    assert "of an unadjusted sampler" in verdict.replace('</span> <span class="pre">', " ")
    errors = re.sub("<[^>]+>", "", (site / "errors.html").read_text(encoding="utf-8"))
    assert "L* of this model is not known" in errors
    assert "it is discrete" in errors
    assert not [page for page in site.rglob("*.html") if "<!-- checks -->" in page.read_text()]


def test_search_finds_a_word_in_a_page_opened_from_a_folder(browser, site):
    browser.open((site / "search.html").as_uri() + "?q=virial", 1000)
    browser.wait("document.querySelectorAll('#search-results li').length > 1")
    found = browser.run("[...document.querySelectorAll('#search-results a')].map(a => a.href)")
    assert any("verdict.html" in address for address in found)
    assert browser.problems() == []


@pytest.mark.parametrize("width", [1400, 900, 390])
def test_every_page_fits_every_width(browser, site, width):
    """No page is wider than the screen, code wraps, and the reader's theme is kept."""
    for page in sorted(site.rglob("*.html")):
        if page.parent.name == "_modules" or page.name in ("genindex.html", "search.html"):
            continue
        browser.open(page.as_uri(), width, scheme="dark")
        wide = "document.documentElement.scrollWidth <= innerWidth"
        assert browser.run(wide), (page.name, width)
        code = "[...document.querySelectorAll('.highlight-python pre, .highlight-bash pre')]"
        cut = browser.run(f"{code}.filter(e => e.scrollWidth > e.clientWidth + 1).length")
        assert cut == 0, (page.name, width)
        light = json.loads(browser.run("JSON.stringify(getComputedStyle(document.body).color)"))
        assert min(map(int, re.findall(r"\d+", light)[:3])) > 120, (page.name, light)
        assert browser.problems() == [], page.name
        assert {url for url in browser.requests() if not url.startswith(site.as_uri())} == set()
        assert browser.run("document.querySelectorAll('h1').length") == 1, page.name
