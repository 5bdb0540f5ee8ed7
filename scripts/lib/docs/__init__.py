"""The documentation: blocks of commands, generated parts, and the Sphinx extension that puts them in."""
