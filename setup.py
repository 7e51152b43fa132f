"""The metadata are in `setup.cfg`, all but the README as PyPI shows it.

With the environment variable SPACY_BTL_RUNTIME=1 the wheel is a local version, X.Y.Z+runtime, of
the same files: it requires what prediction needs, and no library of training.
"""

import os
import re
import runpy
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from setuptools import setup

ROOT = Path(__file__).parent
# What only training needs.
TRAINING = {
    "huggingface_hub",
    "iterative-stratification",
    "scikit-learn",
    "spacy-transformers",
    "torch",
    "transformers",
}
# The extras of prediction. `runtime` is required.
EXTRAS = ("annotate", "context", "inception", "report", "serve", "spark", "web")


def long_description() -> str:
    """The README without its relative pictures and links, which lead nowhere on PyPI."""
    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"<!--.*?-->\n*", "", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\((?!https:)[^)]*\)\n*", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!https:)[^)]*\)", r"\1", text)


def of_runtime() -> dict[str, Any]:
    """Version and requirements of the local version for prediction."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {name: lines.split("\n") for name, lines in config["options.extras_require"].items()}
    required = config["options"]["install_requires"].strip().split("\n") + extras["runtime"]
    about = runpy.run_path(str(ROOT / "spacy_btl" / "about.py"))
    return {
        "version": f"{about['__version__']}+runtime",
        "install_requires": [
            line for line in required if line and re.split("[<>=]", line)[0] not in TRAINING
        ],
        "extras_require": {name: [*filter(None, extras[name])] for name in EXTRAS},
    }


if __name__ == "__main__":
    setup(
        long_description=long_description(),
        long_description_content_type="text/markdown",
        **(of_runtime() if os.environ.get("SPACY_BTL_RUNTIME") == "1" else {}),
    )
