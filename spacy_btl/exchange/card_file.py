"""What a model card says that cannot be computed: a YAML file that its author writes."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\n]+$")]


class Source(BaseModel, extra="forbid"):
    """What a model was made from: a corpus, an encoder.

    license (str): An SPDX identifier.
    """

    name: Line
    license: Line
    author: str = ""
    url: str = ""


class CardFile(BaseModel, extra="forbid"):
    """What a card file holds; texts are Markdown.

    description (str): One line.
    license (str): The SPDX identifier of the model's licence.
    base_model (str): The encoder, as a Hugging Face name. Without it the card has that of the
        config, and of a path its last part.
    dataset (str): The name of the corpus.
    training_data (str): What the training documents are.
    evaluation_data (str): What the documents of the evaluation are, and how they were chosen.
    intended_use (str): What it is for.
    limits (List[str]): What it is not for, and what is known to go wrong.
    sources (List[Source]): What it was made from.
    """

    description: Line
    author: Line
    email: str = ""
    url: str = ""
    license: Line
    base_model: str = ""
    dataset: Line
    training_data: Text
    evaluation_data: Text
    intended_use: Text
    limits: list[Text] = Field(min_length=1)
    sources: list[Source] = Field(min_length=1)
