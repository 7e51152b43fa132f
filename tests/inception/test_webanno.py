"""WebAnno TSV 3: stacked, numbered and sub-token annotation, escapes, and UTF-16 offsets."""

import re
from pathlib import Path

import pytest

from spacy_btl.corpora.report import OTHER_ANNOTATION
from spacy_btl.errors import CorpusError
from tests.formats.reading import SECRET, read, shown

HEADER = r"""#FORMAT=WebAnno TSV 3.3
#T_SP=de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS|PosValue
#T_SP=webanno.custom.Finding|kind|note
#T_RL=webanno.custom.Rel|role|BT_webanno.custom.Finding


"""
# The emoji takes two units. A tab is escaped in the text; the cells end with a tab, as the tool
# writes them.
BODY = re.sub(
    r"(?m)^(\d.*)$",
    r"\1\t",
    r"""#Text=🤒 No fever,\tmild
#Text=dry\\wet cough.
1-1	0-2	🤒	_	_	_	_	_
1-2	3-5	No	DT	_	_	_	_
1-3	6-11	fever	NN	Sign|Fever\|high	*|sure	_	_
1-4	11-12	,	_	_	_	_	_
1-5	13-17	mild	_	Sign[1]	*[1]	_	_
1-6	18-21	dry	_	Sign[1]|Detail[2]	*[1]|*[2]	_	_
1-7	21-25	\wet	_	Sign[1]|Detail[2]	*[1]|*[2]	_	_
1-8	26-31	cough	_	Sign[1]	*[1]	of	1-3
1-9	31-32	.	_	_	_	_	_

#Text=Headache
2-1	35-43	Headache	_	_	_	_	_
2-1.1	35-39	Head	_	Site\_x	*	_	_
""",
)
TEXT = "🤒 No fever,\tmild\ndry\\wet cough."


def write(folder: Path, text: str, name: str = "note.tsv") -> Path:
    (folder / name).write_bytes(text.encode("utf-8"))
    return folder / name


@pytest.mark.parametrize("crlf", [False, True])
def test_the_annotation_of_a_layer_is_read(tmp_path: Path, crlf: bool) -> None:
    content = HEADER + BODY
    src = write(tmp_path, content.replace("\n", "\r\n") if crlf else content)
    (note,), report = read(src, layers=("Finding:kind",))
    assert note.text == f"{TEXT}  \nHeadache"
    assert shown(note) == [
        ("fever", "Sign"),
        ("fever", "Fever|high"),
        ("mild\ndry\\wet cough", "Sign"),
        ("dry\\wet", "Detail"),
        ("Head", "Site_x"),
    ]
    assert (report.format, report.remarks) == ("WebAnno TSV 3", {OTHER_ANNOTATION: 2})


def test_layers_have_to_be_chosen_if_several_features_have_values(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"Finding:kind \(5\), Finding:note \(1\)"):
        read(write(tmp_path, HEADER + BODY))


def test_a_layer_without_features_is_a_type(tmp_path: Path) -> None:
    body = "#Text=Aspirin now\n1-1\t0-7\tAspirin\t*[1]\t\n1-2\t8-11\tnow\t*[1]\t\n"
    src = write(tmp_path, f"#FORMAT=WebAnno TSV 3.3\n#T_SP=webanno.custom.Drug|\n\n\n{body}")
    (note,), _ = read(src)
    assert shown(note) == [("Aspirin now", "Drug")]


def test_annotation_across_sentences_is_one_mention(tmp_path: Path) -> None:
    header = "#FORMAT=WebAnno TSV 3.3\n#T_SP=webanno.custom.Drug|value\n\n\n"
    body = "#Text=One\n1-1\t0-3\tOne\tA[4]\t\n\n#Text=two\n2-1\t4-7\ttwo\tA[4]\t\n"
    (note,), _ = read(write(tmp_path, header + body))
    assert (note.text, shown(note)) == ("One\ntwo", [("One\ntwo", "A")])


def test_an_empty_document_and_text_that_is_not_escaped(tmp_path: Path) -> None:
    write(tmp_path, HEADER, "empty.tsv")
    old = "#FORMAT=WebAnno TSV 3.1\n#T_SP=webanno.custom.Drug|value\n\n\n#Text=a\\tb c\n"
    write(tmp_path, f"{old}1-1\t0-4\ta\\tb\tA\t\n1-2\t5-6\tc\t_\t\n", "old.tsv")
    notes, _ = read(tmp_path)
    assert [(note.id, note.text, shown(note)) for note in notes] == [
        ("empty", "", []),
        ("old", "a\\tb c", [("a\\tb", "A")]),
    ]


BAD = [
    (BODY.replace("6-11", "7-12"), 11, "the token is not at its offsets in the text"),
    (BODY.replace("fever\tNN\t", "fever\t"), 11, "the line has 4 columns for 5 features"),
    (BODY.replace("1-3\t", f"{SECRET}\t"), 11, "is no token"),
]


@pytest.mark.parametrize(("body", "line", "flaw"), BAD, ids=range(len(BAD)))
def test_a_bad_line_is_named(tmp_path: Path, body: str, line: int, flaw: str) -> None:
    src = write(tmp_path, HEADER + body)
    with pytest.raises(CorpusError) as caught:
        read(src, layers=("Finding:kind",))
    assert str(caught.value).startswith(f"{src}, line {line}: looks like WebAnno TSV 3, but ")
    assert flaw in str(caught.value)
    assert SECRET not in str(caught.value)


def test_features_that_are_true_or_false_are_assertions(tmp_path: Path) -> None:
    text = """#FORMAT=WebAnno TSV 3.3
#T_SP=webanno.custom.Finding|kind|negated


#Text=No fever or cough
1-1\t0-2\tNo\t_\t_\t
1-2\t3-8\tfever\tSign\ttrue\t
1-3\t9-11\tor\t_\t_\t
1-4\t12-17\tcough\tSign\tfalse\t
"""
    (note,), report = read(write(tmp_path, text))
    assert [one.assertions for one in note.mentions] == [("negated",), ()]
    assert report.assertions == {"negated": 1}
