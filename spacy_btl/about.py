"""The version of the package, and how its extras are installed."""

__version__ = "0.1.0"


def how_to_install(extra: str) -> str:
    """How to get an extra, for an error. spacy-btl is on no package index."""
    wheel = f"spacy_btl-{__version__}-py3-none-any.whl"
    return f"by pip install '.[{extra}]' in the clone, or pip install '{wheel}[{extra}]'"
