"""mkdocs hooks: the generated pages, formulas as MathML, links that leave the site."""

import html
import posixpath
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files
from reference import ROOT, pages

# Pages that are kept at the top of the repository.
TOP = ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
# Of the pages, and outside docs/.
FIGURES = [
    f"experiments/results/{path.name}" for path in (ROOT / "experiments/results").glob("*.svg")
]
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]+)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)")
# What pymdownx.arithmatex leaves for a script to render.
INLINE = re.compile(r'<span class="arithmatex">\\\((.+?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.+?)\\\]\s*</div>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the API reference, and the pages at the top of the repository."""
    for uri, text in pages().items():
        files.append(File.generated(config, uri, content=text))
    for name in TOP:
        text = (ROOT / name).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    for name in FIGURES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Mend links that lead out of docs/: of a file that the site has not, the text is kept."""
    folder = posixpath.dirname(page.file.src_uri)

    def mended(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups(default="")
        uri = posixpath.normpath(posixpath.join(folder, target))
        if "://" in target or files.get_file_from_path(uri):
            return match[0]
        at_top = uri.removeprefix("../")
        if files.get_file_from_path(at_top):
            return f"{image}[{text}]({posixpath.relpath(at_top, folder or '.')}{anchor})"
        return text if uri.startswith("../") else match[0]

    return LINK.sub(mended, markdown)


def on_page_content(content: str, **kwargs: Any) -> str:
    """Render formulas, so that no browser needs a script for them."""
    content = INLINE.sub(lambda match: convert(html.unescape(match[1])), content)
    return BLOCK.sub(lambda match: _display(html.unescape(match[1])), content)


def _display(formula: str) -> str:
    return f'<div class="formula">{convert(formula.strip(), display="block")}</div>'
