"""What is damaged, and who reads it: a valid small input of each kind, and a public reader."""

import json
import os
import zlib
from collections.abc import Callable
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import spacy
import srsly
from spacy.tokens import DocBin, Span
from spacy.vocab import Vocab

from spacy_btl.arrays import CHECKSUM, CONTENT, load_arrays, save_arrays
from spacy_btl.calibration.calibration_maps import ConfidenceMap, Maps, TokenMap
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.reference import N_FIXED, Reference
from spacy_btl.calibration.unlike import compare
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.stats import corpus_stats
from spacy_btl.formats.convert import convert
from spacy_btl.inception.layers import NAMED_ENTITY
from spacy_btl.pipeline.annotations import LOGITS
from spacy_btl.splits.split import split_corpus
from tests.fuzz.mutations import BINARY, TEXT, change_values, damage

SECRET = "Zyxwvut"  # stands for a note's text, which must never be in a message
TEXTS = (
    f"{SECRET} had severe fever\r\nand cough, 84\u2009mg of aspirin.",
    f"No pain in the left arm of {SECRET}.\n",
    f"{SECRET} \U0001f912 is well",
)
MENTIONS = (((12, 18, "Severity"), (19, 24, "Sign"), (30, 35, "Sign")), ((3, 7, "Sign"),), ())

NLP = spacy.blank("en")

Read = Callable[[], None]


def brat(folder: Path, rng: Random) -> Read:
    """A brat folder, converted."""
    src = folder / "brat"
    src.mkdir()
    for number, (text, mentions) in enumerate(zip(TEXTS, MENTIONS, strict=True)):
        lines = [
            f"T{i}\t{label} {start} {end}\t{text[start:end]}"
            for i, (start, end, label) in enumerate(mentions, start=1)
        ]
        if number == 0:
            lines += [f"T9\tSign 0 7;12 18\t{SECRET} severe", "E1\tSign:T1", "#1\tNote T1\tsure"]
            lines += ["T10\tSign-u2F-x 12 18", "T11\tSign x 12 18\tsevere\tC001", ""]
        (src / f"{number}.txt").write_bytes(text.encode())
        (src / f"{number}.ann").write_bytes("\n".join(lines).encode())
    file = rng.choice(sorted(src.iterdir()))
    change = rng.random()
    if change < 0.9:
        file.write_bytes(damage(file.read_bytes(), rng, TEXT))
    elif change < 0.95:
        odd = (b"\xff.ann", b"\xff.txt", b"2.txt", b"\xf0\x9f.ann", b"x.doc", b".hidden.txt")
        os.rename(file, os.path.join(os.fsencode(src), rng.choice(odd)))
    else:
        file.unlink()
        if rng.random() < 0.5:
            file.mkdir()
    return _converted(src, folder / "out" / "corpus.spacy", rng)


def json_lines(folder: Path, rng: Random) -> Read:
    """JSON lines of our form or Prodigy's, converted."""
    records: list[Any] = [
        {"text": text, "ents": [list(mention) for mention in mentions], "id": number}
        for number, (text, mentions) in enumerate(zip(TEXTS, MENTIONS, strict=True))
    ]
    if rng.random() < 0.5:
        for record in records:
            _make_prodigy(record, rng)
    by_value = rng.random() < 0.5
    if by_value:
        odd = ("\ud800", 10**400, "reject", SECRET, [0, 3, "Sign"], {"start": 0, "end": 2}, "ner")
        plain = (None, True, -1, 2**63, 1e308, float("nan"), "", "O", [], {})
        change_values(records, rng, [*odd, *plain, -(10**30), "\x00", [[[]]]])
    lines = [json.dumps(record, ensure_ascii=rng.random() < 0.5) for record in records]
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    file = folder / "notes.jsonl"
    file.write_bytes(data if by_value else damage(data, rng, TEXT))
    return _converted(file, folder / "out" / "corpus.spacy", rng)


