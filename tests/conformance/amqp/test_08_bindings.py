"""Section 8: bindings and routing."""

import pytest

from expect import differs, spec
from wire import V


def routed(ch, x, key, queues, props=None):
    """The names among queues that a message published to x with this key reaches."""
    ch.publish(x, key, b"m", props)
    ch.barrier()
    got = []
    for name, q in queues.items():
        bodies = ch.drain(q)
        assert len(bodies) <= 1, f"{name} got it {len(bodies)} times"
        if bodies:
            got.append(name)
    return got


# --- 8.1 identity ---


@spec("8.1", vector=24)
def test_one_copy_for_many_bindings(ch, names):
    x, y, q = names("x"), names("y"), names("q")
    ch.exchange(x, "topic")
    ch.exchange(y, "fanout")
    ch.queue(q, exclusive=True)
    for key in ("a.b", "a.*", "#", "a.b"):
        ch.bind(q, x, key)
    ch.bind_exchange(y, x, "a.#")
    ch.bind(q, y)
    ch.publish(x, "a.b", b"once")
    ch.barrier()
    assert ch.drain(q) == [b"once"]


@spec("8.1")
def test_binding_twice_is_one_binding(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x)
    ch.queue(q, exclusive=True)
    for _ in range(3):
        ch.bind(q, x, "k")
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="k")
    assert routed(ch, x, "k", {"q": q}) == []


@spec("8.1")
def test_bindings_that_differ_in_arguments_are_two(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x)
    ch.queue(q, exclusive=True)
    ch.bind(q, x, "k", {"a": 1})
    ch.bind(q, x, "k", {"a": 2})
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="k", arguments={"a": 1})
    assert routed(ch, x, "k", {"q": q}) == ["q"]
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="k")  # no such binding
    assert routed(ch, x, "k", {"q": q}) == ["q"]
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="k", arguments={"a": 2})
    assert routed(ch, x, "k", {"q": q}) == []


@spec("8.1")
def test_order_of_the_argument_keys_does_not_matter(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x)
    ch.queue(q, exclusive=True)
    ch.bind(q, x, "k", [("b", 1), ("a", 2)])
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="k", arguments=[("a", 2), ("b", 1)])
    assert routed(ch, x, "k", {"q": q}) == []


# --- 8.2 bind, unbind ---


@spec("8.2", vector=25)
def test_bind_both_missing_names_the_source(ch, names):
    x, q = names("x"), names("q")
    ch.refused(404, f"no exchange '{x}' in vhost '/'", "queue.bind", queue=q, exchange=x)
    ch.refused(404, f"no exchange '{x}' in vhost '/'", "exchange.bind", destination=q, source=x)


@spec("8.2")
def test_bind_one_missing(ch, names):
    x, q, other = names("x"), names("q"), names("other")
    ch.exchange(x)
    ch.queue(q, exclusive=True)
    ch.refused(404, f"no queue '{other}' in vhost '/'", "queue.bind", queue=other, exchange=x)
    ch.refused(404, f"no exchange '{other}' in vhost '/'", "queue.bind", queue=q, exchange=other)
    ch.refused(404, f"no exchange '{other}' in vhost '/'", "exchange.bind", destination=other, source=x)
    ch.refused(404, f"no exchange '{other}' in vhost '/'", "exchange.bind", destination=x, source=other)


@spec("8.2", vector=25)
def test_unbind_of_anything_missing_is_ok(ch, names):
    x, q, other = names("x"), names("q"), names("other")
    ch.exchange(x)
    ch.queue(q, exclusive=True)
    for queue, exchange in ((q, x), (q, other), (other, x), (other, other)):
        ch.call("queue.unbind", queue=queue, exchange=exchange, routing_key="k")
    for destination, source in ((x, x), (other, x), (x, other), (other, other)):
        ch.call("exchange.unbind", destination=destination, source=source)


@spec("8.2")
@pytest.mark.parametrize("method,fields", [
    ("queue.bind", {"queue": "Q", "exchange": "", "routing_key": "Q"}),
    ("queue.unbind", {"queue": "Q", "exchange": "", "routing_key": "Q"}),
    ("exchange.bind", {"destination": "", "source": "amq.direct"}),
    ("exchange.bind", {"destination": "amq.direct", "source": ""}),
    ("exchange.unbind", {"destination": "", "source": "amq.direct"}),
    ("exchange.unbind", {"destination": "amq.direct", "source": ""})],
    ids=["queue.bind", "queue.unbind", "to default", "from default", "unbind to", "unbind from"])
