"""Whether the encoder of a pipeline is a compiled one, which only predicts."""

from spacy.language import Language

# The architecture of a compiled encoder.
COMPILED = "spacy_btl.CompiledTransformer.v1"


def is_compiled(nlp: Language) -> bool:
    """Whether `btl compile` made a pipeline."""
    configs = map(nlp.get_pipe_config, nlp.component_names)
    return any(config.get("model", {}).get("@architectures") == COMPILED for config in configs)
