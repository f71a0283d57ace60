"""Laying out SQL text: white space, and the case of words that Flink reserves. Otherwise no token changes.

Lines that the writer broke stay broken. Besides, every clause of a query begins a line, a subquery stands on lines of
its own, and a list goes on in the next line where its next item would not fit. What comes out is laid out already:
where a line ends depends on tokens, on where lines ended before, and on widths that a layout does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from core.sql.reserved import RESERVED
from core.sql.tokens import COMMENTS, NEWLINE, Token, TokenKind
from core.sql.variables import lexemes_with_variables

WIDTH = 100
INDENT = 2
DEEPEST = 60  # more of it would make the text grow with the square of its depth

_CLAUSES = frozenset({"FROM", "WHERE", "HAVING", "LIMIT", "OFFSET", "FETCH", "WINDOW", "QUALIFY"})
_SETS = frozenset({"UNION", "INTERSECT", "EXCEPT", "MINUS"})
_JOINS = frozenset({"INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL", "OUTER", "SEMI", "ANTI"})


class Gap(IntEnum):
    """What is between two tokens."""

    NONE = 0
    SPACE = 1
    LINE = 2
    BLANK = 3


@dataclass
class _Piece:
    """A token or a comment as it is written out. `gap` is in front of it; a `clause` begins with it; `item` is the
    width of what stands behind a comma, up to the next one."""

    token: Token
    text: str
    gap: Gap
    clause: bool = False
    item: int = 0

    @property
    def is_comment(self) -> bool:
        return self.token.kind in COMMENTS


@dataclass
class _Frame:
    """What is open: the statement, parentheses, a hint. `outer` is the indent of the line that opened it, `indent` that
    of lines inside. `selects` once a SELECT was seen in it."""

    outer: int
    indent: int
    query: bool
    hint: bool = False
    selects: bool = False
    begun: bool = False


def formatted(text: str) -> str:
    """The text laid out. Raises `InvalidInput` on what is not closed."""
    blocks = [_laid_out(pieces) for pieces in _statements(_pieces(text))]
    return "\n\n".join(blocks) + "\n" if blocks else ""


# What stands between tokens -------------------------------------------------------------------


def _pieces(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    gap = Gap.NONE
    for token in lexemes_with_variables(text):
        if token.kind is TokenKind.SPACE:
            gap = Gap(min(Gap.BLANK, Gap.SPACE + len(NEWLINE.findall(token.text))))
        else:
            pieces.append(_Piece(token, token.text, gap))
            gap = Gap.NONE
    moved = False  # a line that ended in front of a comma ends behind it
    for before, piece in pairwise(pieces):
        gap = max(piece.gap, Gap.LINE) if moved and not piece.is_comment else piece.gap
        piece.gap = _allowed(before, piece, gap)
        within = before.token.kind is not TokenKind.END
        moved = within and piece.text == "," and piece.gap is Gap.NONE and gap >= Gap.LINE
    for i, piece in enumerate(pieces):
        beside = pieces[max(0, i - 1) : i + 2]
        if piece.token.word in RESERVED and not any(p.text == "." for p in beside):
            piece.text = piece.token.word
    return pieces


def _allowed(before: _Piece, piece: _Piece, gap: Gap) -> Gap:
    """The gap in front of a piece: `gap`, unless the tokens beside it say another one."""
    if before.token.kind is TokenKind.LINE:
        return max(gap, Gap.LINE)
    if piece.is_comment or before.is_comment:
        return gap
    if piece.text in (",", ";"):
        return Gap.NONE
    if before.text == ",":
        return max(gap, Gap.SPACE)
    if gap is Gap.SPACE and (before.text == "(" or piece.text == ")"):
        return Gap.NONE
    return gap


def _statements(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """The pieces of each statement, with its semicolon and the comments behind that on the same line."""
    blocks: list[list[_Piece]] = []
    ended = True
    for piece in pieces:
        if ended and not (blocks and piece.is_comment and piece.gap < Gap.LINE):
            blocks.append([])
            ended = False
        blocks[-1].append(piece)
        ended = ended or piece.token.kind is TokenKind.END
    return blocks


# One statement --------------------------------------------------------------------------------


def _laid_out(pieces: list[_Piece]) -> str:
    following = _following(pieces)
    _break(pieces, following)
    _measure(pieces)
    lines: list[str] = []
    line, indent, begun = "", 0, False
    above = ""  # what a text or a comment over several lines has in front of `line`, with its own line ends
    frames = [_Frame(0, 0, query=True)]
    for i, piece in enumerate(pieces):
        gap = piece.gap
        if i and gap is Gap.SPACE and pieces[i - 1].text == "," and not piece.is_comment:
            # One more for the comma behind it.
            gap = Gap.LINE if len(line) + 2 + pieces[i - 1].item > WIDTH else gap
        if i and gap < Gap.LINE:
            line += " " * gap
        else:
            if i:
                lines += [above + line, ""] if gap is Gap.BLANK and not begun else [above + line]
                above = ""
            indent = _indent(pieces, i, following, frames)
            line = " " * indent
        line += piece.text
        if (end := max(line.rfind("\n"), line.rfind("\r"))) >= 0:  # a text or a comment over several lines
            above += line[: end + 1]
            line = line[end + 1 :]
        begun = begun or not piece.is_comment
        _go_on(frames, pieces, i, following, indent)
    return "\n".join([*lines, above + line])


def _following(pieces: Sequence[_Piece]) -> list[int]:
    """For each piece the number of the next one that is no comment."""
    following, last = [], len(pieces)
    for i in range(len(pieces) - 1, -1, -1):
        following.append(last)
        last = last if pieces[i].is_comment else i
    return following[::-1]


def _word(pieces: Sequence[_Piece], at: int) -> str:
    return pieces[at].token.word if at < len(pieces) else ""


def _closes(frames: Sequence[_Frame], piece: _Piece) -> bool:
    if piece.token.kind is TokenKind.HINT_END:
        return frames[-1].hint
    return piece.text == ")" and len(frames) > 1 and not frames[-1].hint


def _go_on(frames: list[_Frame], pieces: Sequence[_Piece], at: int, following: Sequence[int], indent: int) -> None:
    """What is open behind the piece number `at`, which stands in a line with this indent."""
    piece = pieces[at]
    if piece.is_comment:
        return
    if _closes(frames, piece):
        frames.pop()
    frames[-1].begun = True
    frames[-1].selects = frames[-1].selects or piece.token.word == "SELECT"
    if piece.text == "(" or piece.token.kind is TokenKind.HINT:
        query = piece.text == "(" and _word(pieces, following[at]) in ("SELECT", "WITH")
        frames.append(_Frame(indent, min(DEEPEST, indent + INDENT), query, hint=piece.token.kind is TokenKind.HINT))


def _break(pieces: Sequence[_Piece], following: Sequence[int]) -> None:
    """Begin a line with every clause, and around subqueries."""
    frames = [_Frame(0, 0, query=True)]
    last: _Piece | None = None
    for i, piece in enumerate(pieces):
        if piece.is_comment:
            continue
        frame = frames[-1]
        piece.clause = frame.query and _is_clause(pieces, i, following, frame, last.token.word if last else "")
        closes_query = frame.query and _closes(frames, piece)
        opens_query = frame.query and not frame.begun and len(frames) > 1
        beside_parenthesis = i > 0 and pieces[i - 1].text in ("(", ")")
        if last and (closes_query or opens_query or (piece.clause and (piece.gap or beside_parenthesis))):
            piece.gap = max(piece.gap, Gap.LINE)
        _go_on(frames, pieces, i, following, 0)
        last = piece


def _is_clause(pieces: Sequence[_Piece], at: int, following: Sequence[int], frame: _Frame, before: str) -> bool:
    """Whether a clause of a query begins with a piece; `before` is the word in front of it."""
    word, after = pieces[at].token.word, _word(pieces, following[at])
    if not frame.begun:
        return True
    if word == "INSERT":
        return before == "BEGIN"
    if word in ("SELECT", "VALUES"):
        return True
    if not frame.selects:
        return word == "WITH" and bool(after)  # not in front of options, which stand in parentheses
    if word in ("GROUP", "ORDER"):
        return after == "BY"
    if word == "JOIN":
        return before not in _JOINS
    if word in _JOINS:
        return before not in _JOINS and (after == "JOIN" or after in _JOINS)
    return word in _SETS or (word in _CLAUSES and before != "DISTINCT")  # IS DISTINCT FROM


def _measure(pieces: Sequence[_Piece]) -> None:
    """The width of each item of a list behind its comma: up to the next comma, to what closes the list, or to the end
    of its line."""
    open_commas: list[_Piece | None] = [None]
    began: list[int] = [0]
    width = 0

    def end() -> None:
        if (comma := open_commas[-1]) is not None:
            comma.item = width - began[-1]
            open_commas[-1] = None

    for piece in pieces:
        closing = piece.text == ")" or piece.token.kind is TokenKind.HINT_END
        if piece.gap >= Gap.LINE or piece.text == "," or closing:
            end()
        if closing and len(open_commas) > 1:
            open_commas.pop()
            began.pop()
        width += min(piece.gap, Gap.SPACE) + len(piece.text)
        if piece.text == ",":
            open_commas[-1], began[-1] = piece, width + Gap.SPACE
        elif piece.text == "(" or piece.token.kind is TokenKind.HINT:
            open_commas.append(None)
            began.append(0)
    while open_commas:
        end()
        open_commas.pop()
        began.pop()


def _indent(pieces: Sequence[_Piece], at: int, following: Sequence[int], frames: Sequence[_Frame]) -> int:
    """The indent of a line that begins with the piece number `at`."""
    frame, piece = frames[-1], pieces[at]
    if _closes(frames, piece):
        return frame.outer
    head = following[at] if piece.is_comment else at  # a comment stands as what follows it
    goes_on = frame.query and frame.begun and head < len(pieces) and not pieces[head].clause
    return min(DEEPEST, frame.indent + INDENT * goes_on)
