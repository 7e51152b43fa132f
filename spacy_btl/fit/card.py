"""A draft of the card file, of what a run knows. Its author completes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import srsly

from spacy_btl.corpora.parts import PARTS
from spacy_btl.errors import counted, listed
from spacy_btl.exchange.card_file import CardFile, Source
from spacy_btl.fit.conclusions import Trust
from spacy_btl.fit.corpus import Part
from spacy_btl.fit.encoder import MINILM

UNKNOWN = "NOASSERTION"  # SPDX's, for a licence that nobody stated


def draft_card(
    notes: Path, encoder: str, parts: Mapping[str, Part], found: Trust, doubts: Sequence[str]
) -> str:
    """The draft, as YAML.

    encoder (str): Its name on the Hugging Face hub, or its folder.
    doubts (Sequence[str]): The cautions of the run.
    """
    train, dev, test = (parts[name] for name in PARTS)
    name = notes.absolute().name
    folder = Path(encoder).is_dir()
    encoder_name = Path(encoder).name if folder else encoder
    limits = [
        "This card is a draft of `btl fit`: nobody has said yet what the pipeline is for.",
        "The figures say how well it reads notes of this source. Expect lower ones on others.",
        "No use with patients: nothing was validated for care.",
        *doubts,
    ]
    if weak := [*found.poor, *found.unmeasured]:
        limits.append(f"Types that cannot be trusted yet: {listed(sorted(weak))}.")
    card = CardFile(
        description=f"Entities of {counted(len(train.types), 'type')}, with a confidence for each.",
        author="not stated",
        license=UNKNOWN,
        base_model="" if folder else encoder,
        dataset=name,
        training_data=(
            f"{counted(train.documents, 'document')} of {name} with "
            f"{counted(train.mentions, 'mention')}, "
            f"divided by document or patient. {dev.documents:,} others calibrate the confidence."
        ),
        evaluation_data=(
            f"{counted(test.documents, 'document')} of {name} that neither the network nor the "
            "calibrator had."
        ),
        intended_use="Not stated.",
        limits=limits,
        sources=[
            Source(name=name, license=UNKNOWN),
            Source(name=encoder_name, license="Apache-2.0" if encoder == MINILM else UNKNOWN),
        ],
    )
    return srsly.yaml_dumps(card.model_dump())
