"""Seeded damage to what our readers read: to bytes, and to the values inside of a format."""

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

# Bytes that parsers stumble over: NUL, no UTF-8, half a character, line ends, brackets, a BOM.
ODD_BYTES = (
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xc3",
    b"\r",
    b"\r\n",
    b"\n",
    b"\t",
    b'"',
    b"[",
    b"}",
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"[" * 2_000,
    b'{"a":' * 2_000,
)
ODD_NUMBERS = (b"-1", b"0", b"1e999", b"NaN", b"0x10", b"2147483648", b"9" * 30, b"9" * 6_000)
# What a field of JSON or msgpack may hold where another was expected.
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    7,
    2**31 - 1,
    2**31,
    2**63,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "O",
    "\x00",
    "a" * 1000,
    b"",
    b"\x80",
    [],
    {},
    [[]],
    [None],
    [1, 2, 3],
    {"text": 1},
)

Bytes = Callable[[bytes, Random], bytes]


def flip(data: bytes, rng: Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if damaged:
            damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
    return bytes(damaged)


def cut(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] if rng.random() < 0.7 else data[place:]


def insert(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    odd = rng.choice(ODD_BYTES) if rng.random() < 0.7 else rng.randbytes(rng.randrange(1, 20))
    return data[:place] + odd + data[place:]


def drop(data: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.randrange(1, 30) :]


def repeat(data: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.randrange(1, 60)]
    return data[:start] + piece * rng.choice((2, 3, 50)) + data[start + len(piece) :]


def change_number(data: bytes, rng: Random) -> bytes:
    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return insert(data, rng)
    start, end = rng.choice(numbers).span()
    return data[:start] + rng.choice(ODD_NUMBERS) + data[end:]


def change_lines(data: bytes, rng: Random) -> bytes:
    """Duplicate, delete, join or swap lines."""
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    change = rng.choice(("duplicate", "delete", "join", "swap"))
    if change == "duplicate":
        lines.insert(j, lines[i])
    elif change == "delete":
        del lines[i]
    elif change == "join":
        lines[i : i + 2] = [b"".join(lines[i : i + 2])]
    else:
        lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def swap_fields(data: bytes, rng: Random) -> bytes:
    """Swap two words of the file."""
    parts = re.split(rb"([\s,;:]+)", data)
    words = range(0, len(parts), 2)
    i, j = rng.choice(words), rng.choice(words)
    parts[i], parts[j] = parts[j], parts[i]
    return b"".join(parts)


BINARY: tuple[Bytes, ...] = (flip, flip, cut, insert, drop, repeat)
TEXT: tuple[Bytes, ...] = (*BINARY, change_number, change_number, change_lines, swap_fields)


def damage(data: bytes, rng: Random, how: Sequence[Bytes]) -> bytes:
    """Damage bytes once, or several times."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(how)(data, rng)
    return data


def change_values(tree: Any, rng: Random, odd: Sequence[Any] = ODD_VALUES) -> None:
    """Replace, remove, repeat or swap values somewhere in nested lists and dicts, in place."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(tree))
        if not places:
            return
        holder, key = rng.choice(places)
        change = rng.choice(("replace", "replace", "remove", "repeat", "swap", "negate"))
        if change == "remove":
            del holder[key]
        elif change == "repeat" and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif change == "swap":
            other, other_key = rng.choice(places)
            one, two = deepcopy(holder[key]), deepcopy(other[other_key])  # no list in itself
            other[other_key], holder[key] = one, two
        elif change == "negate" and type(holder[key]) is int:
            holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] << 20))
        else:
            holder[key] = deepcopy(rng.choice(odd))


def _places(tree: Any) -> Any:
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key])
