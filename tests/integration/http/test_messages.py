"""Publish, get and the aliveness test over the management API.

@spec management-api 7
"""

import base64
import concurrent.futures
import uuid

import pika
import pytest
from conftest import Api
from support import broker as support


@pytest.fixture
def queue(api):
    name = "t-" + uuid.uuid4().hex[:12]
    assert api.put(f"/queues/%2F/{name}", {}).status == 201
    yield name
    api.delete(f"/queues/%2F/{name}")


@pytest.fixture
def channel(shared):
    connection = pika.BlockingConnection(pika.ConnectionParameters(shared.host, shared.port))
    yield connection.channel()
    connection.close()


PROPERTIES = {"content_type": "text/plain", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 3,
              "correlation_id": "c", "reply_to": "r", "expiration": "60000", "message_id": "m", "timestamp": 1700000000,
              "type": "t", "user_id": "guest", "app_id": "a", "cluster_id": "x",
              "headers": {"s": "text", "i": 5, "f": 1.5, "b": True, "n": None, "o": {"k": [1, "two"]}}}


def test_properties(api, queue, channel):
    assert api.publish(queue, "héllo", properties=PROPERTIES).json == {"routed": True}
    method, properties, body = channel.basic_get(queue, auto_ack=False)
    assert body.decode() == "héllo"
    for key, value in PROPERTIES.items():
        if key != "headers":
            assert getattr(properties, key) == value, key
    # pika reads a double as an integer
    assert {**properties.headers, "f": 1.5} == PROPERTIES["headers"]
    channel.basic_nack(method.delivery_tag)
    (message,) = api.take(queue)
    assert message["properties"] == PROPERTIES
    assert message == {**message, "payload": "héllo", "payload_encoding": "string", "payload_bytes": 6, "exchange": "",
                       "routing_key": queue, "message_count": 0, "redelivered": True}


def test_base64(api, queue):
    octets = bytes(range(256))
    sent = base64.b64encode(octets).decode()
    assert api.publish(queue, sent, payload_encoding="base64").json == {"routed": True}
    (message,) = api.take(queue)
    assert (message["payload"], message["payload_encoding"], message["payload_bytes"]) == (sent, "base64", 256)
    assert message["properties"] == {}
    api.publish(queue, "text")
    (message,) = api.take(queue, encoding="base64")
    assert base64.b64decode(message["payload"]) == b"text" and message["payload_encoding"] == "base64"


def test_not_routed(api):
    assert api.publish("nowhere-at-all").json == {"routed": False}
    assert api.publish("", exchange="amq.fanout").json == {"routed": False}


@pytest.mark.parametrize("mode, left, redelivered", [
    ("ack_requeue_true", 2, True), ("reject_requeue_true", 2, True),
    ("ack_requeue_false", 0, None), ("reject_requeue_false", 0, None)])
def test_ackmodes(api, queue, mode, left, redelivered):
    for text in "ab":
        api.publish(queue, text)
    got = api.take(queue, count=10, ackmode=mode)
    assert [(m["payload"], m["message_count"], m["redelivered"]) for m in got] == [("a", 1, False), ("b", 0, False)]
    assert api.get(f"/queues/%2F/{queue}")["messages"] == left
    again = api.take(queue, count="10")
    assert [(m["payload"], m["redelivered"]) for m in again] == [("a", redelivered), ("b", redelivered)][:left]


def test_requeue_of_old_clients(api, queue):
    api.publish(queue, "a")
    for requeue, left in ((True, 1), ("false", 0)):
        answer = api.post(f"/queues/%2F/{queue}/get", {"count": 1, "requeue": requeue, "encoding": "auto"})
        assert [m["payload"] for m in answer.json] == ["a"]
        assert api.get(f"/queues/%2F/{queue}")["messages"] == left


def test_truncate(api, queue):
    api.publish(queue, "0123456789")
    (message,) = api.take(queue, truncate=4)
    assert (message["payload"], message["payload_bytes"]) == ("0123", 10)


def test_many(api, queue, channel):
    for number in range(1500):  # more than one burst of the get
        channel.basic_publish("", queue, str(number).encode())
    channel.queue_declare(queue, passive=True)  # behind all of them
    got = api.take(queue, count=5000)
    assert [m["payload"] for m in got] == [str(n) for n in range(1500)]
    assert api.take(queue) == []


@pytest.mark.parametrize("change, word", [
    ({"properties": {"delivery_mode": "2"}}, "not_int"),
    ({"properties": {"delivery_mode": 256}}, "255"),
    ({"properties": {"priority": 1.5}}, "not_int"),
    ({"properties": {"timestamp": -1}}, "timestamp"),
    ({"properties": {"message_id": 5}}, "not_string"),
    ({"properties": {"message_id": "x" * 256}}, "255"),
    ({"properties": {"headers": []}}, None),
    ({"properties": {"headers": "x"}}, "headers"),
    ({"properties": {"headers": {"k" * 256: 1}}}, "255"),
    ({"properties": "x"}, "properties"),
    ({"properties": {"user_id": "somebody"}}, "user_id"),
    ({"routing_key": 5}, "routing_key"),
    ({"routing_key": "x" * 256}, "255"),
    ({"payload": 5}, "payload"),
    ({"payload": "a", "payload_encoding": "base64"}, "base64"),
    ({"payload_encoding": "rot13"}, "rot13"),
])
def test_bad_publish(api, queue, change, word):
    body = {"properties": {}, "routing_key": queue, "payload": "x", "payload_encoding": "string", **change}
    answer = api.post("/exchanges/%2F/amq.default/publish", body)
    if word is None:
        assert answer.json == {"routed": True}
        return
    assert (answer.status, answer.json["error"]) == (400, "bad_request")
    assert word in answer.json["reason"]
    assert api.get(f"/queues/%2F/{queue}")["messages"] == 0


