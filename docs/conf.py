"""The site: English pages, and the same in Chinese by gettext. ``python -m docs.build`` builds."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for docs.extension

from sphinx.application import Sphinx  # noqa: E402
from sphinx.config import Config  # noqa: E402

from docs import generated  # noqa: E402
from minigrad import __version__  # noqa: E402

project, author, release = "minigrad", "the minigrad authors", __version__
copyright = "2026, the minigrad authors"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "docs.extension",
    "docs.api.reference",
    "docs.search",
]
root_doc = "index"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "locale", "interactive"]
suppress_warnings = ["config.cache"]  # functions in sphinx_gallery_conf cannot be cached

language = "en"
locale_dirs = ["locale"]
gettext_compact = False
gettext_uuid = False
gettext_location = False

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autosummary_generate = False
add_module_names = False
toc_object_entries_show_parents = "hide"

sphinx_gallery_conf = {
    "examples_dirs": "../tutorials",
    "gallery_dirs": "tutorials",
    "filename_pattern": r"\b\d\d_\w+\.py$",
    "ignore_pattern": r"exercises|articles|recorded",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("docs.extension.scraper",),
    "copyfile_regex": r"",
    "abort_on_example_error": True,
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib",),
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "minigrad"
html_math_renderer = "mathml"
html_static_path = ["static", "interactive"]
html_css_files = ["site.css"]
html_js_files = ["embed.js"]
templates_path = ["templates"]
html_show_sourcelink = False
_ALONE = ("start", "concepts", "kernels", "performance", "glossary", "contributing", "changelog")
html_sidebars: dict[str, list[str]] = {page: [] for page in _ALONE}
html_theme_options = {
    "navbar_end": ["theme-switcher", "language"],
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
_CHINESE = {"search_bar_text": "搜索文档", "header_dropdown_text": "更多"}


def _generate(app: Sphinx, config: Config) -> None:
    zh = config.language.startswith("zh")
    generated.write(Path(app.srcdir), "zh" if zh else "en")
    if zh:  # what the theme takes from options; the other words are in locale/*/sphinx.po
        config.html_theme_options |= _CHINESE
        config.copyright = "2026 minigrad 作者"


def setup(app: Sphinx) -> None:
    app.connect("config-inited", _generate)
