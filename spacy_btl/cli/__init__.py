"""The commands `python -m spacy btl ...`.

spaCy imports this module in every `python -m spacy` call, so each command imports what it needs
when it runs. Nothing here may import torch.
"""

from spacy.cli._util import app

from spacy_btl.cli import (  # noqa: F401  (they add their commands)
    ablate,
    annotate,
    bias_test,
    calibrate,
    check,
    combine,
    compiling,
    context,
    convert,
    evaluate,
    exchange,
    explain,
    fit,
    guarantee,
    pretrain,
    pseudo_label,
    serve,
    split,
    stats,
    suggest,
    tune,
    visualize,
)
from spacy_btl.cli._run import btl

__all__ = ["btl"]

app.add_typer(btl)
app.pretty_exceptions_show_locals = False  # a local variable may hold a note
