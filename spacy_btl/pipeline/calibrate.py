"""From a trained pipeline to one with a fitted calibrator, ready to be packaged."""

from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.training import Corpus

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.pipeline.annotations import LOGITS, PROBABILITIES
from spacy_btl.pipeline.files import forget_paths, load_pipeline, refuse_foreign_folder, save_whole

CALIBRATOR = "knn_calibrator"
CLEANER = "doc_cleaner"


def calibrate(model: str, corpus: Path, output: Path, *, settings: dict[str, Any]) -> Language:
    """Append a `knn_calibrator` fitted on a corpus, and a `doc_cleaner`; save the pipeline.

    model (str): A package name or a folder. Its calibrator, if it has one, is replaced; its
        `doc_cleaner` moves to the end and drops the logits too.
    corpus (Path): The `.spacy` file to fit on.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    settings (Dict[str, Any]): The settings of the `knn_calibrator`.
    RAISES: BtlError, where the model, the corpus or the output cannot be used.
    """
    refuse_foreign_folder(output)
    nlp = load_pipeline(model)
    docs = read_docs(corpus, nlp.vocab)
    attrs = nlp.get_pipe_config(CLEANER)["attrs"] if CLEANER in nlp.component_names else {}
    for name in (CALIBRATOR, CLEANER):
        if name in nlp.component_names:
            nlp.enable_pipe(name)  # spaCy would disable its successor too
            nlp.remove_pipe(name)
    calibrator = nlp.add_pipe(CALIBRATOR, config=settings)
    calibrator.fit(Corpus(corpus).make_examples(nlp, docs))
    # By its own defaults it drops `doc._.trf_data`, too.
    nlp.add_pipe(
        CLEANER, config={"attrs": {**attrs, f"_.{LOGITS}": None, f"_.{PROBABILITIES}": None}}
    )
    forget_paths(nlp)
    save_whole(nlp, output)
    return nlp
