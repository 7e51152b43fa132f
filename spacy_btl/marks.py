"""Mentions drawn in the text of a note, as HTML: overlapping ones as marks within marks.

displaCy's entities cannot overlap, and its spans part the words of the text and let labels cover
each other. A mark is drawn around the words and ends with its label, so it wraps as text does.
Where two mentions cross, the one that begins later is cut: its open side has no border.
The lower its confidence, the paler is a mark; one that is rather wrong than right is dashed.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from spacy_btl.colors import DARK_PAGE, LIGHT_PAGE, faded
from spacy_btl.lines import LINE_END

# Marks within each other that are drawn. Deeper mentions are counted below the text.
MAX_DEPTH = 8
# The title is the tooltip. The lines are as far apart as the marks within each other need.
MARK = (
    '<mark class="entity" data-mention="{place}" title="{about}" style="{colors};'
    "padding:{pad:.2f}em 0.25em;margin:0 0.05em;line-height:{line:.2f}em;"
    "border-radius:{left} {right} {right} {left};"
    '-webkit-box-decoration-break:clone;box-decoration-break:clone">'
)
# As the page is light or dark: its `color-scheme` says which.
COLORS = "background:light-dark({light},{dark});color:light-dark({light_letters},{dark_letters})"
FIRM = ";box-shadow:inset 0 0 0 1px light-dark(rgba(0,0,0,0.3),rgba(255,255,255,0.3))"
DASHED = ";outline:1px dashed light-dark(rgba(0,0,0,0.5),rgba(255,255,255,0.5));outline-offset:-1px"
LABEL = (
    '<span style="font-size:0.72em;font-weight:600">{label}'
    '<span style="font-weight:400">{figure}</span></span>'
)
ROUND, CUT = "0.3em", "0"
UNLIKELY = 0.5  # mentions of less confidence are rather wrong than right


class Mention(NamedTuple):
    """A mention to draw.

    confidence (Optional[float]): None if there is none to show.
    negated (bool): Whether its words are struck through.
    """

    start: int
    end: int
    label: str
    confidence: float | None = None
    negated: bool = False


class _Piece(NamedTuple):
    """What is drawn of a mention without a break."""

    mention: Mention
    start: int
    end: int
    depth: int  # 0 is the outermost


def drawn(text: str, mentions: Sequence[Mention], colors: Mapping[str, str]) -> str:
    """Draw the mentions of a text as HTML.

    colors (Mapping[str, str]): The colour of each type, from `colors_of`.
    """
    pieces, hidden = _pieces(mentions)
    content = "".join(_content(text, pieces, colors))
    note = (
        f'<p style="font-size:0.85em;opacity:0.8">Not drawn, since {MAX_DEPTH} others are around '
        f"them: {hidden:,}.</p>"
        if hidden
        else ""
    )
    return (
        '<div class="entities" style="line-height:1.9;overflow-wrap:anywhere" dir="auto">'
        f"{content}</div>{note}"
    )


def _pieces(mentions: Sequence[Mention]) -> tuple[list[_Piece], int]:
    """Cut mentions so that each piece is inside another or apart from it.

    RETURNS (Tuple[List[_Piece], int]): The pieces, the outer before the inner, and how many
        mentions would be too deep.
    """
    pieces: list[_Piece] = []
    open_: list[tuple[Mention, int]] = []  # from the outermost, each with the start of its piece
    hidden = 0

    def close(position: int) -> None:
        """End the marks that end before a position, and those within them, which go on behind."""
        while ends := [mention.end for mention, _ in open_ if mention.end <= position]:
            end = min(ends)
            first = next(i for i, (mention, _) in enumerate(open_) if mention.end == end)
            inner = open_[first:]
            pieces.extend(
                _Piece(mention, start, end, first + i) for i, (mention, start) in enumerate(inner)
            )
            open_[first:] = [(mention, end) for mention, _ in inner if mention.end > end]

    for mention in sorted(mentions, key=lambda one: (one.start, -one.end, one.label)):
        close(mention.start)
        if len(open_) == MAX_DEPTH:
            hidden += 1
        else:
            open_.append((mention, mention.start))
    close(max((mention.end for mention, _ in open_), default=0))
    return sorted(pieces, key=lambda one: (one.start, one.depth)), hidden


def _heights(pieces: Sequence[_Piece]) -> list[int]:
    """How many marks are within each piece, at most, one in the other."""
    heights = [0] * len(pieces)
    around: list[int] = []
    for number, piece in enumerate(pieces):
        while around and pieces[around[-1]].end <= piece.start:
            around.pop()
        for height, outer in enumerate(reversed(around), start=1):
            heights[outer] = max(heights[outer], height)
        around.append(number)
    return heights


def _content(text: str, pieces: Sequence[_Piece], colors: Mapping[str, str]) -> Iterator[str]:
    around: list[_Piece] = []
    at, ended = 0, -1  # the last character drawn, and the last end of a mark

    def until(position: int) -> Iterator[str]:
        nonlocal at, ended
        while around and around[-1].end <= position:
            yield from _text(text, at, around[-1].end, around)
            piece = around.pop()
            at = max(at, piece.end)
            yield _end(piece, alone=piece.end > ended)
            ended = piece.end
        yield from _text(text, at, position, around)
        at = max(at, position)

    for piece, height in zip(pieces, _heights(pieces), strict=True):
        yield from until(piece.start)
        yield _begin(piece, height, colors[piece.mention.label])
        around.append(piece)
    yield from until(len(text))


def _text(text: str, start: int, end: int, around: Sequence[_Piece]) -> Iterator[str]:
    if start < end:
        shown = LINE_END.sub("<br>", html.escape(text[start:end]))
        negated = any(piece.mention.negated for piece in around)
        yield f"<s>{shown}</s>" if negated else shown


def _begin(piece: _Piece, height: int, color: str) -> str:
    mention = piece.mention
    label = html.escape(mention.label)
    return MARK.format(
        place=f"{mention.start} {mention.end} {label}",
        about=f"{label}{', negated' if mention.negated else ''}, "
        f"characters {mention.start} to {mention.end}",
        colors=_colors(color, mention.confidence),
        pad=0.12 + 0.2 * height,
        line=1.9 + 0.4 * height,
        left=ROUND if piece.start == mention.start else CUT,
        right=ROUND if piece.end == mention.end else CUT,
    )


def _colors(color: str, confidence: float | None) -> str:
    light, light_letters = faded(color, confidence, LIGHT_PAGE)
    dark, dark_letters = faded(color, confidence, DARK_PAGE)
    colors = COLORS.format(
        light=light, dark=dark, light_letters=light_letters, dark_letters=dark_letters
    )
    return colors + (FIRM if confidence is None or confidence >= UNLIKELY else DASHED)


def _end(piece: _Piece, *, alone: bool) -> str:
    """The label, behind the last words of a mention, and the end of the mark.

    alone (bool): Whether it is the first label behind the word, which it stays with on a line.
    """
    mention = piece.mention
    if piece.end < mention.end:
        return "</mark>"
    figure = "" if mention.confidence is None else f"&nbsp;{mention.confidence:.2f}"
    space = "&nbsp;" if alone else " "
    return f"{space}{LABEL.format(label=html.escape(mention.label), figure=figure)}</mark>"