def test_publish_keys_missing(api):
    answer = api.post("/exchanges/%2F/amq.default/publish", {"payload": "x"})
    assert answer.status == 400
    assert answer.json["reason"] == "[{key_missing,properties},{key_missing,routing_key},{key_missing,payload_encoding}]"


def test_unknown_exchange_and_queue(api):
    answer = api.publish("k", exchange="none")
    assert (answer.status, answer.json) == (404, {"error": "not_found", "reason": "no exchange 'none' in vhost '/'"})
    answer = api.post("/queues/%2F/none/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"})
    assert (answer.status, answer.json["reason"]) == (404, "no queue 'none' in vhost '/'")


@pytest.mark.parametrize("change, word", [
    ({"count": -1}, "count"), ({"count": "x"}, "count"), ({"ackmode": "odd"}, "odd"), ({"encoding": "odd"}, "odd"),
    ({"truncate": "x"}, "truncate"), ({"count": None, "ackmode": 1}, "ackmode")])
def test_bad_get(api, queue, change, word):
    body = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto", **change}
    answer = api.post(f"/queues/%2F/{queue}/get", body)
    assert answer.status == 400 and word in answer.json["reason"]


def test_aliveness(api):
    before = [q["name"] for q in api.get("/queues")]
    assert api.get("/aliveness-test/%2F") == {"status": "ok"}
    assert [q["name"] for q in api.get("/queues")] == before
    assert api.ask("GET", "/aliveness-test/none").status in (401, 404)


def test_hidden(api, queue):
    api.publish(queue, "x", properties={"delivery_mode": 2})
    totals = api.get("/overview")["object_totals"]
    assert totals["connections"] == len(api.get("/connections"))
    assert totals["channels"] == len(api.get("/channels"))


def test_concurrent(api, queue, shared):
    """Durable messages wait for the store, declares for the definitions: many at once all get their answer."""
    def work(worker):
        client = Api(shared)
        routed = 0
        for number in range(20):
            routed += client.publish(queue, f"{worker}.{number}", properties={"delivery_mode": 2}).json["routed"]
            mine = f"{queue}.{worker}.{number % 3}"
            assert client.put(f"/queues/%2F/{mine}", {}).status in (201, 204)
            assert client.post(f"/bindings/%2F/e/amq.topic/q/{mine}", {"routing_key": str(number)}).status == 201
            assert client.put(f"/exchanges/%2F/{queue}.shared", {"type": "topic"}).status in (201, 204)
        for number in range(3):
            assert client.delete(f"/queues/%2F/{queue}.{worker}.{number}").status == 204
        client.close()
        return routed
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(work, range(12))) == 240
    assert api.get(f"/queues/%2F/{queue}")["messages"] == 240
    assert sorted(m["payload"] for m in api.take(queue, count=1000)) == sorted(
        f"{worker}.{number}" for worker in range(12) for number in range(20))
    assert api.delete(f"/exchanges/%2F/{queue}.shared").status == 204


def headers(**table):
    return {"headers": table}


def test_further_keys(api):
    """CC and BCC route; nobody sees BCC."""
    for queue in ("first", "copied", "hidden"):
        assert api.put(f"/queues/%2F/{queue}", {}).status in (201, 204)
    table = {"CC": ["copied"], "BCC": ["hidden"], "n": 1}
    assert api.publish("first", "to all", properties=headers(**table)).json == {"routed": True}
    for queue in ("first", "copied", "hidden"):
        (message,) = api.take(queue)
        assert message["payload"] == "to all" and message["routing_key"] == "first"
        assert message["properties"]["headers"] == {"CC": ["copied"], "n": 1}
    assert api.publish("nowhere", properties=headers(BCC=["hidden"])).json == {"routed": True}
    assert len(api.take("hidden")) == 1


@pytest.mark.parametrize("properties, reason", [
    ({"headers": {"CC": "x"}}, 'invalid message: {unacceptable_type_in_header,"CC",longstr}'),
    ({"headers": {"BCC": 1}}, 'invalid message: {unacceptable_type_in_header,"BCC",'),
    ({"reply_to": "amq.rabbitmq.reply-to"}, "fast reply consumer does not exist"),
    ({"expiration": "soon"}, "invalid expiration 'soon': no_integer"),
    ({"expiration": "-1"}, "invalid expiration '-1': {value_negative,-1}"),
    ({"user_id": ""}, None),  # an administrator who may not impersonate
])
def test_what_amqp_refuses(api, properties, reason):
    answer = api.publish("first", properties=properties)
    assert (answer.status, answer.json["error"]) == (400, "bad_request")
    reason = reason or "user_id property set to '' but authenticated user was 'guest'"
    assert answer.json["reason"].startswith("406 PRECONDITION_FAILED - " + reason)


def test_exchange_is_judged_first(api):
    answer = api.publish("k", exchange="nothing", properties={"expiration": "soon"})
    assert (answer.status, answer.json["reason"]) == (404, "no exchange 'nothing' in vhost '/'")


def test_max_message_size():
    with support.new(kind="sluice", config={"max_message_size": "1000"}) as broker:
        api = Api(broker)
        assert api.put("/queues/%2F/q", {}).status == 201
        assert api.publish("q", "x" * 1000).json == {"routed": True}
        for encoding, payload in (("string", "x" * 1001), ("base64", base64.b64encode(b"x" * 1001).decode())):
            answer = api.publish("q", payload, payload_encoding=encoding)
            assert (answer.status, answer.json["reason"]) == (
                400, "406 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000")
        api.close()
