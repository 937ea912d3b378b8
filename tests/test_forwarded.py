"""The entries of forwarding fields, read from the right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.forwarded import MOST_ENTRIES, entries_of, host_and_port


def entries(header: str, *lines: str) -> list[str]:
    """Return all entries of these lines, the right-most first."""
    return list(entries_of(header)([line.encode("latin-1") for line in lines]))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["192.0.2.1"], ["192.0.2.1"]),
        (["192.0.2.1, 10.0.0.1 ,\t10.0.0.2"], ["10.0.0.2", "10.0.0.1", "192.0.2.1"]),
        (["192.0.2.1", "10.0.0.1,10.0.0.2"], ["10.0.0.2", "10.0.0.1", "192.0.2.1"]),
        (['"[2001:db8::1]:80"'], ["[2001:db8::1]:80"]),
        (["a,,b"], ["b", "", "a"]),
        ([""], [""]),
        (['"'], ['"']),
    ],
)
def test_x_forwarded_for_is_a_list_over_all_lines(lines: list[str], expected: list[str]) -> None:
    """What a client writes in a line of its own is as far left as if it had written it there."""
    assert entries("x-forwarded-for", *lines) == expected


# The examples of RFC 7239, sections 4, 6.1, 6.3 and 7.1, and what its grammar allows beside them.
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['for="_gazonk"'], ["_gazonk"]),
        (['For="[2001:db8:cafe::17]:4711"'], ["[2001:db8:cafe::17]:4711"]),
        (["for=192.0.2.60;proto=http;by=203.0.113.43"], ["192.0.2.60"]),
        (["for=192.0.2.43, for=198.51.100.17"], ["198.51.100.17", "192.0.2.43"]),
        (["for=_hidden, for=_SEVKISEK"], ["_SEVKISEK", "_hidden"]),
        (['for=192.0.2.43, for="[2001:db8:cafe::17]"'], ["[2001:db8:cafe::17]", "192.0.2.43"]),
        (
            ["for=192.0.2.43", 'for="[2001:db8:cafe::17]", for=unknown'],
            ["unknown", "[2001:db8:cafe::17]", "192.0.2.43"],
        ),
        (
            ["for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com"],
            ["198.51.100.17", "192.0.2.43"],
        ),
        (['for="192.0.2.43:47011"'], ["192.0.2.43:47011"]),
        (['host="a,b;for=x";FOR=192.0.2.1'], ["192.0.2.1"]),
        (['for="1\\92.0.2.1";host="a\\"b,c"'], ["192.0.2.1"]),
        (['for=192.0.2.1;host="a\\\\", for=192.0.2.2'], ["192.0.2.2", "192.0.2.1"]),
        (["by=192.0.2.1"], [""]),
        (["for=192.0.2.1;for=192.0.2.2"], [""]),
        (["for"], [""]),
    ],
)
def test_forwarded_is_read_by_its_grammar(lines: list[str], expected: list[str]) -> None:
    """Names in any case, quoted strings with what separates inside, and escapes in them."""
    assert entries("forwarded", *lines) == expected


@pytest.mark.parametrize(
    "claim",
    ['for="', 'for=192.0.2.66, for=10.0.0.1;x="', 'for=192.0.2.66;x="\\', '"\\\\"\\"', '";"'],
)
def test_a_quote_of_a_client_changes_nothing_to_its_right(claim: str) -> None:
    """The next proxy adds its element without a look at the quotes before it."""
    read = entries("forwarded", f'{claim}, for="[2001:db8::1]:80";host="a,b", for=10.0.0.1')
    assert read[:2] == ["10.0.0.1", "[2001:db8::1]:80"]


def test_an_element_of_any_length_is_an_entry() -> None:
    """One that is too long to be a proxy's tells nothing."""
    padded = f"for=192.0.2.1;host={'x' * 1006}"
    assert entries("forwarded", f"for=192.0.2.66,{padded[:1024]}") == ["192.0.2.1", "192.0.2.66"]
    assert entries("forwarded", f"for=192.0.2.66,{padded}") == ["", "192.0.2.66"]


def test_what_stands_before_an_open_quote_is_not_read() -> None:
    """Nobody knows where its element ends."""
    assert entries("forwarded", 'for=192.0.2.66, x", for=192.0.2.1') == ["192.0.2.1"]


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_a_long_list_is_read_from_the_right(header: str) -> None:
    """So many entries, from so many bytes, and none that was cut."""
    prefix = "for=" if header == "forwarded" else ""
    hosts = [f"10.0.{number // 250}.{number % 250}" for number in range(2000)]
    read = entries(header, ",".join(prefix + host for host in hosts))
    assert read == hosts[: -MOST_ENTRIES - 1 : -1]
    rest = f",{prefix}10.0.0.1,{prefix}10.0.0.2"
    cut = f"{prefix}192.0.2.1".ljust(8195 - len(rest)) + rest
    assert entries(header, cut) == ["10.0.0.2", "10.0.0.1"]
    assert entries(header, cut.replace("   ", "", 1)) == ["10.0.0.2", "10.0.0.1", "192.0.2.1"]
    assert entries(header, prefix + "1" * 9000 + ".0.0.1") == [""]


def test_of_other_fields_there_is_one_line_with_one_value() -> None:
    """Two lines contradict each other, and a list is no address."""
    assert entries("x-real-ip", " 192.0.2.1 ") == ["192.0.2.1"]
    assert entries("x-real-ip", "192.0.2.1", "192.0.2.1") == []
    assert host_and_port(entries("x-real-ip", "192.0.2.1, 192.0.2.2")[0])[0] != "192.0.2.1"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1:4711", ("192.0.2.1", 4711)),
        ("192.0.2.1:_hidden", ("192.0.2.1", 0)),
        ("2001:db8::1", ("2001:db8::1", 0)),
        ("[2001:db8::1]", ("2001:db8::1", 0)),
        ("[2001:db8::1]:4711", ("2001:db8::1", 4711)),
        ("[2001:db8::1", ("", 0)),
        ("[2001:db8::1]4711", ("", 0)),
        ("192.0.2.1:", ("", 0)),
        ("192.0.2.1:99999", ("", 0)),
        ("192.0.2.1:²", ("", 0)),
        ("192.0.2.1:+80", ("", 0)),
        (f"192.0.2.1:{'9' * 5000}", ("", 0)),
        ("", ("", 0)),
    ],
)
def test_an_entry_is_host_and_port(entry: str, expected: tuple[str, int]) -> None:
    """With a port or without, and nothing where it is neither."""
    assert host_and_port(entry) == expected


_TOKENS = st.sampled_from(['"', "\\", ",", ";", "=", "for=", "[", "]", ":", " ", "192.0.2.1", "é"])


@given(st.sampled_from(["x-forwarded-for", "forwarded", "x-real-ip"]), st.lists(st.binary()))
def test_reading_never_raises(header: str, lines: list[bytes]) -> None:
    """Whatever the bytes."""
    for entry in entries_of(header)(lines):
        assert 0 <= host_and_port(entry)[1] <= 65535


@given(st.lists(_TOKENS).map("".join), st.text('\\",;ab', max_size=8))
def test_elements_are_read_as_they_were_written(claim: str, host: str) -> None:
    """Whatever stands in a quoted string, and whatever a client has written before it."""
    quoted = host.replace("\\", "\\\\").replace('"', '\\"')
    line = f'{claim}, for=192.0.2.1;host="{quoted}", for="{quoted}";proto=https'
    assert entries("forwarded", line)[:2] == [host, "192.0.2.1"]
