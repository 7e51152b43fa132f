"""The card file: the part of a model card that its author writes, as YAML."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\n]+$")]


class Source(BaseModel, extra="forbid"):
    """A corpus or an encoder that a model was made from.

    license (str): An SPDX identifier.
    """

    name: Line
    license: Line
    author: str = ""
    url: str = ""


class CardFile(BaseModel, extra="forbid"):
    """The content of a card file; texts are Markdown.

    description (str): One line.
    license (str): The SPDX identifier of the model's licence.
    base_model (str): The Hugging Face name of the encoder. Without it, the card has the name in
        the config, or the last part of a path there.
    dataset (str): The name of the corpus.
    training_data (str): A description of the training documents.
    evaluation_data (str): A description of the documents of the evaluation, and of their selection.
    intended_use (str): The purpose of the model.
    limits (List[str]): Uses that it is not meant for, and known errors.
    sources (List[Source]): The corpora and encoders that it was made from.
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