def test_default_exchange_cannot_be_bound(ch, name, method, fields):
    ch.queue(name, exclusive=True)
    fields = {k: name if v == "Q" else v for k, v in fields.items()}
    ch.refused(403, "operation not permitted on the default exchange", method, **fields)


@spec("8.2")
def test_unbind_ok_ids(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x)
    ch.queue(q, exclusive=True)
    ch.send("exchange.unbind", destination=x, source=x)
    assert ch.recv().payload == b"\x00\x28\x00\x33"
    ch.send("queue.unbind", queue=q, exchange=x)
    assert ch.recv().payload == b"\x00\x32\x00\x33"


@spec("8.2")
def test_nowait(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x)
    ch.queue(q, exclusive=True)
    ch.send("queue.bind", queue=q, exchange=x, routing_key="1", nowait=True)
    ch.send("exchange.bind", destination=x, source=x, routing_key="2", nowait=True)
    ch.send("exchange.unbind", destination=x, source=x, routing_key="2", nowait=True)
    ch.barrier()
    assert routed(ch, x, "1", {"q": q}) == ["q"]
    ch.refused(404, "no exchange", "queue.bind", queue=q, exchange=names("other"), nowait=True)


@spec("8.2", vector=26)
def test_last_declared_queue_shortcut(ch, names):
    x = names("x")
    ch.exchange(x)
    q = ch.queue("", exclusive=True).queue
    ch.bind("", x, "")  # both empty: the key is the name of the queue
    assert routed(ch, x, q, {"q": q}) == ["q"]
    assert routed(ch, x, "", {"q": q}) == []
    ch.bind("", x, "key")
    assert routed(ch, x, "key", {"q": q}) == ["q"]
    ch.bind(q, x, "")  # a named queue: the key stays empty
    assert routed(ch, x, "", {"q": q}) == ["q"]
    ch.call("queue.unbind", queue="", exchange=x, routing_key="")
    assert routed(ch, x, q, {"q": q}) == []
    assert routed(ch, x, "", {"q": q}) == ["q"]


@spec("8.2", vector=27)
@pytest.mark.parametrize("method", ["queue.bind", "queue.unbind", "queue.purge", "queue.delete", "basic.consume",
                                    "basic.get"])
def test_no_last_declared_queue(ch, method):
    fields = {"exchange": "amq.direct"} if "bind" in method else {}
    ch.refused(404, "no previously declared queue", method, queue="", **fields)


@spec("8")
def test_bindings_go_with_the_queue(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x)
    ch.queue(q)
    ch.bind(q, x, "k")
    ch.call("queue.delete", queue=q)
    ch.queue(q)
    assert routed(ch, x, "k", {"q": q}) == []


# --- the kinds ---


@spec("7.1")
def test_default_exchange_routes_by_queue_name(ch, names):
    a, b = names("a"), names("b")
    ch.queue(a, exclusive=True)
    ch.queue(b, exclusive=True)
    assert routed(ch, "", b, {"a": a, "b": b}) == ["b"]


@spec("7.1")
def test_direct(ch, names):
    x = names("x")
    ch.exchange(x, "direct")
    qs = {k or "empty": ch.queue(names("q"), exclusive=True).queue for k in ("a", "b", "a.b", "*", "#", "")}
    for k, q in qs.items():
        ch.bind(q, x, "" if k == "empty" else k)
    for k in qs:
        assert routed(ch, x, "" if k == "empty" else k, qs) == [k]
    assert routed(ch, x, "A", qs) == []


@spec("7.1")
def test_fanout_ignores_keys(ch, names):
    x = names("x")
    ch.exchange(x, "fanout")
    qs = {k: ch.queue(names("q"), exclusive=True).queue for k in ("a", "b", "c")}
    for k, q in qs.items():
        ch.bind(q, x, k)
    for key in ("", "a", "zzz"):
        assert routed(ch, x, key, qs) == ["a", "b", "c"]


