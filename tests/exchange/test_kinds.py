"""Every kind of token classifier that transformers has: its logits are kept, or it is refused."""

import numpy as np
import pytest
import spacy
from transformers import AutoModelForTokenClassification, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES

from spacy_btl.errors import PipelineError
from spacy_btl.exchange.huggingface import export_hf, import_hf
from tests.exchange.checkpoints import LABELS, make_classifier, save_checkpoint, token_logits
from tests.models.tiny_encoders import make_tiny

pytestmark = pytest.mark.slow  # a network of each kind

# Kinds that cannot be made, since they need a package that is not installed.
UNMADE = {"layoutlmv2": "detectron2", "qdqbert": "pytorch-quantization"}
REFUSED = {
    "bros": "cannot read wordpieces alone",
    "canine": "does not run here",  # it has no vocabulary, and reads characters
    "convbert": "reads padding",
    "fnet": "takes no attention mask",
    "funnel": "reads padding",
    "mobilebert": "reads padding",  # the embedding of the next wordpiece, padding's too
    "modernbert": "has more than a linear layer",
    "mra": "reads each wordpiece by itself",
    "mt5": "an encoder with a decoder",
    "nystromformer": "reads padding",
    "t5": "an encoder with a decoder",
    "t5gemma": "has more than a linear layer",
    "umt5": "an encoder with a decoder",
    "xmod": "cannot read wordpieces alone",
    "yoso": "reads padding",
}
SETTINGS = {"lang": "xx", "window": 48, "overlap": 8}  # spaCy's English takes longer to load
TEXT = "The patient had severe fevers , coughed & said : crp was 84 mg/l ."


def difference(folder, doc) -> float:
    return float(np.abs(token_logits(folder, doc) - doc._.token_logits).max())


@pytest.mark.filterwarnings("ignore:.*on one side of it alone")
@pytest.mark.parametrize("kind", MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES)
def test_logits_are_kept_or_the_kind_is_refused(kind, tmp_path):
    if kind in UNMADE:
        with pytest.raises(ImportError, match=UNMADE[kind]):
            make_classifier(kind)
        return
    folder = save_checkpoint(tmp_path / "checkpoint", make_classifier(kind))
    if kind in REFUSED:
        with pytest.raises(PipelineError, match=REFUSED[kind]) as refusal:
            import_hf(folder, tmp_path / "model", **SETTINGS)
        assert "\n" not in str(refusal.value)
    else:
        import_hf(folder, tmp_path / "model", **SETTINGS)
        doc = spacy.load(tmp_path / "model")(TEXT)
        assert difference(folder, doc) < 1e-4
        export_hf(str(tmp_path / "model"), tmp_path / "exported")
        assert difference(tmp_path / "exported", doc) < 1e-4
    made = {"checkpoint"} if kind in REFUSED else {"checkpoint", "model", "exported"}
    assert {path.name for path in tmp_path.iterdir()} == made


@pytest.mark.parametrize(
    "name", ["ALBERT", "CamemBERT", "DeBERTa-v2, DeBERTa-v3", "RoBERTa", "XLM-RoBERTa", "XLNet"]
)
def test_a_checkpoint_with_its_own_tokenizer_goes_there_and_back(name, tmp_path):
    settings = {**SETTINGS, "window": 100}
    make_tiny(name, tmp_path / "checkpoint")
    AutoModelForTokenClassification.from_pretrained(
        tmp_path / "checkpoint", id2label=dict(enumerate(LABELS))
    ).save_pretrained(tmp_path / "checkpoint")
    import_hf(tmp_path / "checkpoint", tmp_path / "model", **settings)
    export_hf(str(tmp_path / "model"), tmp_path / "exported")
    import_hf(tmp_path / "exported", tmp_path / "back", **settings)
    for folder in ("exported", "checkpoint"):
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / folder)
        assert tokenizer.is_fast
        for pipeline in ("model", "back"):
            doc = spacy.load(tmp_path / pipeline)(TEXT)
            assert difference(tmp_path / folder, doc) < 1e-4
    labels = AutoModelForTokenClassification.from_pretrained(tmp_path / "exported").config.id2label
    assert labels == dict(enumerate(LABELS))
