"""Training through the whole network, against plain torch and through spaCy's commands."""

import copy
from collections import Counter
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
import torch
from spacy import util
from spacy.cli._util import app
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.util import fix_random_seed, minibatch
from thinc.api import SGD
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner

from spacy_btl.errors import BtlWarning
from spacy_btl.losses.binary_copies import binary_copies
from tests.conftest import SENTENCES, bert_pipeline, make_examples, step, train

COPIES = list(product(("all", "pair"), ("outside", "ignore")))
BTL = "spacy_btl.BinaryTokenLabels.v1"


class PlainTorch(torch.nn.Module):
    """The same network as a pipeline's, with the same weights: BERT, mean pooling, one layer."""

    def __init__(self, nlp):
        super().__init__()
        encoder = nlp.get_pipe("transformer").model
        head = linear_of(nlp)
        self.types = nlp.get_pipe("ner").labels
        self.tokenizer = encoder.tokenizer
        self.bert = copy.deepcopy(encoder.transformer)
        self.W = torch.nn.Parameter(torch.tensor(head.get_param("W")))
        self.b = torch.nn.Parameter(torch.tensor(head.get_param("b")))
        self.zero_grad()
        counts = Counter(tag for text, _ in SENTENCES for tag in self.tags(nlp.make_doc(text)))
        self.weights = torch.tensor([1 - counts[i] / counts.total() for i in range(len(self.b))])

    def tags(self, doc):
        """Gold tags in scheme IO, by character."""
        entities = dict(SENTENCES)[doc.text]
        of_char = {
            i: self.types.index(t) + 1 for start, end, t in entities for i in range(start, end)
        }
        return [of_char.get(token.idx, 0) for token in doc]

    def forward(self, doc):
        encoding = self.tokenizer(doc.text, return_offsets_mapping=True, return_tensors="pt")
        offsets = encoding.pop("offset_mapping")[0].tolist()
        hidden = self.bert(**encoding).last_hidden_state[0]
        rows = []
        for token in doc:
            within = range(token.idx, token.idx + len(token))
            pieces = [
                i for i, (start, end) in enumerate(offsets) if end > start and start in within
            ]
            rows.append(hidden[pieces].mean(dim=0))
        return torch.stack(rows) @ self.W.T + self.b

    def loss_of_copy(self, docs, label, competition, non_target):
        """Weighted cross-entropy of the docs in which only mentions of one type are left."""
        logits = torch.cat([self(doc) for doc in docs])
        tags = torch.tensor([tag for doc in docs for tag in self.tags(doc)])
        own = self.types.index(label) + 1
        target = torch.where(tags == own, tags, 0)
        if non_target == "ignore":
            keep = (tags == own) | (tags == 0)
            logits, target = logits[keep], target[keep]
        if competition == "all":
            return cross_entropy(logits, target, weight=self.weights)
        return cross_entropy(
            logits[:, [0, own]], target.clamp(max=1), weight=self.weights[[0, own]]
        )

    def gradients(self):
        return {name: p.grad.numpy() for name, p in self.named_parameters() if p.grad is not None}


def linear_of(nlp):
    return next(layer for layer in nlp.get_pipe("ner").model.walk() if layer.name == "linear")


def gradients(nlp):
    """What `nlp.update(..., sgd=False)` left, by the names of `PlainTorch`."""
    bert = nlp.get_pipe("transformer").model.transformer
    named = {f"bert.{n}": p.grad.numpy() for n, p in bert.named_parameters() if p.grad is not None}
    return {**named, **{name: linear_of(nlp).get_grad(name) for name in ("W", "b")}}


def assert_same(found, expected, tolerance=1e-6):
    assert found.keys() == expected.keys()
    assert len(found) > 30
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=tolerance, rtol=1e-4, err_msg=name)


