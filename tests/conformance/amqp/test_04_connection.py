"""Section 4: the life of a connection."""

import pytest

from expect import differs, spec
from wire import ALL_CAPABILITIES, HEADER, Closed, Table, Timeout, V, encode_table

# --- 4.1 start ---


@spec("4.1")
def test_start(connect):
    s = connect(stop="start").start
    assert (s.version_major, s.version_minor) == (0, 9)
    assert s.locales.split() == [b"en_US"]
    assert set(s.mechanisms.split()) >= {b"PLAIN", b"AMQPLAIN"}
    assert b"ANONYMOUS" not in s.mechanisms.split()


@spec("4.1")
@pytest.mark.parametrize("key", ["product", "version", "platform", "copyright", "information", "cluster_name"])
def test_server_property_is_text(connect, key):
    v = connect(stop="start").start.server_properties.typed(key)
    assert v.tag == "S" and v.value


@spec("4.1")
@pytest.mark.parametrize("capability", [
    "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
    "connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos",
    "direct_reply_to"])
def test_server_capability(connect, capability):
    caps = connect(stop="start").start.server_properties.typed("capabilities")
    assert caps.tag == "F" and Table(caps.value).typed(capability) == V("t", True)


@spec("4.1")
def test_version_is_three_numbers(connect):
    version = connect(stop="start").start.server_properties.get("version").split("-")[0].split("+")[0]
    assert len(version.split(".")) == 3 and all(p.isdigit() for p in version.split("."))


@spec("4.1")
def test_product(connect):
    product = connect(stop="start").start.server_properties.get("product")
    assert product == differs("C7", "Sluice", rabbitmq="RabbitMQ")


# --- 4.2 start-ok ---


@spec("4.2")
@pytest.mark.parametrize("response", [
    encode_table({"LOGIN": "guest", "PASSWORD": "guest"})[4:],
    encode_table({"PASSWORD": "guest", "LOGIN": "guest", "more": 1})[4:],
    encode_table({"LOGIN": V("x", b"guest"), "PASSWORD": V("x", b"guest")})[4:]],
    ids=["S", "other order", "binary"])
def test_amqplain(connect, response):
    if b"\x05LOGINx" in response and differs("C11", False, rabbitmq=True):
        return
    connect(mechanism="AMQPLAIN", response=response).channel().barrier()


@spec("4.2", vector=2)
@pytest.mark.parametrize("mechanism,response", [
    ("PLAIN", b"\0guest\0wrong"), ("PLAIN", b"\0nobody\0guest"), ("PLAIN", b"\0guest\0"),
    ("AMQPLAIN", encode_table({"LOGIN": "guest", "PASSWORD": "no"})[4:])],
    ids=["password", "user", "empty password", "amqplain"])
def test_refused_login_with_capability_is_403(connect, mechanism, response):
    c = connect(mechanism=mechanism, response=response, stop="login")
    m = c.expect(0, "connection.close")
    assert m.code == 403
    assert m.text == ("ACCESS_REFUSED - Login was refused using authentication mechanism "
                      f"{mechanism}. For details see the broker logfile.")


@spec("4.2")
@pytest.mark.parametrize("locale", ["en_US", "de_DE", ""])
def test_locale_is_not_validated(connect, locale):
    c = connect(stop="start")
    c.send(0, "connection.start-ok", mechanism="PLAIN", response=b"\0guest\0guest", locale=locale)
    c.expect(0, "connection.tune")


@spec("4.2")
def test_client_properties_of_every_kind_are_accepted(connect):
    odd = {"product": 1, "version": [1, 2], "platform": {"a": None}, "connection_name": V("x", b"\xff"),
           "blob": "x" * 3000}
    connect(properties=odd).channel().barrier()


@spec("1.2")
@pytest.mark.parametrize("size", [3000, 8000, 100_000])
def test_large_start_ok(connect, size):
    """Before tuning, frames up to 131072 octets are accepted: long tokens fit."""
    if size < differs("C2", 131072, rabbitmq=4096) - 200:
        connect(properties={"token": "x" * size}).channel().barrier()
    else:
        c = connect(properties={"token": "x" * size}, stop="login")
        with pytest.raises(Closed):
            c.expect(0, "connection.tune")


@spec("4.2")
def test_capabilities_that_are_no_table_are_read_past(connect):
    connect(properties={"capabilities": "none"}, capabilities={}).channel().barrier()


# --- 4.3 tune ---


@spec("4.3")
def test_tune_offers(connect):
    t = connect(stop="tune").tune
    assert (t.channel_max, t.frame_max, t.heartbeat) == (2047, 131072, 60)


@spec("4.3")
@pytest.mark.parametrize("fields", [
    {"channel_max": 1}, {"channel_max": 2047}, {"frame_max": 4096}, {"frame_max": 131072}, {"frame_max": 4097},
    {"heartbeat": 0}, {"heartbeat": 65535}], ids=str)
def test_tune_ok_accepted(connect, fields):
    connect(**fields).channel(1).barrier()


@spec("4.3")
@pytest.mark.parametrize("fields", [{"channel_max": 0}, {"frame_max": 0}], ids=str)
def test_tune_ok_zero_means_the_offer(connect, fields):
    c = connect(stop="open", **fields)
    if differs("C8", True, rabbitmq=False):
        c.send(0, "connection.open", vhost="/")
        c.expect(0, "connection.open-ok")
        c.channel().barrier()


