"""Other libraries' pipelines with the encoder and the head of ours."""

from collections import deque
from pathlib import Path

import numpy as np
import torch
from spacy.language import Language
from transformers import AutoModelForTokenClassification, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from bench.material import Setup
from bench.plain_torch import autocast
from bench.ratios import Case, UnavailableError
from spacy_btl.compiled.engine import Network, make_inputs
from spacy_btl.exchange.huggingface import export_hf
from spacy_btl.mentions import MENTIONS, read_mentions

COVERED = 0.99  # of the gold mentions, by the lengths that spancat's suggester proposes
EDS_BATCH = "4096 padded_words"


def _checkpoint(model: str, folder: Path) -> Path:
    if not folder.exists():
        export_hf(model, folder)
    return folder


def _device(setup: Setup) -> torch.device:
    return torch.device("cpu" if setup.gpu_id < 0 else f"cuda:{setup.gpu_id}")


def huggingface_case(
    setup: Setup,
    model: str,
    folder: Path,
    precision: torch.dtype,
    *,
    window: int,
    overlap: int,
    batch_size: int,
    network: Network | None = None,
) -> Case:
    """`pipeline("token-classification")` of transformers.

    network (Optional[Network]): Its encoder on the engine, in place of torch.
    """
    from transformers import AutoTokenizer, pipeline

    checkpoint = _checkpoint(model, folder)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, model_max_length=window)
    device = _device(setup)
    tagger = pipeline(
        "token-classification",
        model=str(checkpoint),
        tokenizer=tokenizer,
        stride=overlap,
        aggregation_strategy="simple",
        device=device,
    )
    if network is not None:
        _use_engine(tagger.model.base_model, network)

    def case() -> None:
        with autocast(precision, device):
            deque(tagger(setup.texts, batch_size=batch_size), maxlen=0)

    return case


def spancat_pipeline(setup: Setup) -> tuple[Language, int]:
    """spaCy's `spancat` on the encoder, and the tokens of the longest span that it proposes.

    It is not trained, and its threshold lets no span pass, so that it has none to write.
    """
    mentions = [mention for doc in setup.docs for mention in read_mentions(doc, MENTIONS)]
    lengths = [end - start for start, end, _ in mentions]
    longest = int(np.quantile(lengths, COVERED, method="higher"))
    listener = {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    sizes = {"min_size": 1, "max_size": longest}
    spancat = {
        "factory": "spancat",
        "spans_key": MENTIONS,
        "threshold": 1.0,
        "suggester": {"@misc": "spacy.ngram_range_suggester.v1", **sizes},
        "model": {
            "@architectures": "spacy.SpanCategorizer.v1",
            "reducer": {"@layers": "spacy.mean_max_reducer.v1", "hidden_size": 128},
            "scorer": {"@layers": "spacy.LinearLogistic.v1"},
            "tok2vec": listener,
        },
    }
    return setup.untrained(setup.minilm, **{"components.ner": spancat}), longest


def edsnlp_case(
    setup: Setup,
    model: str,
    folder: Path,
    precision: torch.dtype,
    *,
    window: int,
    overlap: int,
    network: Network | None = None,
) -> Case:
    """`eds.transformer` and `eds.ner_crf`.

    network (Optional[Network]): Its encoder on the engine, in place of torch.
    RAISES: UnavailableError, without EDS-NLP.
    """
    try:
        import edsnlp
        import edsnlp.pipes as eds
    except ImportError:
        raise UnavailableError(
            "EDS-NLP is not installed: pip install -c constraints.txt '.[bench]'"
        ) from None

    checkpoint = _checkpoint(model, folder)
    classifier = AutoModelForTokenClassification.from_pretrained(checkpoint)
    names = classifier.config.id2label
    labels = [name for number, name in sorted(names.items()) if name != "O"]
    transformer = eds.transformer(
        model=str(checkpoint), window=window - 2, stride=window - 2 - overlap
    )
    ner = eds.ner_crf(embedding=transformer, target_span_getter="ents", mode="joint", window=20)
    nlp = edsnlp.blank("eds")
    nlp.add_pipe(ner, name="ner")
    ner.update_labels(labels)
    _set_head(ner.linear, classifier, labels)
    nlp.train(False)
    if network is not None:
        _use_engine(transformer.transformer.base_model, network)
    device = _device(setup)
    nlp.to(device)
    dtype = False if precision == torch.float32 else precision

    texts = sorted(setup.texts, key=len, reverse=True)

    def case() -> None:
        stream = nlp.pipe(texts).set_processing(batch_size=EDS_BATCH, autocast=dtype)
        deque(stream, maxlen=0)

    return case


def _use_engine(encoder: PreTrainedModel, network: Network) -> None:
    """Let an encoder of transformers compute its vectors by a compiled one of the same weights."""

    def forward(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        **_: object,
    ) -> BaseModelOutput:
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        mask = attention_mask.numpy().astype("float32")
        hidden = network.run(make_inputs(input_ids.numpy(), mask, types.numpy()))
        return BaseModelOutput(last_hidden_state=torch.from_numpy(hidden.copy()))

    encoder.forward = forward


def _set_head(linear: torch.nn.Linear, classifier: PreTrainedModel, labels: list[str]) -> None:
    """About our decisions, so that as many entities are made: for each type its logit less that of
    `O` counts for B, I, L and U alike, and 0 for its own O."""
    ids = classifier.config.label2id
    rows = [ids[label] for label in labels]
    with torch.no_grad():
        for name in ("weight", "bias"):
            values = getattr(classifier.classifier, name)
            scores = (values[rows] - values[ids["O"]])[:, None].repeat_interleave(5, dim=1)
            scores[:, 0] = 0
            getattr(linear, name).copy_(scores.flatten(0, 1))
