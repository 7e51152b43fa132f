"""The language of notes, by the stop words of spaCy's languages."""

import re
from collections.abc import Iterable

from spacy.util import get_lang_class

LANGUAGES = ("en", "cs", "da", "de", "es", "fi", "fr", "it", "nb", "nl", "pl", "pt", "ro", "sv")
NAMES = {
    "en": "English", "cs": "Czech", "da": "Danish", "de": "German", "es": "Spanish",
    "fi": "Finnish", "fr": "French", "it": "Italian", "nb": "Norwegian", "nl": "Dutch",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "sv": "Swedish",
}  # fmt: skip
WORD = re.compile(r"[^\W\d_]+")
LEAST = 0.05  # of the words: telegraphic notes have few stop words


def guess_language(texts: Iterable[str]) -> tuple[str, str]:
    """Guess a language, among those that are written in Latin letters with blanks.

    RETURNS (Tuple[str, str]): Its code, and the reason. English where too little is known.
    """
    words = [word for text in texts for word in WORD.findall(text.lower()) if len(word) > 1]
    shares = {code: _share(words, code) for code in LANGUAGES}
    best = max(LANGUAGES, key=shares.__getitem__)  # the first of equals
    if shares[best] < LEAST:
        return "en", "the notes hold few words that tell a language: give --lang if it is another"
    return best, f"{shares[best]:.0%} of the words are stop words of {NAMES[best]}"


def _share(words: list[str], code: str) -> float:
    stop_words = get_lang_class(code).Defaults.stop_words
    return sum(word in stop_words for word in words) / max(len(words), 1)
