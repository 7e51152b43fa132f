"""Escape labels for brat, whose types consist of letters, digits, `-` and `_`.

brat's server restricts them in `normalize_to_storage_form` (https://github.com/nlplab/brat). Other
characters become `-uHEX-`, several in a row `-uHEX_HEX-`: `Signe/clé` is `Signe-u2F-cl-uE9-`.
Different labels have different escapes.
"""

import re

# Also a hyphen that looks like the start of an escape, and the first hyphen of a name of hyphens
# alone, which brat's settings would read as a separator.
TO_ESCAPE = re.compile(r"[^A-Za-z0-9_-]+|-(?=u[0-9A-F])|^-(?=-*$)")
ESCAPE = re.compile(r"-u([0-9A-F]+(?:_[0-9A-F]+)*)-")


def brat_type(label: str) -> str:
    """Return a label as brat can hold it."""
    return TO_ESCAPE.sub(
        lambda match: f"-u{'_'.join(f'{ord(letter):X}' for letter in match[0])}-", label
    )


def label_of(brat_name: str) -> str:
    """Undo `brat_type`. A name that `brat_type` does not return is a label as it is."""
    try:
        label = ESCAPE.sub(
            lambda match: "".join(chr(int(letter, 16)) for letter in match[1].split("_")),
            brat_name,
        )
        label.encode("utf-8")
    except (ValueError, OverflowError):  # no such character, or half of one
        return brat_name
    return label if brat_type(label) == brat_name else brat_name
