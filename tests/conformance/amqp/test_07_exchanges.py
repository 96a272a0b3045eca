"""Section 7: exchanges."""

import pytest

from expect import differs, spec
from wire import V


def missing(ch, name):
    ch.refused(404, f"no exchange '{name}' in vhost '/'", "exchange.declare", exchange=name, passive=True)


def exists(ch, name):
    ch.call("exchange.declare", exchange=name, passive=True)


# --- 7.2 declare ---


@spec("7.1")
@pytest.mark.parametrize("kind", ["direct", "fanout", "topic", "headers"])
@pytest.mark.parametrize("flags", [{}, {"durable": True}, {"auto_delete": True}, {"internal": True},
                                   {"durable": True, "auto_delete": True, "internal": True}],
                         ids=lambda f: "+".join(f) or "plain")
def test_declare_twice(ch, name, kind, flags):
    ch.exchange(name, kind, **flags)
    ch.exchange(name, kind, **flags)
    exists(ch, name)


@spec("7.1")
@pytest.mark.parametrize("kind", ["no-such-kind", "", "Direct", "direct ", "x" * 255], ids=lambda k: k[:12] or "empty")
def test_unknown_type(conn, ch, name, kind):
    ch.send("exchange.declare", exchange=name, type=kind)
    if differs("X1", 406, rabbitmq=503) == 503:
        m = conn.expect(0, "connection.close")
        assert m.code == 503
    else:
        ch.expect_close(406, f"unknown exchange type '{kind}'"[:220], "exchange.declare")


@spec("7.2")
def test_type_is_checked_before_the_name(conn, ch):
    ch.send("exchange.declare", exchange="", type="no-such-kind")
    if differs("X1", 406, rabbitmq=503) == 503:
        assert conn.expect(0, "connection.close").code == 503
    else:
        ch.expect_close(406, "unknown exchange type")


@spec("7.2", vector=17)
def test_default_exchange_cannot_be_declared(ch):
    ch.refused(403, "operation not permitted on the default exchange", "exchange.declare", type="direct")
    ch.refused(403, "operation not permitted on the default exchange", "exchange.declare", type="direct",
               durable=True, nowait=True)
    ch.refused(403, "operation not permitted on the default exchange", "exchange.declare", passive=True)


@spec("7.2", vector=12)
@pytest.mark.parametrize("field,arg", [("durable", "durable"), ("auto_delete", "auto_delete"), ("internal", "internal")])
@pytest.mark.parametrize("first", [False, True])
def test_changed_flag_is_406(ch, name, field, arg, first):
    ch.exchange(name, "direct", **{field: first})
    text = {False: "false", True: "true"}
    ch.refused(406, f"inequivalent arg '{arg}' for exchange '{name}' in vhost '/': received "
               f"'{text[not first]}' but current is '{text[first]}'",
               "exchange.declare", exchange=name, type="direct", **{field: not first})
    exists(ch, name)


@spec("7.2", vector=13)
def test_changed_type_is_406(ch, name):
    ch.exchange(name, "direct")
    ch.refused(406, f"inequivalent arg 'type' for exchange '{name}' in vhost '/': received 'topic' "
               "but current is 'direct'", "exchange.declare", exchange=name, type="topic")


@spec("7.2")
def test_order_of_the_comparisons(ch, name):
    ch.exchange(name, "direct")
    everything = {"type": "topic", "durable": True, "auto_delete": True, "internal": True,
                  "arguments": {"alternate-exchange": "ae"}}
    for field, arg in (("type", "type"), ("durable", "durable"), ("auto_delete", "auto_delete"),
                       ("internal", "internal"), ("arguments", "alternate-exchange")):
        ch.refused(406, f"inequivalent arg '{arg}'", "exchange.declare", exchange=name, **{"type": "direct", **everything})
        everything.pop(field)
    ch.exchange(name, "direct")


@spec("7.2", vector=14)
@pytest.mark.parametrize("arguments", [{"unknown": 1}, {"unknown": "other"}, {"x-mine": [1, {}]}], ids=str)
def test_unknown_argument_is_not_compared(ch, name, arguments):
    ch.exchange(name, "direct", arguments={"unknown": 5})
    ch.exchange(name, "direct", arguments=arguments)


