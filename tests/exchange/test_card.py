"""The card and `meta.json` of a pipeline, and the package that `spacy package` makes of it."""

import json
import re
import tempfile
from pathlib import Path

import pytest
import spacy
import srsly
import yaml
from huggingface_hub import ModelCard
from spacy.cli import package
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.errors import FileError, PipelineError
from spacy_btl.evaluation.evaluate import evaluate
from spacy_btl.exchange.card import PERFORMANCE, write_card
from spacy_btl.exchange.card_file import CardFile
from spacy_btl.exchange.card_text import card_text
from spacy_btl.files import read_yaml
from spacy_btl.guarantee.promises import Promise, write_promises
from spacy_btl.metrics.measures import MEASURES, headline
from spacy_btl.training.calibrate import calibrate
from spacy_btl.training.ensemble import ensemble
from spacy_btl.web.content import read_metrics
from spacy_btl.web.session import open_pipeline
from tests.conftest import SENTENCES, bert_pipeline, train

# The pipelines here are evaluated on the sentences that they are fitted on.
pytestmark = pytest.mark.filterwarnings("ignore:.*are among those that the pipeline was trained")

ROOT = Path(__file__).parent.parent.parent
FACTS = {
    "description": "Findings in sentences.",
    "author": "A. Author",
    "url": "https://example.org",
    "license": "CC0-1.0",
    "base_model": "someone/tiny-bert",
    "dataset": "Four sentences, twice",
    "training_data": "Sentences that were made up.",
    "evaluation_data": "The same sentences.",
    "intended_use": "Tests.",
    "limits": ["It knows few words.", "It is\ntiny."],
    "sources": [{"name": "A | B", "author": "C", "license": "MIT", "url": "https://example.org/b"}],
}


@pytest.fixture(scope="module")
def model(calibrated_path, corpus_path, held_out_path, tmp_path_factory) -> Path:
    """With maps, and with a path of this machine in it."""
    nlp = spacy.load(calibrated_path)
    path = tmp_path_factory.mktemp("model") / "pipeline"
    calibrate(
        str(calibrated_path),
        corpus_path,
        path,
        settings={"n_neighbors": 3, "knn_weight": 0.25, "tau": {"Sign": 0.5}},
        held_out=held_out_path,
    )
    nlp = spacy.load(path)
    nlp.config["paths"]["train"] = str(corpus_path)
    nlp.meta["performance"] = {"ents_f": 0.123, "ner_loss": 5.0}
    nlp.to_disk(path)
    return path