@spec("4.3")
def test_the_lower_frame_max_holds_for_the_broker(connect, name):
    ch = connect(frame_max=5000).channel()
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x" * 10000)
    ch.barrier()
    assert ch.get(name).frames == [4992, 4992, 16]


# --- 4.4 open ---


@spec("4.4")
def test_open_ok_is_empty(connect):
    assert connect().open_ok.payload == b"\x00\x0a\x00\x29\x00"


@spec("4.4", vector=4)
@pytest.mark.parametrize("vhost", ["nope", "", "//", "/nope"])
def test_unknown_vhost_is_530(connect, vhost):
    c = connect(vhost=vhost, stop="opened")
    c.expect_close(530, f"vhost {vhost} not found", "connection.open")


@spec("4.4")
def test_capabilities_and_insist_are_ignored(connect):
    c = connect(stop="tune")
    c.send(0, "connection.tune-ok", channel_max=10, frame_max=4096, heartbeat=0)
    c.send(0, "connection.open", vhost="/", capabilities="anything", insist=True)
    c.expect(0, "connection.open-ok")


@spec("4.4")
def test_handshake_sent_in_one_write(wire):
    """A client need not wait for the answers when it knows them."""
    from wire import METHOD, Method, encode_frame, encode_method, plain_response
    w = wire()
    out = HEADER
    for method, fields in (
            ("connection.start-ok", {"mechanism": "PLAIN", "response": plain_response(), "locale": "en_US"}),
            ("connection.tune-ok", {"channel_max": 10, "frame_max": 4096}),
            ("connection.open", {"vhost": "/"})):
        out += encode_frame(METHOD, 0, encode_method(method, **fields))
    out += encode_frame(METHOD, 1, encode_method("channel.open"))
    w.send_raw(out)
    got = [Method(w.recv_frame().payload).name for _ in range(4)]
    assert got == ["connection.start", "connection.tune", "connection.open-ok", "channel.open-ok"]


@spec("4.4")
@pytest.mark.parametrize("method,fields", [
    ("connection.open", {"vhost": "/"}), ("connection.tune-ok", {"channel_max": 5, "frame_max": 4096}),
    ("connection.start-ok", {"mechanism": "PLAIN"}), ("channel.open", {}), ("queue.declare", {}),
    ("basic.qos", {}), ("tx.select", {})], ids=lambda v: v if isinstance(v, str) else "")
def test_method_in_the_wrong_connection_state_is_504(conn, method, fields):
    conn.send(0, method, **fields)
    conn.expect_close(504, "unexpected method in connection state running", method)


@spec("4.4")
def test_connection_works_after_many_refused(connect):
    for _ in range(50):
        connect(vhost="nope", stop="opened").expect(0, "connection.close")
    connect().channel().barrier()


# --- 4.5 close ---


@spec("4.5", vector=11)
def test_exclusive_names_are_free_at_close_ok(connect, name):
    for _ in range(100):
        c = connect()
        c.channel().queue(name, exclusive=True)
        c.close()


@spec("4.5")
def test_tcp_is_the_clients_to_end_after_close_ok(connect):
    """A client that sees the end before it has handled close-ok reports an error (amqp091-go does)."""
    c = connect()
    c.send(0, "connection.close", code=200)
    c.expect(0, "connection.close-ok")
    with pytest.raises(Timeout):
        c.recv(0, 0.3)


@spec("4.5")
def test_close_requeues_before_close_ok(connect, ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    c = connect()
    c.channel().get(name, no_ack=False)
    assert ch.count(name) == (1, 0)
    c.close()
    assert ch.count(name) == (2, 0)


@spec("4.5")
def test_close_with_many_open_channels(connect, ch, name, put):
    ch.queue(name)
    put(name, *[b"x"] * 20)
    c = connect()
    for _ in range(20):
        c.channel().get(name, no_ack=False)
    c.close()
    assert ch.count(name) == (20, 0)


def gone(check):
    """Poll until check() holds; the wait is the broker's to end."""
    import time
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


@spec("4.5")
def test_lost_tcp_cleans_up(connect, ch, names, put):
    shared, own = names("shared"), names("own")
    ch.queue(shared)
    put(shared, b"1")
    c = connect()
    other = c.channel()
    other.queue(own, exclusive=True)
    other.get(shared, no_ack=False)
    other.consume(shared)
    assert ch.count(shared) == (0, 1)
    c.drop()
    gone(lambda: ch.count(shared) == (1, 0))

    def missing():
        ch.send("queue.declare", queue=own, passive=True)
        m = ch.recv()
        if m.name == "channel.close":
            ch.send("channel.close-ok")
            ch.open()
            return m.code == 404
        return False

    gone(missing)


@spec("4.5")
def test_close_amid_a_content(connect, ch, name):
    from wire import HEADER_FRAME, encode_header
    ch.queue(name)
    c = connect()
    other = c.channel()
    other.send("basic.publish", routing_key=name)
    c.send_frame(HEADER_FRAME, 1, encode_header(100))
    c.close()
    assert ch.count(name) == (0, 0)


# --- 4.7 update-secret ---


@spec("4.7")
def test_update_secret_is_answered(conn, ch):
    conn.send(0, "connection.update-secret", secret=b"guest", reason="renewed")
    conn.expect(0, "connection.update-secret-ok")
    ch.barrier()


@spec("4.2")
@pytest.mark.parametrize("missing", sorted(ALL_CAPABILITIES))
def test_each_capability_may_be_absent(connect, missing):
    caps = {k: v for k, v in ALL_CAPABILITIES.items() if k != missing}
    connect(capabilities=caps).channel().barrier()
