"""The metadata are in `setup.cfg`, all but the README as PyPI shows it."""

import re
from pathlib import Path

from setuptools import setup


def long_description() -> str:
    """The README without its relative pictures and links, which lead nowhere on PyPI."""
    text = Path(__file__).with_name("README.md").read_text("utf-8")
    text = re.sub(r"<!--.*?-->\n*", "", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\((?!https:)[^)]*\)\n*", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!https:)[^)]*\)", r"\1", text)


if __name__ == "__main__":
    setup(long_description=long_description(), long_description_content_type="text/markdown")