@spec("7.2", vector=15)
@pytest.mark.parametrize("old,new,text", [
    ({"alternate-exchange": "a"}, {"alternate-exchange": "b"}, "received 'b' but current is 'a'"),
    ({}, {"alternate-exchange": "b"}, "received the value 'b' of type 'longstr' but current is none"),
    ({"alternate-exchange": "a"}, {}, "received none but current is the value 'a' of type 'longstr'")],
    ids=["changed", "added", "removed"])
def test_changed_alternate_exchange_is_406(ch, name, old, new, text):
    ch.exchange(name, "direct", arguments=old)
    ch.refused(406, f"inequivalent arg 'alternate-exchange' for exchange '{name}' in vhost '/': {text}",
               "exchange.declare", exchange=name, type="direct", arguments=new)


@spec("7.2")
@pytest.mark.parametrize("value,kind", [(V("I", 5), "signedint"), (V("t", True), "bool"), (V("F", {}), "table"),
                                        (V("A", []), "array"), (V("V"), "void")], ids=lambda v: str(v)[:12])
def test_alternate_exchange_must_be_a_string(ch, name, value, kind):
    ch.refused(406, f"invalid type '{kind}' for arg 'alternate-exchange' in exchange '{name}' in vhost '/'",
               "exchange.declare", exchange=name, type="direct", arguments={"alternate-exchange": value})
    missing(ch, name)


@spec("7.2")
def test_nowait_says_nothing(ch, name):
    ch.send("exchange.declare", exchange=name, type="topic", nowait=True)
    ch.barrier()
    exists(ch, name)
    ch.refused(406, "inequivalent arg 'type'", "exchange.declare", exchange=name, type="fanout", nowait=True)


@spec("7.2", vector=17)
def test_passive_declare(ch, name):
    ch.refused(404, f"no exchange '{name}' in vhost '/'", "exchange.declare", exchange=name, passive=True,
               type="direct")
    ch.exchange(name, "topic", durable=True)
    for kind in ("topic", "direct", "no-such-kind", ""):
        ch.call("exchange.declare", exchange=name, passive=True, type=kind, internal=True)


# --- 7.3 delete ---


@spec("7.3", vector=20)
def test_delete_missing_is_ok(ch, name):
    ch.call("exchange.delete", exchange=name)
    ch.call("exchange.delete", exchange=name, if_unused=True)


@spec("7.3", vector=17)
def test_delete_default_is_403(ch):
    ch.refused(403, "operation not permitted on the default exchange", "exchange.delete", exchange="")


@spec("7.3", vector=16)
@pytest.mark.parametrize("name", ["amq.direct", "amq.rabbitmq.trace", "amq.not-there"])
def test_delete_reserved_is_403(ch, name):
    ch.refused(403, f"deletion of system exchange '{name}' in vhost '/' not allowed", "exchange.delete", exchange=name)


@spec("7.3", vector=20)
def test_delete_if_unused(ch, names):
    a, b, q = names("a"), names("b"), names("q")
    ch.exchange(a)
    ch.exchange(b)
    ch.queue(q, exclusive=True)
    ch.bind(q, a, "k")
    ch.bind_exchange(a, b, "k")
    ch.refused(406, f"exchange '{a}' in vhost '/' in use", "exchange.delete", exchange=a, if_unused=True)
    ch.refused(406, f"exchange '{b}' in vhost '/' in use", "exchange.delete", exchange=b, if_unused=True)
    ch.call("queue.unbind", queue=q, exchange=a, routing_key="k")
    ch.call("exchange.delete", exchange=a, if_unused=True)  # only a destination now
    missing(ch, a)
    ch.call("exchange.delete", exchange=b, if_unused=True)  # its binding went with a


@spec("7.3")
def test_delete_in_use_without_the_flag(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x)
    ch.queue(q, exclusive=True)
    ch.bind(q, x, "k")
    ch.call("exchange.delete", exchange=x)
    missing(ch, x)
    ch.exchange(x)  # a new one has no bindings
    ch.confirm().publish(x, "k", b"lost", mandatory=True)
    assert ch.expect("basic.return").code == 312


