"""Binary Token Labels and kNN calibration for spaCy (arXiv 2409.03238).

Everything registers itself through entry points, so importing this package does nothing and costs
nothing: `spacy.load` and `python -m spacy` find the pipes, losses and commands by name.
"""

from spacy_btl.about import __version__

__all__ = ["__version__"]
