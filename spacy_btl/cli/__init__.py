"""`python -m spacy btl ...`: thin commands over the packages.

spaCy loads this module at every `python -m spacy` call, so a command imports what it needs only
when it runs: nothing here may import torch.
"""

from spacy.cli._util import app

from spacy_btl.cli import (  # noqa: F401  (they add their commands)
    ablate,
    annotate,
    average,
    bias_test,
    calibrate,
    card,
    convert,
    ensemble,
    evaluate,
    exchange,
    explain,
    split,
    stats,
    tune,
    visualize,
)
from spacy_btl.cli._run import btl

__all__ = ["btl"]

app.add_typer(btl)
app.pretty_exceptions_show_locals = False  # a local variable may hold a note