@spec("7.3")
def test_delete_nowait(ch, name):
    ch.exchange(name)
    ch.send("exchange.delete", exchange=name, nowait=True)
    ch.barrier()
    missing(ch, name)


# --- 7.4 internal ---


@spec("7.4", vector=18)
def test_internal(ch, names):
    inner, outer, q = names("inner"), names("outer"), names("q")
    ch.exchange(inner, "fanout", internal=True)
    ch.exchange(outer, "direct")
    ch.queue(q, exclusive=True)
    ch.bind(q, inner)
    ch.bind_exchange(inner, outer, "k")
    ch.publish(inner, "k", b"refused")
    ch.expect_close(403, f"cannot publish to internal exchange '{inner}' in vhost '/'", "basic.publish")
    ch.open()
    ch.publish(outer, "k", b"through")
    ch.barrier()
    assert ch.drain(q) == [b"through"]


@spec("7.4")
def test_internal_as_alternate_exchange(ch, names):
    inner, outer, q = names("inner"), names("outer"), names("q")
    ch.exchange(inner, "fanout", internal=True)
    ch.exchange(outer, "direct", arguments={"alternate-exchange": inner})
    ch.queue(q, exclusive=True)
    ch.bind(q, inner)
    ch.publish(outer, "k", b"through")
    ch.barrier()
    assert ch.drain(q) == [b"through"]


# --- 7.5 auto-delete ---


@spec("7.5", vector=19)
def test_auto_delete_after_unbind(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x, auto_delete=True)
    ch.queue(q, exclusive=True)
    ch.bind(q, x, "1")
    ch.bind(q, x, "2")
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="1")
    exists(ch, x)
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="2")
    missing(ch, x)


@spec("7.5", vector=19)
def test_auto_delete_never_bound_stays(ch, names):
    x, y = names("x"), names("y")
    ch.exchange(x, auto_delete=True)
    ch.exchange(y, auto_delete=True)
    exists(ch, x)
    ch.bind_exchange(x, y)  # x is only a destination
    ch.call("exchange.unbind", destination=x, source=y)
    exists(ch, x)
    missing(ch, y)


@spec("7.5")
def test_auto_delete_unbind_of_a_missing_binding_does_nothing(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x, auto_delete=True)
    ch.queue(q, exclusive=True)
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="never")
    exists(ch, x)


@spec("7.5", vector=19)
def test_auto_delete_after_the_queue_is_deleted(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x, auto_delete=True)
    ch.queue(q)
    ch.bind(q, x, "k")
    ch.call("queue.delete", queue=q)
    missing(ch, x)


@spec("7.5")
def test_auto_delete_after_the_exclusive_queue_goes(connect, ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x, "fanout", auto_delete=True)
    c = connect()
    other = c.channel()
    other.queue(q, exclusive=True)
    other.bind(q, x)
    c.close()
    missing(ch, x)


@spec("7.5", vector=19)
def test_auto_delete_cascade(ch, names):
    a, b, c, d = (names(n) for n in "abcd")
    q = names("q")
    for x in (a, b, c):
        ch.exchange(x, "fanout", auto_delete=True)
    ch.exchange(d, "fanout")
    ch.queue(q)
    ch.bind_exchange(b, a)
    ch.bind_exchange(c, b)
    ch.bind_exchange(d, c)
    ch.bind(q, d)
    ch.call("exchange.delete", exchange=d)
    for x in (a, b, c, d):
        missing(ch, x)
    assert ch.count(q) == (0, 0)


@spec("7.5", vector=19)
def test_auto_delete_cascade_from_a_queue(ch, names):
    a, b, q = names("a"), names("b"), names("q")
    ch.exchange(a, "fanout", auto_delete=True)
    ch.exchange(b, "fanout", auto_delete=True)
    ch.queue(q)
    ch.bind_exchange(b, a)
    ch.bind(q, b)
    ch.call("queue.delete", queue=q)
    missing(ch, b)
    missing(ch, a)


