"""What proxies say of a request: the entries of a forwarding field, the right-most first.

Every proxy adds the address it was called from on the right, so whatever a client writes itself
stands to the left of what the first proxy knows. Fields are read from the right for that reason,
and so that nothing further left, such as a quote that is never closed, changes what is read.

Nothing here raises on what a client sends, and the time is linear in the little that is read.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

Entries: TypeAlias = Callable[[Sequence[bytes]], Iterator[str]]
"""What yields the entries of a field, the right-most first, from the values of its lines."""

X_FORWARDED_FOR = "x-forwarded-for"
FORWARDED = "forwarded"
MOST_ENTRIES = 64
"""How many entries are read at most."""

_MOST_BYTES = 8192
_LONGEST_ELEMENT = 1024
_BLANKS = " \t"
_MOST_DIGITS, _LAST_PORT = 5, 65535
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_MARKS = re.compile(r'"\\*|[,;]')  # for text that is reversed: a quote with what escapes it


def entries_of(header: str) -> Entries:
    """Return what reads a field: the two lists by their grammar, and others as one address."""
    return {X_FORWARDED_FOR: _x_forwarded_for, FORWARDED: _forwarded}.get(header, _single)


def host_and_port(entry: str) -> tuple[str, int]:
    """Split an entry into host and port: 0 for a port that is not told, no host for what is none.

    Such as `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:4711`.
    """
    if entry[:1] == "[":
        host, bracket, rest = entry[1:].partition("]")
        if not bracket or rest[:1] not in {"", ":"}:
            return "", 0
        return (host, 0) if not rest else _checked(host, rest[1:])
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return _checked(host, port)
    return entry, 0


def _checked(host: str, port: str) -> tuple[str, int]:
    if port[:1] == "_":  # RFC 7239, section 6.2: a port that the proxy does not tell
        return host, 0
    if port.isascii() and port.isdigit() and len(port) <= _MOST_DIGITS and int(port) <= _LAST_PORT:
        return host, int(port)
    return "", 0


def _single(lines: Sequence[bytes]) -> Iterator[str]:
    if len(lines) == 1:  # of two lines, nobody knows which one the proxy wrote
        yield _plain(lines[0].decode("latin-1"))


def _x_forwarded_for(lines: Sequence[bytes]) -> Iterator[str]:
    parts = _joined(lines).rsplit(",", MOST_ENTRIES)
    for part in parts[: -MOST_ENTRIES - 1 : -1]:
        yield _plain(part)


def _forwarded(lines: Sequence[bytes]) -> Iterator[str]:
    for element in islice(_from_right(_joined(lines), ","), MOST_ENTRIES):
        yield _node(element)


def _node(element: str) -> str:
    """Return whom an element of `Forwarded` is for; nothing where it says so not exactly once."""
    if len(element.strip(_BLANKS)) > _LONGEST_ELEMENT:
        return ""
    nodes = [
        _plain(value)
        for name, _, value in (pair.partition("=") for pair in _from_right(element, ";"))
        if name.strip(_BLANKS).lower() == "for"
    ]
    return nodes[0] if len(nodes) == 1 else ""


def _joined(lines: Sequence[bytes]) -> str:
    """Return all lines as the one list that they are, or the right of it where that is long."""
    value = lines[0] if len(lines) == 1 else b",".join(lines)
    if len(value) > _MOST_BYTES:
        value = value[-_MOST_BYTES:].partition(b",")[2]  # the first entry may have been cut
    return value.decode("latin-1")


def _plain(text: str) -> str:
    """Return an entry without blanks, quotes and escapes."""
    text = text.strip(_BLANKS)
    if len(text) > 1 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text


def _from_right(text: str, separator: str) -> Iterator[str]:
    """Yield what stands between separators outside of quotes, the right-most first.

    What stands to the left of a quote that nothing opens is not yielded.
    """
    if '"' not in text:
        yield from reversed(text.split(separator))
        return
    end = len(text)
    quoted = False
    for mark in _MARKS.finditer(text[::-1]):
        if mark[0] == separator:
            if not quoted:
                after = len(text) - mark.start()
                yield text[after:end]
                end = after - 1
        elif mark[0][0] == '"' and (not quoted or len(mark[0]) % 2):  # an even number of escapes
            quoted = not quoted
    if not quoted:
        yield text[:end]
