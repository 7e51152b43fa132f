"""The figures of a pipeline on held-out documents."""

from collections import Counter
from pathlib import Path
from typing import Any

from spacy.training import Corpus

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import CorpusError, PipelineError
from spacy_btl.pipeline.files import load_pipeline

HEADLINE = {
    "ents_p": "entity precision",
    "ents_r": "entity recall",
    "ents_f": "entity F1, all mentions (micro)",
    "ents_macro_f": "entity F1, mean of the types (macro)",
    "tag_uar": "token recall, mean of the classes (UAR)",
    "tag_macro_f": "token F1, mean of the classes",
}


def evaluate(model: str, corpus: Path) -> dict[str, Any]:
    """Score a pipeline with its own scorers.

    model (str): A package name or a folder.
    corpus (Path): The `.spacy` file of held-out documents.
    RETURNS (Dict[str, Any]): The scores of `nlp.evaluate`; `ents_per_type` from the rarest type to
        the commonest, each with its support in mentions.
    RAISES: BtlError, for a model or corpus that cannot be used, a corpus without entities, or a
        model that is not scored on any.
    """
    nlp = load_pipeline(model)
    docs = read_docs(corpus, nlp.vocab)
    support = Counter(ent.label_ for doc in docs for ent in doc.ents)
    if not support:
        raise CorpusError(f"{corpus}: has no entity, so there is nothing to score.")
    scores = nlp.evaluate(list(Corpus(corpus).make_examples(nlp, docs)))
    per_type = scores.get("ents_per_type")
    if per_type is None:
        raise PipelineError(f"No pipe of '{model}' finds entities: {nlp.pipe_names}.")
    scores["ents_per_type"] = {
        label: {"support": support[label], **per_type[label]}
        for label in sorted(per_type, key=lambda label: (support[label], label))
    }
    return {"documents": len(docs), "mentions": support.total(), **scores}