TOPIC = ["", "a", "*", "#", "a.*", "a.#", "#.b", "a.*.b", "*.*", "#.#", "*.#", "#.*", "a.b", "a..b", "*.", ".*", ".",
         "a.#.b", "#.a.#", "a*", "#a", "*.b.*"]


def topic_match(pattern, key):
    """The rule as section 8.3 says it: words, where the empty string is none."""
    p = pattern.split(".") if pattern else []
    k = key.split(".") if key else []

    def match(i, j):
        if i == len(p):
            return j == len(k)
        if p[i] == "#":
            return any(match(i + 1, n) for n in range(j, len(k) + 1))
        return j < len(k) and (p[i] == "*" or p[i] == k[j]) and match(i + 1, j + 1)

    return match(0, 0)


@pytest.fixture(scope="module")
def topic(broker):
    """An exchange with every pattern bound, for the whole module."""
    from wire import Conn
    c = Conn(broker.host, broker.port)
    ch = c.channel()
    x = "topic-of-the-module"
    ch.exchange(x, "topic", auto_delete=True)
    qs = {}
    for p in TOPIC:
        qs[p] = ch.queue("", exclusive=True).queue
        ch.bind(qs[p], x, p)
    yield ch, x, qs
    c.close()


@spec("8.3", vector=22)
@pytest.mark.parametrize("key", ["", "a", "b", "a.b", "a..b", "a.x.b", ".", "a.", ".a", "..", "a.b.c", "b.a", "a.a.a",
                                 "*", "#", "a*", "#a", "a.b.b", "x.b.y", ".b.", "a.x.y.z.b", "A", "a.*"])
def test_topic(topic, key):
    ch, x, qs = topic
    assert routed(ch, x, key, qs) == [p for p in TOPIC if topic_match(p, key)]


@spec("8.3")
def test_topic_fixed_examples(topic):
    """Independent of the reference function above."""
    ch, x, qs = topic
    assert "#" in routed(ch, x, "", qs)
    assert "*" not in routed(ch, x, "", qs)
    got = routed(ch, x, "a..b", qs)
    assert {"#", "a.*.b", "a.#", "#.b", "a.#.b", "a..b"} <= set(got) and "a.*" not in got
    assert "a*" in routed(ch, x, "a*", qs)
    assert "a*" not in routed(ch, x, "ab", qs)


@spec("8.3")
def test_topic_unbind_of_one_pattern(ch, names):
    x = names("x")
    ch.exchange(x, "topic")
    qs = {p: ch.queue(names("q"), exclusive=True).queue for p in ("a.#", "a.*", "#")}
    for p, q in qs.items():
        ch.bind(q, x, p)
    ch.call("queue.unbind", queue=qs["a.*"], exchange=x, routing_key="a.*")
    assert routed(ch, x, "a.b", qs) == ["a.#", "#"]
    ch.call("queue.unbind", queue=qs["#"], exchange=x, routing_key="#")
    assert routed(ch, x, "a.b", qs) == ["a.#"]
    ch.bind(qs["a.*"], x, "a.*")
    assert routed(ch, x, "a.b", qs) == ["a.#", "a.*"]


@spec("8.3")
@pytest.mark.parametrize("count", [2, 8])
def test_topic_with_many_hashes_stays_quick(ch, names, count):
    x, q = names("x"), names("q")
    ch.exchange(x, "topic")
    ch.queue(q, exclusive=True)
    ch.bind(q, x, ".".join(["#.a"] * (count - 1) + ["#"]))
    key = ".".join(["a"] * differs("B1", 60, rabbitmq=12))
    for _ in range(20):
        ch.publish(x, key, b"m")
    ch.barrier()
    assert len(ch.drain(q)) == 20


@spec("8.3")
def test_topic_with_too_many_hashes_is_406(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x, "topic")
    ch.queue(q, exclusive=True)
    key = ".".join(["#"] * 9)
    if differs("B1", 406, rabbitmq=None) is None:
        ch.bind(q, x, key)
    else:
        ch.refused(406, f"Topic binding key '{key}' uses 9 '#' wildcards, at most 8 are allowed",
                   "queue.bind", queue=q, exchange=x, routing_key=key)