def btl_pipeline(tiny_bert, competition="pair", non_target="outside"):
    """An initialized pipeline with the fused loss."""
    loss = {"@losses": BTL, "competition": competition, "non_target": non_target}
    loss["class_weights"] = "complement"
    nlp = bert_pipeline(tiny_bert, loss=loss, dropout=False)
    fix_random_seed(0)
    not_apart = (competition, non_target) == ("pair", "ignore")
    with pytest.warns(BtlWarning, match="apart") if not_apart else nullcontext():
        nlp.initialize(lambda: make_examples(nlp))
    return nlp


def test_a_loss_that_does_not_tell_types_apart_is_warned_of_where_there_are_several():
    config = {"loss": {"@losses": BTL, "competition": "pair"}}
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_ner", config=config)
    one = Example.from_dict(nlp.make_doc("fever"), {"entities": [(0, 5, "Sign")]})
    nlp.initialize(lambda: [one])  # with one type there is nothing to tell apart
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_ner", config=config)
    with pytest.warns(BtlWarning, match='non_target to "outside", or competition to "all"'):
        nlp.initialize(lambda: make_examples(nlp))


@pytest.mark.parametrize(("competition", "non_target"), COPIES)
def test_the_fused_gradient_is_the_mean_of_the_copies_gradients(tiny_bert, competition, non_target):
    nlp = btl_pipeline(tiny_bert, competition, non_target)
    plain = PlainTorch(nlp)
    docs = [nlp.make_doc(text) for text, _ in SENTENCES]
    losses = []
    for label in plain.types:  # all four types are in the batch
        loss = plain.loss_of_copy(docs, label, competition, non_target) / len(plain.types)
        loss.backward()
        losses.append(loss.item())

    fused = nlp.update(make_examples(nlp), sgd=False)
    assert fused["ner"] == pytest.approx(sum(losses), rel=1e-4)
    assert_same(gradients(nlp), plain.gradients())


@pytest.mark.parametrize(("competition", "non_target"), COPIES)
def test_the_batchers_copies_average_to_the_fused_gradient(tiny_bert, competition, non_target):
    nlp = btl_pipeline(tiny_bert, competition, non_target)
    batcher = binary_copies(lambda stream: minibatch(stream, 4), non_target)
    copies = list(batcher(make_examples(nlp)))
    for batch in copies:
        nlp.update(batch, sgd=False)
    mean = {name: gradient / len(copies) for name, gradient in gradients(nlp).items()}
    fused = btl_pipeline(tiny_bert, competition, non_target)
    fused.update(make_examples(fused), sgd=False)
    assert len(copies) == 4
    assert_same(gradients(fused), mean)


def test_sub_batches_accumulate_their_gradients(tiny_bert):
    """As `accumulate_gradient = 2` does: two updates, then one step."""
    nlp = btl_pipeline(tiny_bert)
    expected, before = Counter(), PlainTorch(nlp).state_dict()
    for part in (slice(0, 2), slice(2, 4)):
        alone = btl_pipeline(tiny_bert)
        alone.update(make_examples(alone)[part], sgd=False)
        for name, gradient in gradients(alone).items():
            expected[name] = expected[name] + gradient
        nlp.update(make_examples(nlp)[part], sgd=False)
    assert_same(gradients(nlp), expected)

    for _, pipe in nlp.pipeline:
        pipe.finish_update(plain_sgd(0.5))
    moved = PlainTorch(nlp).state_dict()
    for name, gradient in expected.items():
        expected_values = before[name].numpy() - 0.5 * gradient
        np.testing.assert_allclose(moved[name].numpy(), expected_values, atol=1e-5)


def plain_sgd(rate):
    return SGD(rate, L2=0.0, grad_clip=0.0, use_averages=False)