@spec("7.5")
def test_auto_delete_cycle(ch, names):
    a, b = names("a"), names("b")
    ch.exchange(a, "fanout", auto_delete=True)
    ch.exchange(b, "fanout", auto_delete=True)
    ch.bind_exchange(a, b)
    ch.bind_exchange(b, a)
    ch.call("exchange.unbind", destination=a, source=b)
    missing(ch, b)
    missing(ch, a)


# --- 7.6 alternate exchange ---


@spec("7.6")
def test_alternate_exchange(ch, names):
    x, ae, q, r = names("x"), names("ae"), names("q"), names("r")
    ch.exchange(ae, "fanout")
    ch.exchange(x, "direct", arguments={"alternate-exchange": ae})
    ch.queue(q, exclusive=True)
    ch.queue(r, exclusive=True)
    ch.bind(q, x, "k")
    ch.bind(r, ae)
    ch.confirm()
    ch.publish(x, "k", b"matched", mandatory=True)
    ch.publish(x, "other", b"not matched", mandatory=True)
    ch.wait_confirms()  # no return among them
    assert ch.drain(q) == [b"matched"]
    got = ch.get(r)
    assert (got.body, got.exchange, got.routing_key) == (b"not matched", x, "other")
    assert ch.get(r) is None


@spec("7.6")
def test_missing_alternate_exchange_is_ignored(ch, names):
    x = names("x")
    ch.exchange(x, "direct", arguments={"alternate-exchange": names("not-there")})
    ch.confirm().publish(x, "k", b"x", mandatory=True)
    assert ch.expect("basic.return").code == 312
    ch.expect("basic.ack")


@spec("7.6")
def test_alternate_exchange_that_comes_later(ch, names):
    x, ae, q = names("x"), names("ae"), names("q")
    ch.exchange(x, "direct", arguments={"alternate-exchange": ae})
    ch.exchange(ae, "fanout")
    ch.queue(q, exclusive=True)
    ch.bind(q, ae)
    ch.publish(x, "k", b"x")
    ch.barrier()
    assert ch.drain(q) == [b"x"]


@spec("7.6", vector=21)
def test_alternate_exchange_cycle(ch, names):
    x, y = names("x"), names("y")
    ch.exchange(x, "direct", arguments={"alternate-exchange": y})
    ch.exchange(y, "direct", arguments={"alternate-exchange": x})
    ch.confirm().publish(x, "k", b"x", mandatory=True)
    ret = ch.expect("basic.return")
    assert (ret.exchange, ret.routing_key, ret.body) == (x, "k", b"x")
    ch.expect("basic.ack")
    ch.barrier()


@spec("7.6")
def test_alternate_exchange_chain(ch, names):
    xs = [names(f"x{i}") for i in range(6)]
    q = names("q")
    for i, x in enumerate(xs):
        ch.exchange(x, "direct", arguments={"alternate-exchange": xs[i + 1]} if i < 5 else None)
    ch.queue(q, exclusive=True)
    ch.bind(q, xs[5], "k")
    ch.publish(xs[0], "k", b"down")
    ch.barrier()
    got = ch.get(q)
    assert (got.body, got.exchange) == (b"down", xs[0])


@spec("7.6")
def test_alternate_exchange_of_an_inner_exchange(ch, names):
    """It is evaluated per exchange: the inner one has no match, its own alternate gets the message."""
    outer, inner, ae, q, r = (names(n) for n in ("outer", "inner", "ae", "q", "r"))
    ch.exchange(ae, "fanout")
    ch.exchange(inner, "direct", arguments={"alternate-exchange": ae})
    ch.exchange(outer, "fanout")
    ch.queue(q, exclusive=True)
    ch.queue(r, exclusive=True)
    ch.bind_exchange(inner, outer)
    ch.bind(q, outer)
    ch.bind(r, ae)
    ch.publish(outer, "k", b"x")
    ch.barrier()
    assert ch.drain(q) == [b"x"]
    assert ch.drain(r) == [b"x"]


@spec("7.6")
def test_default_exchange_has_no_alternate(ch):
    ch.confirm().publish("", "no-such-queue", b"x", mandatory=True)
    assert ch.expect("basic.return").exchange == ""
    ch.expect("basic.ack")