@pytest.fixture(scope="module")
def metrics(model, corpus_path, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("metrics") / "metrics.json"
    path.write_text(json.dumps(evaluate(str(model), corpus_path)))
    return path


def card_file(folder: Path, **changes) -> Path:
    """The facts as YAML; a change to None leaves one out."""
    facts = {key: value for key, value in {**FACTS, **changes}.items() if value is not None}
    path = folder / "card.yml"
    path.write_text(yaml.safe_dump(facts), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def carded(model, metrics, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("carded")
    args = [model, metrics, card_file(folder), folder / "out", "--name=tiny", "--version=1.2.3"]
    result = CliRunner().invoke(app, ["btl", "card", *map(str, args)])
    assert result.exit_code == 0, result.output
    assert "en_tiny 1.2.3" in result.output
    return folder / "out"


@pytest.fixture(scope="module")
def text(carded) -> str:
    return (carded / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("key", "mean"), [("averaged", "weights"), ("ensemble", "logits")])
def test_the_card_of_several_networks_names_every_loss(model, metrics, key, mean):
    nlp = spacy.load(model)
    nlp.meta[key] = [{"@losses": "first.v1"}, {"@losses": "second.v1", "gamma": 2.0}]
    text = card_text(nlp, srsly.read_json(metrics), CardFile(**FACTS), versions={"spacy-btl": "1"})
    (row,) = (line for line in text.splitlines() if line.startswith("| Training "))
    losses = "loss `first.v1` and `second.v1` (`gamma = 2.0`): the mean of 2 networks' "
    assert losses + mean in row


def test_the_card_has_the_promises_that_hold(model, metrics):
    nlp = spacy.load(model)
    promise = Promise("Sign", "recall", 0.9, 0.05, "overlap", 40, 0.97, "a|b.spacy", "2026-01-02")
    write_promises(nlp, nlp.get_pipe("knn_calibrator"), [promise])
    facts, versions = CardFile(**FACTS), {"spacy-btl": "1"}
    text = card_text(nlp, srsly.read_json(metrics), facts, versions=versions)
    assert (
        "| recall of Sign | 90.0% | 5.0% | 40 with annotated mentions | 97.0% | "
        "a\\|b.spacy, 2026-01-02 | counts if it shares a word with one of its type |"
    ) in text
    nlp.get_pipe("knn_calibrator").calibrator.set_params(tau=1.0)
    text = card_text(nlp, srsly.read_json(metrics), facts, versions=versions)
    assert "Promises" not in text


def test_the_card_of_an_ensemble_has_a_row_for_each_encoder(trained_path, metrics, tmp_path):
    ensemble([str(trained_path)] * 2, tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    text = card_text(nlp, srsly.read_json(metrics), CardFile(**FACTS), versions={"spacy-btl": "1"})
    rows = [line.split("|")[1].strip() for line in text.splitlines() if "Encoder" in line]
    assert rows == ["Encoder 1", "Encoder 2"]


def test_meta_is_complete_and_its_performance_is_the_evaluations(carded, metrics):
    meta = srsly.read_json(carded / "meta.json")
    measured = srsly.read_json(metrics)
    for key in ("description", "author", "url", "license"):
        assert meta[key] == FACTS[key]
    assert (meta["name"], meta["version"]) == ("tiny", "1.2.3")
    assert meta["sources"] == FACTS["sources"]
    assert meta["labels"]["ner"] == ["Severity", "Sign", "Test", "Value"]
    for name in measured["scores"].keys() & PERFORMANCE:
        assert meta["performance"][name] == pytest.approx(measured["scores"][name]["value"])
    assert "ner_loss" not in meta["performance"]
    assert meta["performance"]["ents_per_type"].keys() == measured["types"].keys()
    for label, row in meta["performance"]["ents_per_type"].items():
        assert row["f"] == pytest.approx(measured["types"][label]["ents_f"]["value"])


def shown(row: dict[str, float]) -> str:
    value, low, high = (f"{100 * row[key]:.1f}" for key in ("value", "low", "high"))
    return f"{value}% ({low}–{high})"


def cells(text: str, first: str) -> list[str]:
    """The other cells of the row of a table that begins with `first`."""
    (line,) = re.findall(rf"^\| {re.escape(first)} \| (.*) \|$", text, re.MULTILINE)
    return line.split(" | ")


def test_the_cards_figures_are_those_of_the_evaluation(text, metrics):
    measured = srsly.read_json(metrics)
    assert "14 annotated mentions in 8 documents" in text
    for name, measure in headline(measured["scores"]).items():
        assert cells(text, measure.title) == [shown(measured["scores"][name])]
    for label, row in measured["types"].items():
        figures = [shown(row[key]) for key in ("ents_p", "ents_r", "ents_f")]
        if not row["support"]:  # found, and nowhere annotated
            figures[1:] = ["not measured"] * 2
        assert cells(text, label)[1:] == [str(row["support"]), *figures]
    bands = re.findall(r"^\| \d+ to \d+% \| (\d+) \|", text, re.MULTILINE)
    bins = measured["calibration"]["entities"]
    assert sum(map(int, bands)) == sum(row["n"] for row in bins)


def test_the_cards_training_tokens_and_settings_are_the_pipelines(text, model):
    nlp = spacy.load(model)
    counts = nlp.get_pipe("ner").label_data
    for label in nlp.get_pipe("ner").labels:
        assert cells(text, label)[0] == str(counts[label])
    assert f"trained on {sum(counts.values())} tokens" in text
    assert "labelled tokens of 8 documents" in text
    assert (
        'n_neighbors = 3, knn_weight = 0.25, tau = {"Sign": 0.5}, transition_weight = 0.15' in text
    )
    assert "`spacy_btl.BinaryTokenLabels.v1` (`competition =" in text
    parameters = nlp.get_pipe("transformer").model.transformer.num_parameters()
    assert f"`someone/tiny-bert`, bert, {parameters:,} parameters" in text


def test_the_card_says_what_was_measured_on_what_and_when(text, metrics):
    measured = srsly.read_json(metrics)
    assert f"Measured on {measured['date']} with spacy-btl" in text
    assert measured["model_files"] in text
    assert "on `sentences.spacy` of fingerprint" in text
    assert f"**{measured['cautions'][0]}**" in text
    assert "14 annotated mentions in 8 documents" in text


def test_the_card_says_how_many_mentions_overlap_and_how_many_of_all_are_found(
    model, metrics, tmp_path
):
    measured = srsly.read_json(metrics)
    measured["annotated"] = 20
    measured["scores"]["spans_btl_r"] = {"value": 0.5, "low": 0.2, "high": 0.8}
    text = card_text(spacy.load(model), measured, CardFile(**FACTS), versions={"spacy-btl": "1"})
    assert "14 annotated mentions (of 20: 6 overlap these" in text
    assert "| mention recall | 50.0% (20.0–80.0) |" in text


def test_the_card_says_what_its_author_wrote_and_the_standing_warnings(text):
    for key in ("description", "training_data", "evaluation_data", "intended_use"):
        assert FACTS[key] in text
    assert "- It knows few words.\n- It is\n  tiny.\n" in text
    assert r"| [A \| B](https://example.org/b) | C | MIT |" in text
    assert "not a medical device" in text
    assert "words of the training notes" in text
    assert 'spacy.load("en_tiny")' in text


def test_the_front_matter_is_that_of_a_model_card(text, metrics):
    data = yaml.safe_load(text.split("---\n")[1])
    assert data["language"] == "en"
    assert data["license"] == "cc0-1.0"
    assert data["library_name"] == "spacy"
    assert data["base_model"] == "someone/tiny-bert"
    results = ModelCard(text).data.eval_results
    values = {result.metric_name: result.metric_value for result in results}
    measured = srsly.read_json(metrics)["scores"]
    assert values[MEASURES["ents_f"].title] == round(measured["ents_f"]["value"], 4)
    assert {result.dataset_type for result in results} == {"four-sentences-twice"}


def test_the_package_has_the_card_and_the_meta_and_no_path(carded, tiny_bert, tmp_path):
    package(carded, tmp_path, create_sdist=False)
    root = tmp_path / "en_tiny-1.2.3"
    assert (root / "README.md").read_bytes() == (carded / "README.md").read_bytes()
    meta, saved = srsly.read_json(root / "meta.json"), srsly.read_json(carded / "meta.json")
    assert {key: meta[key] for key in saved if key != "vectors"} == {
        key: saved[key] for key in saved if key != "vectors"
    }
    assert any(need.startswith("spacy") and "btl" in need for need in meta["requirements"])
    traces = [str(place) for place in (tiny_bert, tmp_path, tempfile.gettempdir(), Path.home())]
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) > 15
    for path in files:
        data = path.read_bytes()
        assert not any(f"{trace}/".encode() in data for trace in traces), path


def test_the_pipeline_is_the_same(carded, model):
    before, after = spacy.load(model), spacy.load(carded)
    for sentence, _ in SENTENCES:
        ours = [(e.start, e.end, e.label_, e._.confidence) for e in after(sentence).ents]
        assert ours == [(e.start, e.end, e.label_, e._.confidence) for e in before(sentence).ents]


def test_a_pipeline_without_calibrator_and_a_type_that_was_not_measured(
    tiny_bert, corpus_path, tmp_path
):
    nlp = train(bert_pipeline(tiny_bert, scheme="BIO"), steps=1)
    nlp.get_pipe("ner").cfg["labels"][0] = "Rare|type"
    nlp.to_disk(tmp_path / "model")
    with pytest.warns(UserWarning, match="does not know"):
        measured = evaluate(str(tmp_path / "model"), corpus_path)
    measured["types"].pop("Rare|type", None)
    (tmp_path / "metrics.json").write_text(json.dumps(measured))
    facts = card_file(tmp_path, base_model=None)
    write_card(str(tmp_path / "model"), tmp_path / "metrics.json", facts, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    counts = nlp.get_pipe("ner").label_data
    tokens = counts["B-Rare|type"] + counts["I-Rare|type"]
    row = cells(text, r"Rare\|type")
    assert row == [str(tokens), "0", *["not measured"] * 3]
    assert "alibrator" not in text.replace("calibration", "")
    assert "### Confidence" not in text
    assert f"`{tiny_bert.name}`, bert" in text
    assert "_.confidence" not in text
    assert "# en_pipeline 0.0.0" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"license": None}, "license: Field required"),
        ({"author": ""}, "author: String should have at least 1 character"),
        ({"description": "two\nlines"}, "description: String should match pattern"),
        ({"licence": "MIT"}, "licence: Extra inputs are not permitted"),
        ({"limits": []}, "limits: List should have at least 1 item"),
        ({"sources": [{"name": "X"}]}, "sources.0.license: Field required"),
    ],
)
def test_a_key_that_is_missing_unknown_or_empty_is_a_clear_error(
    changes, message, model, metrics, tmp_path
):
    with pytest.raises(FileError, match=message) as caught:
        write_card(str(model), metrics, card_file(tmp_path, **changes), tmp_path / "out")
    assert "card.yml" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_metrics_of_another_pipeline_are_refused(
    model, metrics, calibrated_path, corpus_path, tmp_path
):
    facts = card_file(tmp_path)
    with pytest.raises(PipelineError, match="measured another pipeline"):
        write_card(str(calibrated_path), metrics, facts, tmp_path / "out")
    for content in ("{", "[]", '{"figures": {}}'):
        (tmp_path / "metrics.json").write_text(content)
        with pytest.raises(PipelineError, match=r"metrics\.json: (cannot be read|not from)"):
            write_card(str(model), tmp_path / "metrics.json", facts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_package_of_a_card_is_accepted_with_the_metrics_of_the_pipeline(
    calibrated_path, corpus_path, held_out_path, tmp_path
):
    """Its files were saved three times: by `calibrate`, by `card`, and by hand in between."""
    model = tmp_path / "model"
    calibrate(
        str(calibrated_path),
        corpus_path,
        model,
        settings={"n_neighbors": 3},
        held_out=held_out_path,
    )
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps(evaluate(str(model), corpus_path)))
    spacy.load(model).to_disk(tmp_path / "again")
    carded, facts = tmp_path / "carded", card_file(tmp_path)
    write_card(str(tmp_path / "again"), metrics, facts, carded, name="carded", version="1.0.0")
    package(carded, tmp_path, create_sdist=False)
    packaged = tmp_path / "en_carded-1.0.0" / "en_carded" / "en_carded-1.0.0"
    assert packaged.is_dir()
    assert read_metrics(metrics, open_pipeline(str(packaged)))
    write_card(str(packaged), metrics, facts, tmp_path / "anew")


def test_names_that_cannot_be_packages_and_other_folders_are_refused(model, metrics, tmp_path):
    facts = card_file(tmp_path)
    for name in ("a-b", "käse"):
        with pytest.raises(PipelineError, match=f"cannot be called '{name}'"):
            write_card(str(model), metrics, facts, tmp_path / "out", name=name)
    with pytest.raises(PipelineError, match="holds no pipeline"):
        write_card(str(model), metrics, facts, tmp_path)
    result = CliRunner().invoke(
        app, ["btl", "card", str(model), str(metrics), "gone.yml", str(tmp_path / "out")]
    )
    assert result.exit_code == 1
    assert "gone.yml: no card file" in result.output


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("card_*.yml")), ids=lambda p: p.stem
)
def test_the_projects_card_files_are_valid(path):
    assert read_yaml(path, CardFile, "card file").sources
