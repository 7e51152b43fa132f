"""The version of the package, and how it and its extras are installed."""

__version__ = "0.1.0"

# The modules of what the wheel for prediction does not require: see `setup.py`.
TRAINING = {"iterstrat", "sklearn", "spacy_transformers", "torch", "transformers"}


def how_to_install(extra: str) -> str:
    """How to get an extra, for an error. spacy-btl is on no package index."""
    wheel = f"spacy_btl-{__version__}-py3-none-any.whl"
    return f"by pip install '.[{extra}]' in the clone, or pip install '{wheel}[{extra}]'"


def needs_training(error: ModuleNotFoundError) -> str:
    """What to do about a module of training that is not installed; empty for any other."""
    if (error.name or "").partition(".")[0] not in TRAINING:
        return ""
    return (
        f"This needs {error.name}, and spacy-btl is installed for prediction alone. Do it where "
        f"all of spacy-btl is installed: pip install spacy_btl-{__version__}-py3-none-any.whl"
    )
