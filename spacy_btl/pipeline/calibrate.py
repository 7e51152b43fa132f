"""From a trained pipeline to one with a fitted calibrator, ready to be packaged."""

from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Corpus

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.pipeline.annotations import LOGITS
from spacy_btl.pipeline.files import forget_paths, load_pipeline, refuse_foreign_folder, save_whole

CALIBRATOR = "knn_calibrator"
CLEANER = "doc_cleaner"


def calibrate(model: str, corpus: Path, output: Path, *, settings: dict[str, Any]) -> Language:
    """Append a `knn_calibrator` fitted on a corpus, and a `doc_cleaner`; save the pipeline.

    model (str): A package name or a folder. Its calibrator, if it has one, is replaced.
    corpus (Path): The `.spacy` file to fit on.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    settings (Dict[str, Any]): The pipe's settings.
    RAISES: BtlError, where the model, the corpus or the output cannot be used.
    """
    nlp = load_pipeline(model)
    read_docs(corpus, nlp.vocab)  # a clear error now rather than a strange one from the reader
    refuse_foreign_folder(output)
    for name in (CALIBRATOR, CLEANER):
        if name in nlp.pipe_names:
            nlp.remove_pipe(name)
    calibrator = nlp.add_pipe(CALIBRATOR, config=settings)
    calibrator.fit(Corpus(corpus)(nlp))
    working_data = [name for name in (LOGITS, "trf_data") if Doc.has_extension(name)]
    nlp.add_pipe(CLEANER, config={"attrs": {f"_.{name}": None for name in working_data}})
    forget_paths(nlp)
    save_whole(nlp, output)
    return nlp
