"""Labels as brat can hold them, and back: brat's types are of letters, digits, `-` and `_`, as
its server's `normalize_to_storage_form` has it (https://github.com/nlplab/brat).

Other characters become `-uHEX-`, several in a row `-uHEX_HEX-`: `Signe/clé` is `Signe-u2F-cl-uE9-`.
No two labels have one name.
"""

import re

# Also a hyphen that looks like the beginning of an escape, and the first of a name of hyphens
# alone, which is a rule between types in brat's settings.
TO_ESCAPE = re.compile(r"[^A-Za-z0-9_-]+|-(?=u[0-9A-F])|^-(?=-*$)")
ESCAPE = re.compile(r"-u([0-9A-F]+(?:_[0-9A-F]+)*)-")


def brat_type(label: str) -> str:
    """The name that a label has in brat."""
    return TO_ESCAPE.sub(
        lambda match: f"-u{'_'.join(f'{ord(letter):X}' for letter in match[0])}-", label
    )


def label_of(brat_name: str) -> str:
    """The label that a name in brat stands for: of a name that `brat_type` did not give, itself."""
    try:
        label = ESCAPE.sub(
            lambda match: "".join(chr(int(letter, 16)) for letter in match[1].split("_")),
            brat_name,
        )
        label.encode("utf-8")
    except (ValueError, OverflowError):  # no such character, or half of one
        return brat_name
    return label if brat_type(label) == brat_name else brat_name