def _make_prodigy(record: dict[str, Any], rng: Random) -> None:
    text = record["text"]
    record["tokens"] = [
        {"id": token.i, "start": token.idx, "end": token.idx + len(token), "disabled": False}
        for token in NLP.make_doc(text)
    ]
    record["spans"] = []
    for start, end, label in record.pop("ents"):
        first, *_, last = [
            token["id"]
            for token in record["tokens"]
            if start < token["end"] and token["start"] < end
        ] * 2
        answer = rng.choice(("accept", "accept", "reject", "ignore"))
        tokens = {"token_start": first, "token_end": last, "text": text[start:end]}
        span = {"start": start, "end": end, "label": label, "answer": answer}
        record["spans"].append(span | tokens)
    record |= {"answer": "accept", "_view_id": "ner_manual", "_is_binary": False}
    record["flagged"] = rng.random() < 0.5


def _converted(src: Path, out: Path, rng: Random) -> Read:
    skip_invalid, min_mentions = rng.random() < 0.5, rng.choice((1, 1, 2))
    trust_offsets, overlaps = rng.random() < 0.5, rng.choice(("outer", "inner"))

    def read() -> None:
        convert(
            src,
            out,
            skip_invalid=skip_invalid,
            min_mentions=min_mentions,
            trust_offsets=trust_offsets,
            overlaps=overlaps,
        )
        _use(out)

    return read


def _use(corpus: Path) -> None:
    """Look at all that a file of docs says."""
    for doc in read_docs(corpus, Vocab()):
        spans = [*doc.ents, *(span for group in doc.spans.values() for span in group)]
        assert all(isinstance(span.label_ + span.text, str) for span in spans)
        assert all(isinstance(token.ent_type_ + token.text, str) for token in doc)


def _valid_docs() -> bytes:
    docs = []
    for number, (text, mentions) in enumerate(zip(TEXTS, MENTIONS, strict=True)):
        doc = NLP.make_doc(text)
        doc.user_data["note_id"] = f"note-{number}"
        doc.user_data["logits"] = np.ones((2, 3), dtype="float32")
        spans = [doc.char_span(*mention) for mention in mentions]
        doc.set_ents(spans)
        doc.spans["mentions"] = [Span(doc, s.start, s.end, s.label, span_id="T1") for s in spans]
        docs.append(doc)
    return DocBin(docs=docs, store_user_data=True).to_bytes()


DOCS = _valid_docs()


def docs_file(folder: Path, rng: Random) -> Read:
    """A `.spacy` file, read, counted and divided."""
    file = folder / "corpus.spacy"
    change = rng.random()
    if change < 0.3:
        file.write_bytes(damage(DOCS, rng, BINARY))
    elif change < 0.5:
        file.write_bytes(zlib.compress(damage(zlib.decompress(DOCS), rng, BINARY)))
    else:
        file.write_bytes(zlib.compress(_changed_message(rng)))

    def read() -> None:
        _use(file)
        corpus_stats(file)
        split_corpus(file, folder / "out", dev=0.3, test=0.3)

    return read


def _changed_message(rng: Random) -> bytes:
    message: Any = srsly.msgpack_loads(zlib.decompress(DOCS))
    part = rng.choice(("message", "message", "tokens", "spans", "user_data"))
    i = rng.randrange(len(TEXTS))
    if part == "tokens":
        tokens = np.frombuffer(message["tokens"], dtype="uint64").copy()
        odd = (0, 1, 2, 3, 5, 400, 2**31, 2**63, 2**64 - 1, rng.getrandbits(64))
        tokens[rng.randrange(len(tokens))] = rng.choice(odd)
        message["tokens"] = tokens.tobytes()
    elif part == "spans":
        spans = srsly.msgpack_loads(message["span_groups"][0])
        ((group, names),) = spans.items()
        message["span_groups"][0] = srsly.msgpack_dumps(_changed_group(group, names, rng))
    elif part == "user_data":
        odd = (b"", b"\xc1", {}, [], [1], 3, {"note_id": [1]}, {"note_id": {}}, {"note_id": 1.5})
        value = rng.choice((*odd, {1: 2}, {"note_id": None}, {("._.", "x", 1, 2): 3}, _objects()))
        message["user_data"][i] = value if isinstance(value, bytes) else srsly.msgpack_dumps(value)
    else:
        change_values(message, rng)
    return srsly.msgpack_dumps(message)


