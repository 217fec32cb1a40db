"""Sphinx builds the pages: `make docs`, then open site/index.html; no server and no network."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# Of the notebooks: where the project is, how pictures look, and no search for other devices.
os.environ["SLTPROB_PROJECT"] = str(Path(__file__).parents[1])
os.environ["MATPLOTLIBRC"] = str(Path(__file__).parent / "matplotlibrc")
os.environ["JAX_PLATFORMS"] = "cpu"
# tqdm misses a widget that nobody could see in a page.
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
# Notebooks run side by side, where more threads for a product of matrices only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# Most of their time is compilation, which is as true without LLVM's optimisation.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"

project = "sltprob"
author = "The sltprob developers"
project_copyright = author
release = installed("sltprob")
version = release

# MyST keeps the pages readable where they are stored; myst-nb runs those that are notebooks, as the
# pages of ArviZ, NumPyro and BlackJAX are run; numpydoc reads the docstrings.
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
    "generate",
    "side_by_side",
]
exclude_patterns = ["README.md", "jupyter_execute/**"]
master_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# numpydoc asks for it, and would import the package where Sphinx is about to fork.
autosummary_generate = False
toc_object_entries = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
# A source that a docstring cites without a mark in its text.
suppress_warnings = ["ref.citation"]

html_theme = "furo"
html_title = "sltprob"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
# Excerpts of what a search finds would be fetched, which a page opened from a folder may not do.
html_show_search_summary = False
# A formula would bring a script from the network: pages write formulas in Unicode.
html_math_renderer = "mathjax"
html_theme_options = {
    "source_repository": "https://github.com/sltprob/sltprob",
    "source_branch": "main",
    "source_directory": "docs/",
    "top_of_page_buttons": ["view"],
    "light_css_variables": {"color-brand-primary": "#0a5c8f", "color-brand-content": "#0a5c8f"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f2", "color-brand-content": "#7cc4f2"},
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
