"""The settings of Sphinx; `scripts/docs` builds the site."""

import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))

project = "tinyos-gdb"
author = "the authors of tinyos-gdb"
copyright = author  # noqa: A001 (Sphinx's name for it)
extensions = ["myst_parser", "sphinx.ext.autodoc", "scripts.lib.docs.extension"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["pictures"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# What stands in backquotes in a docstring is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "undoc-members": False}
# Options are written with two hyphens.
smartquotes = False
html_theme = "alabaster"
html_title = "tinyos-gdb"
html_theme_options = {
    "description": "A debugger for the memory management of an AArch64 kernel",
    "fixed_sidebar": True,
    "page_width": "1120px",
    "sidebar_width": "240px",
}
html_show_sourcelink = False
html_copy_source = False