def _changed_group(group: bytes, names: list[str], rng: Random) -> dict[bytes, list[str]]:
    content: Any = srsly.msgpack_loads(group)
    span = rng.randrange(len(content["spans"]))
    packed = bytearray(content["spans"][span])
    if rng.random() < 0.7:  # >QQQllll: id, kb_id, label, start, end, start_char, end_char
        place = 4 * rng.randrange(len(packed) // 4)
        odd = (-(2**31), -1, 0, 1, 5, 400, 2**31 - 1)
        packed[place : place + 4] = rng.choice(odd).to_bytes(4, "big", signed=True)
        content["spans"][span] = bytes(packed)
    else:
        change_values(content, rng)
    return {srsly.msgpack_dumps(content): names if rng.random() < 0.8 else []}


def _objects() -> dict[bytes, Any]:
    """How a numpy array of Python objects, which are pickled, would be written."""
    return {b"nd": True, b"type": "|O", b"kind": b"", b"shape": [1], b"data": b"\x80\x04N."}


TYPES = ("Severity", "Sign")


def _pipe() -> Any:
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("btl_ner", name="ner")
    for label in TYPES:
        ner.add_label(label)
    nlp.disable_pipe("ner")  # its logits are made up here
    settings = {"n_neighbors": 3, "knn_weight": 0.7, "transition_weight": 0.3}
    pipe = nlp.add_pipe("knn_calibrator", config=settings)
    rng = np.random.default_rng(0)
    rows = np.arange(8, dtype="int32")
    datastore = Datastore(
        logits=rng.normal(0, 3, (8, 3)).astype("float32"),
        tags=(rows % 3).astype("int16"),
        documents=rows // 3,
        starts=10 * rows,
        ends=10 * rows + 5,
        prior=np.array([0.7, 0.1, 0.2]),
        labels=TYPES,
        scheme="IO",
    )
    calibrator = pipe.calibrator.fit(datastore)
    confidence = ConfidenceMap(1, 0.1, -1, 9)
    calibrator.maps = Maps(TokenMap(2, 0.5, 0.1), confidence, calibrator.settings)
    documents = rng.uniform(0, 1, (5, N_FIXED + len(TYPES)))
    calibrator.reference = Reference(documents, np.array([[4, 2]] * 5))
    return pipe


PIPE = _pipe()
LOGITS_OF_NOTE = np.random.default_rng(1).normal(0, 3, (4, 3)).astype("float32")


def calibrator_files(folder: Path, rng: Random) -> Read:
    """The files of a calibrator, loaded, and used on a note."""
    saved = folder / "knn_calibrator"
    PIPE.to_disk(saved)
    file = saved / f"{rng.choice(('datastore', 'datastore', 'maps', 'reference'))}.safetensors"
    data, change = file.read_bytes(), rng.random()
    if change < 0.3:
        file.write_bytes(damage(data, rng, BINARY))
    elif change < 0.5:
        file.write_bytes(_changed_header(data, rng))
    else:
        file.write_bytes(_changed_arrays(data, rng))

    def read() -> None:
        PIPE.from_disk(saved)
        doc = PIPE.nlp.make_doc("severe fever and cough")
        doc._.set(LOGITS, LOGITS_OF_NOTE)
        PIPE(doc)
        assert np.isfinite(doc._.token_probabilities).all()
        assert all(0 <= ent._.confidence <= 1 for ent in doc.ents)
        PIPE.explain(doc[:])
        reference = PIPE.calibrator.reference
        found = compare(reference, reference.rows, PIPE.calibrator.datastore.labels)
        assert 0 < found.p_value <= 1, found.p_value
        assert 0 <= found.expected <= 1, found.expected

    return read


def _header(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _changed_header(data: bytes, rng: Random) -> bytes:
    header, body = _header(data)
    if rng.random() < 0.5:
        content = json.loads(header["__metadata__"][CONTENT])
        del content[CHECKSUM]
        header["__metadata__"][CONTENT] = json.dumps(content)
    odd = ("F16", "BF16", "F8_E4M3", "BOOL", "I64", "U8", -1, 2**40, 2**63, 10**30, None, [], {})
    change_values(header, rng, [*odd, [0], [2**32, 2**32], "", "3", '["a"]', "[" * 9_000, "BIO"])
    written = json.dumps(header).encode()
    length = len(written) if rng.random() < 0.9 else rng.choice((0, 2**40, 2**63, 2**64 - 1))
    return length.to_bytes(8, "little") + written + body


def _changed_arrays(data: bytes, rng: Random) -> bytes:
    """As one would who knows the format: a sound checksum, and values that do not fit."""
    arrays, content = load_arrays(data)
    name = rng.choice(sorted(arrays))
    array = np.array(arrays[name])
    change = rng.choice(("value", "value", "value", "type", "shape", "drop", "name", "content"))
    if change == "value":
        kind = array.dtype
        limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
        odd = [
            0,
            1,
            -1,
            limits.max,
            limits.min,
            *([np.nan, np.inf, 1e-300] if kind == "f8" else []),
        ]
        array.flat[rng.randrange(array.size)] = rng.choice(odd)
        if rng.random() < 0.3:
            array[:] = rng.choice(odd)
    elif change == "type":
        with np.errstate(over="ignore"):
            array = array.astype(
                rng.choice(("float16", "float32", "float64", "int8", "uint64", "?"))
            )
    elif change == "shape":
        array = rng.choice((array[:0], array[:2], array.ravel()[:1], array[None], array.T.copy()))
    elif change == "content":
        odd_values = (
            "",
            [],
            ["Sign"],
            ["Sign", "Severity"],
            None,
            {},
            "BIO",
            "1",
            1,
            [[]],
            [[], 0],
        )
        content[rng.choice(sorted(content))] = rng.choice((*odd_values, {"tau": np.nan}))
    arrays[f"{name}x" if change == "name" else name] = np.ascontiguousarray(array)
    if change == "drop":
        del arrays[name]
    return save_arrays(arrays, content)


TYPE_SYSTEM = "TypeSystem.xml"


def exports(folder: Path, rng: Random) -> Read:
    """A file of another annotation format, converted."""
    name = rng.choice(sorted(EXPORTS.keys() - {TYPE_SYSTEM}))
    file, content = folder / "export" / name, EXPORTS[name]
    file.parent.mkdir()
    if name.endswith(".xmi"):
        types = EXPORTS[TYPE_SYSTEM]
        types = damage(types, rng, TEXT) if rng.random() < 0.2 else types
        (file.parent / TYPE_SYSTEM).write_bytes(types)
    if isinstance(content, bytes):
        data = damage(content, rng, TEXT)
    else:
        value = deepcopy(content)
        if by_value := rng.random() < 0.6:
            change_values(value, rng)
        data = json.dumps(value, default=str).encode("utf-8", "surrogatepass")
        data = data if by_value else damage(data, rng, TEXT)
    file.write_bytes(data)
    src = file if rng.random() < 0.8 else file.parent
    return _converted(src, folder / "out" / "corpus.spacy", rng)


def _cas_files() -> dict[str, Any]:
    """UIMA CAS in both forms, and its types. Nothing without the extra that reads it."""
    if find_spec("cassis") is None:
        return {}
    import cassis
    from cassis.typesystem import TypeSystemMode

    types = cassis.load_dkpro_core_typesystem()
    cas = cassis.Cas(typesystem=types)
    cas.sofa_string, cas.sofa_mime = TEXTS[0], "text/plain"
    for start, end, label in MENTIONS[0]:
        cas.add(types.get_type(NAMED_ENTITY)(begin=start, end=end, value=label))
    return {
        "cas.json": json.loads(cas.to_json(type_system_mode=TypeSystemMode.MINIMAL)),
        "cas.xmi": cas.to_xmi().encode(),
        TYPE_SYSTEM: types.to_xml().encode(),
    }


def _exports() -> dict[str, Any]:
    """Valid files, by their names: bytes, or the values of JSON."""
    text, mentions = TEXTS[0], MENTIONS[0]
    says = [
        {"start": s, "end": e, "text": text[s:e], "labels": [label]} for s, e, label in mentions
    ]
    place = {"from_name": "label", "to_name": "text", "type": "labels"}
    results = [{"id": "r", "value": value, **place} for value in says]
    done = [{"id": i, "completed_by": i, "created_at": "1", "result": results} for i in (1, 2)]
    concepts = [
        {"start": s, "end": e, "value": text[s:e], "cui": label, "validated": True, "user": "a"}
        for s, e, label in mentions
    ]
    annotations = [
        {
            "id": "1",
            "infons": {"type": label},
            "text": text[s:e],
            "locations": [{"offset": s, "length": e - s}],
        }
        for s, e, label in mentions
    ]
    empty = {"infons": {}, "relations": [], "sentences": []}
    passage = {**empty, "offset": 0, "text": text, "annotations": annotations}
    title = text.split("\r")[0]
    lines = "".join(f"1\t{s}\t{e}\t{text[s:e]}\t{label}\tC1\n" for s, e, label in mentions[:2])
    tags = "".join(
        f'<{label} id="P{s}" start="{s}" end="{e}" text="{text[s:e]}" />'
        for s, e, label in mentions
    )
    rows = "1-1\t0-7\t{0}\t_\t\n1-2\t8-11\thad\tA|B[1]\t\n1-3\t12-18\tsevere\tB[1]\t\n"
    tsv = "#FORMAT=WebAnno TSV 3.3\n#T_SP=x.Y|value\n\n\n#Text={0} had severe\n" + rows
    tokens = {"tokens": [SECRET, "had", "fever"], "ner_tags": ["O", "O", "B-Sign"]}
    return {
        "tasks.json": [{"id": 1, "data": {"text": text}, "annotations": done}],
        "min.json": [{"text": text, "id": 1, "annotator": 1, "annotation_id": 1, "label": says}],
        "trainer.json": {
            "projects": [{"documents": [{"name": "n", "text": text, "annotations": concepts}]}]
        },
        "bioc.json": {"documents": [{**empty, "id": "1", "passages": [passage]}]},
        "pairs.json": [[text, {"entities": [list(mention) for mention in mentions]}]],
        "doccano.jsonl": {"id": 1, "text": text, "label": [list(mention) for mention in mentions]},
        "tokens.json": [tokens, {"tokenized_text": [SECRET, "had"], "ner": [[0, 1, "Sign"]]}],
        "n.conll": f"-DOCSTART- O\n\n{SECRET} O\nhad O\nfever B-Sign\n\n".encode() * 2,
        "n.tsv": tsv.format(SECRET).encode(),
        "n.pubtator": f"1|t|{title}\n1|a|\n{lines}".encode(),
        "n.xml": f"<r><TEXT><![CDATA[{title}]]></TEXT><TAGS>{tags}</TAGS></r>".encode(),
        **_cas_files(),
    }


EXPORTS = _exports()


TARGETS = (brat, json_lines, docs_file, calibrator_files, exports)
