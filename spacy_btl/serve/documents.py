"""What INCEpTION sends for training: all annotated documents of an annotator, each time."""

from urllib.parse import quote

from spacy_btl.errors import ServeError, counted
from spacy_btl.serve.http import Answer, parse
from spacy_btl.serve.inception import Document, TrainRequest, load, mention_type
from spacy_btl.serve.training import Owner, Training, require_training

TYPES = "TypeSystem.xml"  # beside and above the documents, where `convert` looks for it
MAX_USER = 200  # bytes of a folder's name: most file systems allow 255


def train(body: bytes, training: Training | None) -> Answer:
    """Keep the documents in place of the annotator's earlier ones. A training is started when
    enough of them are new or changed, since INCEpTION asks after every few annotations.

    RAISES: ServeError, for a request that cannot be used, or while a training is running.
    """
    ours = require_training(training)
    request = parse(TrainRequest, body)
    layer, feature = request.metadata.layer, request.metadata.feature
    owner = Owner("INCEpTION", str(request.metadata.project), f"{layer}:{feature}")
    files = {_file(one): one.xmi.encode("utf-8") for one in request.documents}
    for one in request.documents:
        if ours.read(_file(one)) != files[_file(one)]:  # a document is checked once
            mention_type(load(one, request.types), layer, feature)
    theirs = {_user(one) for one in request.documents}
    among = [name for user in theirs for name in ours.kept(f"annotation/*/{user}/*.xmi")]
    ours.keep(owner, {**files, TYPES: request.types.encode("utf-8")}, among=among)
    said = f"{counted(len(files), 'document')} kept"
    if ours.running:
        raise ServeError(f"A training is running; {said}.", 429)
    if (changes := ours.changes()) < ours.every:
        return Answer(None, f"{said}, {changes} changed, a training at {ours.every}", 204)
    ours.start(owner)
    return Answer(None, f"{said}, a training begins", 204)


def _file(document: Document) -> str:
    """The name of a document as in an exported project, where folders name it and its annotator."""
    return f"annotation/document-{document.id}/{_user(document)}/document.xmi"


def _user(document: Document) -> str:
    name = "user-" + quote(document.user, safe=" @+")
    if len(name) > MAX_USER:
        raise ServeError("A userId is too long to be the name of a folder.")
    return name
