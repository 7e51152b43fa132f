"""Binary Token Labels and kNN calibration for spaCy (arXiv 2409.03238).

Entry points register the pipes, losses and commands, so `spacy.load` and `python -m spacy` find
them by name without an import. What a program calls is importable from here, and is loaded at its
first use: `import spacy_btl` loads neither spaCy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spacy_btl.about import __version__ as __version__

if TYPE_CHECKING:
    from spacy_btl.annotate.annotate import annotate_file as annotate_file
    from spacy_btl.annotate.spark import annotate_dataframe as annotate_dataframe
    from spacy_btl.calibration.calibrator import Calibrator as Calibrator
    from spacy_btl.calibration.settings import Settings as Settings
    from spacy_btl.colors import DISPLACY_COLORS as DISPLACY_COLORS
    from spacy_btl.compiled.compile import compile_pipeline as compile_pipeline
    from spacy_btl.compiled.encoder import compiled_transformer as compiled_transformer
    from spacy_btl.context.assertions import assertions as assertions
    from spacy_btl.context.pipe import BtlContext as BtlContext
    from spacy_btl.context.sections import BtlSections as BtlSections
    from spacy_btl.context.sections import section as section
    from spacy_btl.evaluation.evaluate import evaluate as evaluate
    from spacy_btl.exchange.huggingface import export_hf as export_hf
    from spacy_btl.exchange.huggingface import import_hf as import_hf
    from spacy_btl.formats.convert import convert as convert
    from spacy_btl.guarantee.guarantee import guarantee_pipeline as guarantee_pipeline
    from spacy_btl.losses.base import TokenLoss as TokenLoss
    from spacy_btl.losses.baselines import dice_loss as dice_loss
    from spacy_btl.losses.baselines import focal_loss as focal_loss
    from spacy_btl.losses.baselines import logit_adjusted_loss as logit_adjusted_loss
    from spacy_btl.losses.binary_copies import binary_copies as binary_copies
    from spacy_btl.losses.binary_token_labels import binary_token_labels as binary_token_labels
    from spacy_btl.losses.class_weights import class_weights as class_weights
    from spacy_btl.losses.cross_entropy import all_token_labels as all_token_labels
    from spacy_btl.metrics.scorer import make_ner_scorer as make_ner_scorer
    from spacy_btl.metrics.scorer import score_ner as score_ner
    from spacy_btl.models.encoder import windowed_tok2vec as windowed_tok2vec
    from spacy_btl.models.encoder import windowed_transformer as windowed_transformer
    from spacy_btl.models.token_logits import token_logits as token_logits
    from spacy_btl.pipeline.annotations import confidence as confidence
    from spacy_btl.pipeline.btl_ner import BtlNer as BtlNer
    from spacy_btl.pipeline.explanation import top_neighbors as top_neighbors
    from spacy_btl.pipeline.knn_calibrator import KnnCalibrator as KnnCalibrator
    from spacy_btl.search.ivf import cluster_search as cluster_search
    from spacy_btl.search.search import Search as Search
    from spacy_btl.search.search import sklearn_search as sklearn_search
    from spacy_btl.shift.check import check_notes as check_notes
    from spacy_btl.shift.recalibrate import recalibrate as recalibrate
    from spacy_btl.shift.recalibrate import recalibrate_unannotated as recalibrate_unannotated
    from spacy_btl.splits.split import split_corpus as split_corpus
    from spacy_btl.suggest.suggest import suggest_notes as suggest_notes
    from spacy_btl.training.add_context import add_context as add_context
    from spacy_btl.training.add_sections import add_sections as add_sections
    from spacy_btl.training.average import average as average
    from spacy_btl.training.calibrate import calibrate as calibrate
    from spacy_btl.training.ensemble import ensemble as ensemble
    from spacy_btl.training.tune import tune as tune
    from spacy_btl.unlabelled.pretrain import pretrain_encoder as pretrain_encoder
    from spacy_btl.unlabelled.pseudo_label import pseudo_label as pseudo_label

# The module of each name, by which it is loaded; type checkers read the imports above.
MODULES = {
    "BtlContext": "context.pipe",
    "BtlNer": "pipeline.btl_ner",
    "BtlSections": "context.sections",
    "Calibrator": "calibration.calibrator",
    "DISPLACY_COLORS": "colors",
    "KnnCalibrator": "pipeline.knn_calibrator",
    "Search": "search.search",
    "Settings": "calibration.settings",
    "TokenLoss": "losses.base",
    "add_context": "training.add_context",
    "add_sections": "training.add_sections",
    "all_token_labels": "losses.cross_entropy",
    "annotate_dataframe": "annotate.spark",
    "annotate_file": "annotate.annotate",
    "assertions": "context.assertions",
    "average": "training.average",
    "binary_copies": "losses.binary_copies",
    "binary_token_labels": "losses.binary_token_labels",
    "calibrate": "training.calibrate",
    "check_notes": "shift.check",
    "class_weights": "losses.class_weights",
    "cluster_search": "search.ivf",
    "compile_pipeline": "compiled.compile",
    "compiled_transformer": "compiled.encoder",
    "confidence": "pipeline.annotations",
    "convert": "formats.convert",
    "dice_loss": "losses.baselines",
    "ensemble": "training.ensemble",
    "evaluate": "evaluation.evaluate",
    "export_hf": "exchange.huggingface",
    "focal_loss": "losses.baselines",
    "guarantee_pipeline": "guarantee.guarantee",
    "import_hf": "exchange.huggingface",
    "logit_adjusted_loss": "losses.baselines",
    "make_ner_scorer": "metrics.scorer",
    "pretrain_encoder": "unlabelled.pretrain",
    "pseudo_label": "unlabelled.pseudo_label",
    "recalibrate": "shift.recalibrate",
    "recalibrate_unannotated": "shift.recalibrate",
    "score_ner": "metrics.scorer",
    "section": "context.sections",
    "sklearn_search": "search.search",
    "split_corpus": "splits.split",
    "suggest_notes": "suggest.suggest",
    "token_logits": "models.token_logits",
    "top_neighbors": "pipeline.explanation",
    "tune": "training.tune",
    "windowed_tok2vec": "models.encoder",
    "windowed_transformer": "models.encoder",
}

__all__ = ["__version__", *MODULES]  # noqa: PLE0604 - the keys are strings

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Load a name at its first use (PEP 562)."""
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """The public names."""
        return sorted(__all__)
