"""Average the logits of several networks, in one pipeline that runs all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from spacy.language import Language
from thinc.api import Model
from thinc.types import Floats1d, Floats2d

from spacy_btl.errors import PipelineError
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipelines import refuse_foreign_folder, save_whole
from spacy_btl.training.average import learned_nothing, load_uncalibrated, loss_of


class _Network(NamedTuple):
    """A pipeline and its `btl_ner`, which owns its encoder."""

    model: str
    nlp: Language
    name: str

    @property
    def ner(self) -> BtlNer:
        return cast(BtlNer, self.nlp.get_pipe(self.name))

    @property
    def tok2vec(self) -> Model:
        return self.ner.model.get_ref("tok2vec")

    @property
    def head(self) -> Model:
        """`over_seen_tokens`, with the linear layer inside."""
        return self.ner.model.layers[-1]


def ensemble(models: Sequence[str], output: Path) -> list[str]:
    """Save a pipeline whose logits are the means of those of several.

    Its `btl_ner` owns the encoders of all. A linear layer over their vectors side by side, with the
    networks' heads as its blocks, gives the mean of their logits: a mean of log-probabilities, up
    to a constant (the logarithmic opinion pool; Heskes 1998, "Selecting weighting factors in
    logarithmic opinion pools"). So it is calibrated, trained on, saved and packaged like one
    network, and costs what all of them do. The encoders may differ. Of a token that some encoder
    does not see the logits are the mean too, but for the bias.

    models (Sequence[str]): Two or more package names or folders. Everything but the network is as
        in the first; `meta.json` has the loss of each as `ensemble`.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    RETURNS (List[str]): The models that learned nothing, by the evaluation of their training.
    RAISES: PipelineError, for fewer pipelines than two, one that is calibrated already, one without
        exactly one `btl_ner` whose model is `spacy_btl.TokenLogits.v1`, with layers between the
        listener and the head, or with other tags than the first.

    >>> from spacy_btl import ensemble
    >>> idle = ensemble(["trained", "other"], Path("ensemble"))
    """
    refuse_foreign_folder(output)
    if len(models) < 2:
        raise PipelineError("An ensemble needs two pipelines or more.")
    networks = [_load(model) for model in models]
    first = networks[0]
    for network in networks[1:]:
        if _kind(network.ner) != _kind(first.ner):
            raise PipelineError(
                f"'{network.model}' and '{first.model}' cannot be one ensemble: they differ in "
                "their entity types, their tag scheme, or in spans_key."
            )
    losses = [loss_of(network.nlp) for network in networks]
    idle = [network.model for network in networks if learned_nothing(network.nlp)]
    _join(networks)
    first.nlp.meta.update(ensemble=losses, performance={})  # the figures were the first one's
    save_whole(first.nlp, output)
    return idle


def _kind(ner: BtlNer) -> tuple[tuple[str, ...], bool]:
    """What pipes must have in common."""
    return ner.tag_scheme.tags, ner.spans_key is None


def _load(model: str) -> _Network:
    nlp = load_uncalibrated(model)
    pipes = [(name, pipe) for name, pipe in nlp.components if isinstance(pipe, BtlNer)]
    if len(pipes) != 1 or "tok2vec" not in pipes[0][1].model.ref_names:
        raise PipelineError(
            f"'{model}' cannot be part of an ensemble: it needs exactly one btl_ner pipe, with the "
            "model spacy_btl.TokenLogits.v1."
        )
    name = pipes[0][0]
    _own_encoder(nlp, name, model)
    return _Network(model, nlp, name)


def _own_encoder(nlp: Language, name: str, model: str) -> None:
    """Give a pipe a copy of the encoder that it listens to; remove that if nobody is left."""
    for upstream, pipe in list(nlp.components):
        if name in getattr(pipe, "listening_components", ()):
            tok2vec = nlp.get_pipe_config(name)["model"]["tok2vec"]
            if "Listener" not in tok2vec.get("@architectures", ""):
                raise PipelineError(  # spaCy's replace_listeners would write a wrong config
                    f"'{model}' cannot be part of an ensemble: the tok2vec of its '{name}' has "
                    f"layers over the listener to '{upstream}'."
                )
            nlp.replace_listeners(upstream, name, ["model.tok2vec"])
            if not getattr(pipe, "listening_components", ()):
                nlp.remove_pipe(upstream)


def _join(networks: Sequence[_Network]) -> None:
    """Make the `btl_ner` of the first pipeline that of all."""
    first, labels = networks[0], networks[0].ner.cfg
    encoders = [network.tok2vec for network in networks]
    weights, bias = _mean_head([network.head for network in networks])
    blocks = [network.nlp.get_pipe_config(network.name)["model"]["tok2vec"] for network in networks]
    config = {**first.nlp.get_pipe_config(first.name)}
    del config["factory"]
    parts = {f"network_{number}": block for number, block in enumerate(blocks, start=1)}
    config["model"]["tok2vec"] = {"@layers": "concatenate.v1", "*": parts}
    first.nlp.replace_pipe(first.name, "btl_ner", config=config)
    first.ner.cfg = labels
    first.tok2vec.layers[:] = encoders
    linear = first.head.layers[0]
    for layer in (first.ner.model, first.head, linear):
        layer.set_dim("nO", len(bias))
    linear.set_dim("nI", weights.shape[1])
    linear.set_param("W", weights)
    linear.set_param("b", bias)


def _mean_head(heads: Sequence[Model]) -> tuple[Floats2d, Floats1d]:
    """The weights of all, side by side, and the bias, as the first one's scale wants them."""
    weights, bias = [], []
    for head in heads:
        linear, share = head.layers[0], head.attrs["scale"] / heads[0].attrs["scale"] / len(heads)
        weights.append(linear.get_param("W") * share)
        bias.append(linear.get_param("b") * share)
    xp = heads[0].ops.xp
    return xp.concatenate(weights, axis=1), xp.sum(xp.stack(bias), axis=0)
