"""The site: Sphinx over the pages of this folder. `make docs` builds it, warnings as errors."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import reference_pages  # noqa: E402

from resexp._version import __version__  # noqa: E402

project = "resexp"
author = copyright = "The resexp developers"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "resexp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
smartquotes = False
"""A double hyphen is an option's."""
default_role = "code"
exclude_patterns = ["__pycache__"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {
    "members": True,
    "exclude-members": "model_config, model_post_init",
}


def setup(app: Sphinx) -> None:
    """Write what is made of the program itself before the pages are read."""
    app.connect("builder-inited", lambda app: reference_pages.write(Path(app.srcdir) / "reference"))