# arguments, headers, matches
HEADERS = [
    ("all by default", {"a": 1, "b": "x"}, {"a": 1, "b": "x"}, True),
    ("all by default, one differs", {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, False),
    ("all, more in the message", {"x-match": "all", "a": 1}, {"a": 1, "c": 5}, True),
    ("all, one absent", {"x-match": "all", "a": 1, "b": 2}, {"a": 1}, False),
    ("any, one equal", {"x-match": "any", "a": 1, "b": 2}, {"a": 1, "b": 3}, True),
    ("any, none equal", {"x-match": "any", "a": 1, "b": 2}, {"a": 2, "b": 1}, False),
    ("all, no arguments", {"x-match": "all"}, {"a": 1}, True),
    ("all, nothing at all", {}, {}, True),
    ("any, no arguments", {"x-match": "any"}, {"a": 1}, False),
    ("all, void matches any value", {"x-match": "all", "a": None}, {"a": [1]}, True),
    ("all, void needs the key", {"x-match": "all", "a": None}, {"b": 1}, False),
    ("any, void matches any value", {"x-match": "any", "a": None, "b": 1}, {"a": "z"}, True),
    ("all, x- keys are skipped", {"x-match": "all", "a": 1, "x-k": 1}, {"a": 1}, True),
    ("any, x- keys are skipped", {"x-match": "any", "a": 1, "x-k": 1}, {"x-k": 1}, False),
    ("all, only x- keys", {"x-match": "all", "x-k": 1}, {}, True),
    ("all-with-x, x- key absent", {"x-match": "all-with-x", "a": 1, "x-k": 1}, {"a": 1}, False),
    ("all-with-x, x- key there", {"x-match": "all-with-x", "a": 1, "x-k": 1}, {"a": 1, "x-k": 1}, True),
    ("any-with-x, x- key there", {"x-match": "any-with-x", "a": 1, "x-k": 1}, {"x-k": 1}, True),
    ("any-with-x, nothing there", {"x-match": "any-with-x", "a": 1, "x-k": 1}, {"x-k": 2}, False),
    ("integers of two widths", {"a": V("I", 1)}, {"a": V("l", 1)}, True),
    ("integer and string", {"a": 1}, {"a": "1"}, False),
    ("string and binary", {"a": V("S", "z")}, {"a": V("x", b"z")}, True),
    ("integer and boolean", {"a": 1}, {"a": True}, False),
    ("booleans", {"a": True}, {"a": True}, True),
    ("booleans differ", {"a": True}, {"a": False}, False),
    ("floats", {"a": 1.5}, {"a": V("f", 1.5)}, True),
    ("arrays", {"a": [1, "x"]}, {"a": [1, "x"]}, True),
    ("arrays differ", {"a": [1, "x"]}, {"a": ["x", 1]}, False),
    ("tables", {"a": {"k": 1}}, {"a": {"k": 1}}, True),
    ("tables differ", {"a": {"k": 1}}, {"a": {"k": 2}}, False),
    ("empty string", {"a": ""}, {"a": ""}, True),
    ("case of a key", {"a": 1}, {"A": 1}, False),
    ("timestamps", {"a": V("T", 5)}, {"a": V("T", 5)}, True),
]


@spec("8.4", vector=23)
@pytest.mark.parametrize("arguments,headers,matches", [c[1:] for c in HEADERS], ids=[c[0] for c in HEADERS])
def test_headers(ch, names, arguments, headers, matches):
    x, q = names("x"), names("q")
    ch.exchange(x, "headers")
    ch.queue(q, exclusive=True)
    ch.bind(q, x, "ignored", arguments)
    assert routed(ch, x, "any key", {"q": q}, {"headers": headers}) == (["q"] if matches else [])


@spec("8.4")
def test_headers_one_and_one_point_zero(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x, "headers")
    ch.queue(q, exclusive=True)
    ch.bind(q, x, "", {"a": 1})
    got = routed(ch, x, "", {"q": q}, {"headers": {"a": 1.0}})
    assert got == differs("B2", [], rabbitmq=["q"])


@spec("8.4")
def test_headers_message_without_headers(ch, names):
    x = names("x")
    ch.exchange(x, "headers")
    qs = {k: ch.queue(names("q"), exclusive=True).queue for k in ("nothing", "all", "any")}
    ch.bind(qs["nothing"], x)
    ch.bind(qs["all"], x, "", {"x-match": "all", "a": 1})
    ch.bind(qs["any"], x, "", {"x-match": "any", "a": 1})
    assert routed(ch, x, "", qs) == ["nothing"]


@spec("8.4", vector=23)
@pytest.mark.parametrize("value,text", [
    ("some", """Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x"""),
    ("", "Invalid x-match field value <<"),
    (V("I", 5), "Invalid x-match field type signedint (value 5); expected longstr")],
    ids=["string", "empty", "integer"])
def test_headers_bad_x_match_is_406(ch, names, value, text):
    x, q = names("x"), names("q")
    ch.exchange(x, "headers")
    ch.queue(q, exclusive=True)
    ch.refused(406, text, "queue.bind", queue=q, exchange=x, arguments={"x-match": value})


@spec("8.4")
def test_headers_unbind_by_arguments(ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x, "headers")
    ch.queue(q, exclusive=True)
    ch.bind(q, x, "", {"a": 1})
    ch.bind(q, x, "", {"a": 2})
    ch.call("queue.unbind", queue=q, exchange=x, arguments={"a": 1})
    assert routed(ch, x, "", {"q": q}, {"headers": {"a": 1}}) == []
    assert routed(ch, x, "", {"q": q}, {"headers": {"a": 2}}) == ["q"]


# --- 8.7 exchange to exchange ---


@spec("8.7", vector=18)
def test_exchange_to_exchange_applies_each_rule(ch, names):
    top, mid, end = names("top"), names("mid"), names("end")
    ch.exchange(top, "topic")
    ch.exchange(mid, "direct")
    ch.exchange(end, "fanout")
    qs = {k: ch.queue(names("q"), exclusive=True).queue for k in ("mid", "end")}
    ch.bind_exchange(mid, top, "a.#")
    ch.bind_exchange(end, mid, "a.b")
    ch.bind(qs["mid"], mid, "a.c")
    ch.bind(qs["end"], end)
    assert routed(ch, top, "a.b", qs) == ["end"]
    assert routed(ch, top, "a.c", qs) == ["mid"]
    assert routed(ch, top, "a.d", qs) == []
    assert routed(ch, top, "b.b", qs) == []


@spec("8.7")
def test_exchange_cycle_is_harmless(ch, names):
    xs = [names(f"x{i}") for i in range(4)]
    q = names("q")
    for x in xs:
        ch.exchange(x, "fanout")
    for i, x in enumerate(xs):
        ch.bind_exchange(xs[(i + 1) % 4], x)
        ch.bind_exchange(x, x)
    ch.queue(q, exclusive=True)
    for x in xs:
        ch.bind(q, x)
    ch.publish(xs[0], "k", b"once")
    ch.barrier()
    got = ch.get(q)
    assert (got.body, got.exchange, got.message_count) == (b"once", xs[0], 0)


@spec("8.7")
def test_exchange_unbind(ch, names):
    a, b, q = names("a"), names("b"), names("q")
    ch.exchange(a, "topic")
    ch.exchange(b, "fanout")
    ch.queue(q, exclusive=True)
    ch.bind(q, b)
    ch.bind_exchange(b, a, "k", {"n": 1})
    assert routed(ch, a, "k", {"q": q}) == ["q"]
    ch.call("exchange.unbind", destination=b, source=a, routing_key="k")
    assert routed(ch, a, "k", {"q": q}) == ["q"]
    ch.call("exchange.unbind", destination=b, source=a, routing_key="k", arguments={"n": 1})
    assert routed(ch, a, "k", {"q": q}) == []


@spec("8.7")
def test_internal_exchange_can_be_a_source(ch, names):
    a, b, c, q = (names(n) for n in "abcq")
    ch.exchange(a, "fanout")
    ch.exchange(b, "fanout", internal=True)
    ch.exchange(c, "fanout")
    ch.queue(q, exclusive=True)
    ch.bind_exchange(b, a)
    ch.bind_exchange(c, b)
    ch.bind(q, c)
    assert routed(ch, a, "", {"q": q}) == ["q"]
