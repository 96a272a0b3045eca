"""Section 2: field tables."""

import pytest

from expect import differs, spec
from wire import Raw, V, encode_header, encode_table, longstr, shortstr

VALUES = [
    V("t", True), V("t", False), V("b", -128), V("B", 255), V("s", -32768), V("u", 65535),
    V("I", -2**31), V("i", 2**32 - 1), V("l", -2**63), V("l", 2**63 - 1), V("f", 1.5), V("d", -0.1),
    V("D", (2, 314)), V("D", (255, 2**32 - 1)), V("S", b""), V("S", b"\x00\xff\xfe"), V("x", b"\x00\x01"),
    V("x", b""), V("T", 2**63), V("F", {}), V("A", []), V("V"),
    V("F", {"a": {"b": {"c": [1, "x", None, {"d": V("f", 0.5)}]}}}),
    V("A", [V("b", 1), V("B", 1), V("s", 1), V("u", 1), V("I", 1), V("i", 1), V("l", 1), [], [[]], {}]),
]


def label(v):
    return f"{v.tag} {str(v.value)[:24]}"


def roundtrip(ch, name, table):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"", {"headers": table})
    ch.barrier()
    return ch.get(name).props.raw


@spec("2.1")
@pytest.mark.parametrize("value", VALUES, ids=label)
def test_value_comes_back_octet_for_octet(ch, name, value):
    assert roundtrip(ch, name, {"k": value}) == encode_header(0, {"headers": {"k": value}})[12:]


@spec("2.1")
def test_L_is_a_signed_long(ch, name):
    """The letter may come back as l; the octets of the value stay."""
    raw = roundtrip(ch, name, {"k": V("L", -5)})
    assert raw[-8:] == b"\xff" * 7 + b"\xfb" and raw[-9:-8] in b"lL"


@spec("2.1")
def test_U_is_read_as_signed_16(conn, ch, name):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"", {"headers": {"k": V("U", -2)}})
    if differs("T1", "accepted", rabbitmq="refused") == "accepted":
        ch.barrier()
        raw = ch.get(name).props.raw
        assert raw[-2:] == b"\xff\xfe" and raw[-3:-2] in b"sU"


@spec("2.1")
@pytest.mark.parametrize("where", ["arguments", "headers"])
@pytest.mark.parametrize("tag", ["z", "C", "\xff"])
def test_unknown_type_octet_is_502(conn, ch, name, where, tag):
    if differs("T1", True, rabbitmq=where == "arguments"):
        table = {"k": V(tag, b"\x00\x00\x00\x01")}
        if where == "arguments":
            ch.send("queue.declare", queue=name, arguments=table)
        else:
            ch.queue(name, exclusive=True)
            ch.publish("", name, b"", {"headers": table})
        if differs("T1", 502, rabbitmq=None) is None:
            conn.expect_eof()
        else:
            conn.expect_close(502)


@spec("2.1")
@pytest.mark.parametrize("octets", [b"\x00\x00\x00\x05\x01kI\x00\x00", b"\x00\x00\x00\x08\x01kS\x00\x00\x00\x09a",
                                    b"\x00\x00\x00\x02\x09k", b"\x00\x00\x00\x07\x01kA\x00\x00\x00\x05",
                                    b"\x00\x00\x00\x07\x01kF\x7f\xff\xff\xff"],
                         ids=["int cut", "string cut", "key cut", "array cut", "table cut"])
def test_table_that_is_cut_short_ends_the_connection(conn, ch, name, octets):
    ch.send("queue.declare", queue=name, arguments=Raw(octets))
    if differs("T1", 502, rabbitmq=None) is None:
        conn.expect_eof()
    else:
        m = conn.expect(0, "connection.close")
        assert m.code in (501, 502), m


@spec("2.1")
@pytest.mark.parametrize("depth,ok", [(30, True), (63, True), (66, False)])
def test_nesting_depth(conn, ch, name, depth, ok):
    table = {}
    for _ in range(depth - 1):
        table = {"k": table}
    ch.send("queue.declare", queue=name, exclusive=True, arguments=table)
    if ok or differs("T2", False, rabbitmq=True):
        ch.expect("queue.declare-ok")
    else:
        conn.expect_close(502)


@spec("2.1")
def test_arrays_count_as_depth(conn, ch, name):
    value = b"A" + longstr(b"")
    for _ in range(499):
        value = b"A" + longstr(value)
    ch.send("queue.declare", queue=name, exclusive=True, arguments=Raw(longstr(shortstr("k") + value)))
    if differs("T2", False, rabbitmq=True):
        ch.expect("queue.declare-ok")
    else:
        conn.expect_close(502)


@spec("2.1")
def test_duplicate_and_odd_keys_are_kept(ch, name):
    table = [("k", 1), ("K", 2), ("k", 3), ("", 4), ("x" * 255, 5), ("\u00fc", 6)]
    assert roundtrip(ch, name, table) == encode_header(0, {"headers": table})[12:]


@spec("2.1")
def test_a_lookup_finds_the_first_of_two_keys(ch, names):
    q, x = names("q"), names("x")
    ch.queue(q, exclusive=True)
    ch.exchange(x, "headers")
    ch.bind(q, x, arguments={"x-match": "all", "k": 1})
    ch.publish(x, "", b"first", {"headers": [("k", 1), ("k", 2)]})
    ch.publish(x, "", b"second", {"headers": [("k", 2), ("k", 1)]})
    ch.barrier()
    assert ch.drain(q) == [b"first"]


@spec("2.1")
def test_large_table(ch, name):
    table = {f"key-{i}": "v" * 100 for i in range(1000)}
    assert roundtrip(ch, name, table) == encode_header(0, {"headers": table})[12:]


@spec("2.1")
def test_arguments_of_every_type_are_accepted(ch, name):
    """Unknown keys are accepted and stored whatever they hold."""
    table = {f"k{i}": v for i, v in enumerate(VALUES)}
    ch.queue(name, exclusive=True, arguments=table)
    assert len(encode_table(table)) > 200
    assert ch.count(name) == (0, 0)


@spec("2.2")
@pytest.mark.parametrize("tag", ["b", "B", "s", "u", "I", "i", "l", "L"])
def test_every_integer_type_is_an_integer(ch, names, tag):
    ch.queue(names(tag), exclusive=True, arguments={"x-max-length": V(tag, 5)})


@spec("2.2")
@pytest.mark.parametrize("value", [V("d", 5.0), V("f", 5.0), V("D", (0, 5)), V("S", "5"), V("t", True), V("T", 5)],
                         ids=lambda v: v.tag)
def test_other_types_are_no_integers(ch, name, value):
    ch.refused(406, f"invalid arg 'x-max-length' for queue '{name}' in vhost '/'",
               "queue.declare", queue=name, arguments={"x-max-length": value})


@spec("2.3", vector=29)
@pytest.mark.parametrize("tag", ["b", "B", "s", "u", "i", "l"])
def test_integers_of_any_width_are_equivalent(ch, name, tag):
    ch.queue(name, exclusive=True, arguments={"x-max-length": V("I", 5)})
    ch.queue(name, exclusive=True, arguments={"x-max-length": V(tag, 5)})
