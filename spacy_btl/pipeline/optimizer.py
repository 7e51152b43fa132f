"""The optimizer's block of a pipeline's config, which spaCy reads by itself."""

from spacy.language import Language


def resolve_optimizer(nlp: Language) -> None:
    """Put values in the place of variables in the optimizer's block of a pipeline's config.

    Our configs let the schedule follow `${training.max_steps}`, so that it fits whatever number a
    user gives. spaCy resolves the variables of the whole config for `spacy train`, and none where
    it reads the block alone: `nlp.initialize`, `nlp.update`, `nlp.resume_training`, `debug data`.
    """
    interpolated = nlp.config.interpolate()
    nlp.config["training"]["optimizer"] = interpolated["training"]["optimizer"]