@pytest.mark.parametrize(("competition", "non_target"), COPIES)
def test_sequential_training_is_a_plain_torch_loop(tiny_bert, competition, non_target):
    nlp = btl_pipeline(tiny_bert, competition, non_target)
    plain = PlainTorch(nlp)
    start = copy.deepcopy(plain.state_dict())
    ours, theirs = plain_sgd(0.1), torch.optim.SGD(plain.parameters(), lr=0.1)
    batcher = binary_copies(lambda stream: minibatch(stream, 2), non_target)
    for batch in batcher(make_examples(nlp)):
        (label,) = {ent.label_ for example in batch for ent in example.reference.ents}
        losses = step(nlp, batch, ours)
        theirs.zero_grad()
        docs = [example.predicted for example in batch]
        loss = plain.loss_of_copy(docs, label, competition, non_target)
        loss.backward()
        theirs.step()
        assert losses["ner"] == pytest.approx(loss.item(), rel=1e-4)
    for name, values in PlainTorch(nlp).state_dict().items():
        torch.testing.assert_close(values, plain.state_dict()[name], atol=1e-5, rtol=0)
    assert (plain.W - start["W"]).abs().max() > 1e-2


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tiny_bert):
    first, second, other = (
        train(bert_pipeline(tiny_bert), steps=5, seed=seed) for seed in (1, 1, 2)
    )
    for name in ("transformer", "ner"):
        assert first.get_pipe(name).to_bytes() == second.get_pipe(name).to_bytes()
        assert first.get_pipe(name).to_bytes() != other.get_pipe(name).to_bytes()


class Project:
    """A folder with a corpus and the config of a tiny pipeline, and spaCy's command line."""

    def __init__(self, folder, tiny_bert):
        self.folder = folder
        self.config = folder / "config.cfg"
        nlp = bert_pipeline(tiny_bert)
        self.corpus = folder / "corpus.spacy"
        references = [example.reference for example in make_examples(nlp, repeat=25)]
        DocBin(docs=references).to_disk(self.corpus)
        config = nlp.config.copy()
        config["paths"] = {**config["paths"], "train": str(self.corpus), "dev": str(self.corpus)}
        config["training"]["max_steps"] = 20
        config["training"]["eval_frequency"] = 10
        config["training"]["optimizer"]["learn_rate"] = 0.005
        config.to_disk(self.config)

    def spacy(self, *arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_bert):
    return Project(tmp_path_factory.mktemp("project"), tiny_bert)


@pytest.fixture(scope="module")
def model(project):
    """What `spacy train` makes of it, with the corpus shown in sub-batches."""
    output = project.folder / "trained"
    project.spacy(
        "train", project.config, "--output", output, "--training.accumulate_gradient", "2"
    )
    return output / "model-best"


def test_spacy_train_learns_the_corpus_and_reports_our_figures(model):
    nlp = spacy.load(model)
    scores = nlp.evaluate(make_examples(nlp))
    reported = srsly.read_json(model / "meta.json")["performance"]
    for name in ("ents_p", "ents_r", "ents_f", "ents_macro_f", "tag_uar", "tag_macro_f"):
        assert reported[name] == pytest.approx(scores[name])
        assert scores[name] > 0.8
    assert set(reported["ents_per_type"]) >= {"Severity", "Sign", "Test", "Value"}


def test_spacy_debug_config_and_data_pass(project):
    assert "Config is valid" in project.spacy("debug", "config", project.config)
    project.spacy("debug", "data", project.config, "--ignore-warnings")


def test_spacy_evaluate_writes_our_figures(project, model):
    file = project.folder / "metrics.json"
    project.spacy("evaluate", model, project.corpus, "--output", file)
    figures = srsly.read_json(file)
    nlp = spacy.load(model)
    scores = nlp.evaluate(make_examples(nlp))
    for name in ("ents_f", "ents_macro_f", "tag_uar", "tag_macro_f"):
        assert figures[name] == pytest.approx(scores[name])


@pytest.fixture(scope="module")
def labels(project):
    """The file that `spacy init labels` writes for the pipe."""
    project.spacy("init", "labels", project.config, project.folder / "labels")
    return project.folder / "labels" / "ner.json"


def test_spacy_init_labels_serves_a_streamed_corpus(project, labels, model):
    saved = srsly.read_json(labels)
    assert saved == spacy.load(model).get_pipe("ner").label_data
    config = spacy.util.load_config(project.config)
    reader = {"@readers": "spacy.read_labels.v1", "path": str(labels)}
    config["initialize"]["components"] = {"ner": {"labels": reader}}
    config["training"]["max_epochs"] = -1
    config["training"]["max_steps"] = 2
    config.to_disk(project.folder / "streamed.cfg")
    output = project.folder / "streamed"
    project.spacy("train", project.folder / "streamed.cfg", "--output", output)
    assert spacy.load(output / "model-last").get_pipe("ner").label_data == saved


def test_training_on_from_a_saved_pipeline_keeps_labels_and_frequencies(project, model):
    config = spacy.util.load_config(project.config)
    for name in ("transformer", "ner"):
        config["components"][name] = {"source": str(model)}
    config["training"]["max_steps"] = 2
    config["training"]["optimizer"]["learn_rate"] = 1e-4
    more = project.folder / "more.spacy"  # of one type only
    DocBin(docs=[make_examples(spacy.blank("en"))[2].reference]).to_disk(more)
    config["paths"]["train"] = str(more)
    config.to_disk(project.folder / "more.cfg")
    output = project.folder / "more"
    project.spacy("train", project.folder / "more.cfg", "--output", output)
    before, after = spacy.load(model), spacy.load(output / "model-last")
    assert after.get_pipe("ner").label_data == before.get_pipe("ner").label_data
    assert not np.array_equal(linear_of(after).get_param("W"), linear_of(before).get_param("W"))
    assert after.evaluate(make_examples(after))["ents_f"] > 0.8


# What spaCy does with a config, and with what was trained from it, beside `spacy train`.

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.cfg"))


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def config(request) -> Path:
    return request.param


@pytest.fixture(scope="module")
def overrides(tiny_bert, corpus_path) -> dict:
    return {
        "paths.train": str(corpus_path),
        "paths.dev": str(corpus_path),
        "paths.encoder": str(tiny_bert),
        "components.transformer.model.window": 48,
        "components.transformer.model.overlap": 8,
        "training.max_steps": 7,
        "training.max_epochs": 0,
    }


@pytest.fixture(scope="module")
def saved(config, overrides, tmp_path_factory) -> Path:
    """What `spacy train` saves before its first step."""
    nlp = init_nlp(util.load_config(config, overrides=overrides, interpolate=False))
    path = tmp_path_factory.mktemp("saved") / "model"
    nlp.to_disk(path)
    return path


@pytest.mark.parametrize("command", [["data"], ["model"]], ids=lambda words: words[0])
def test_spacy_debugs_it(config, overrides, command):
    words = [f"--{name}={value}" for name, value in overrides.items()]
    pipe = ["ner"] if command == ["model"] else []
    result = CliRunner().invoke(app, ["debug", *command, str(config), *pipe, *words])
    expected = "Corpus is loadable" if command == ["data"] else "model looks good"
    assert expected in result.output, result.output


def test_the_schedule_follows_the_number_of_steps_that_is_given(config, saved):
    training = spacy.load(saved).config["training"]
    schedule = training["optimizer"]["learn_rate"]
    if isinstance(schedule, dict):
        assert schedule["total_steps"] == 7
    assert training["max_steps"] == 7


CALLS = {
    "resume_training": lambda nlp: nlp.resume_training(),
    "update": lambda nlp: nlp.update(make_examples(nlp)),
    "rehearse": lambda nlp: nlp.rehearse(make_examples(nlp)),
    "initialize": lambda nlp: nlp.initialize(),
    "initialize with examples": lambda nlp: nlp.initialize(lambda: make_examples(nlp)),
    "create_optimizer": lambda nlp: nlp.create_optimizer(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_trained_pipeline_goes_on_training(saved, call):
    nlp = spacy.load(saved)
    labels = nlp.get_pipe("ner").labels
    CALLS[call](nlp)
    assert nlp.get_pipe("ner").labels == labels
    if call != "initialize":
        assert nlp.get_pipe("ner").tag_counts.sum() > 0
