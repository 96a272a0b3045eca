"""Queues, exchanges and bindings made over the management API: statuses, reasons, what lists say then.

@spec management-api 1.4, 1.5, 4, 5.8
"""

import uuid
from urllib.parse import quote

import pytest


@pytest.fixture
def name():
    return "t-" + uuid.uuid4().hex[:12]


@pytest.mark.parametrize("durable", [True, False, "true", "false", None])
def test_queue_life(api, name, durable):
    body = {} if durable is None else {"durable": durable}
    assert api.put(f"/queues/%2F/{name}", body).status == 201
    assert api.put(f"/queues/%2F/{name}", body).status == 204
    queue = api.get(f"/queues/%2F/{name}")
    assert queue["durable"] is (durable in (True, "true", None))
    assert queue["name"] == name and queue["messages"] == 0
    assert api.delete(f"/queues/%2F/{name}").status == 204
    gone = api.delete(f"/queues/%2F/{name}")
    assert (gone.status, gone.json) == (404, {"error": "Object Not Found", "reason": "Not Found"})


def test_empty_body_declares(api, name):
    assert api.put(f"/queues/%2F/{name}").status == 201
    assert api.put(f"/exchanges/%2F/{name}").status == 201
    assert api.get(f"/exchanges/%2F/{name}")["type"] == "direct"


def test_names_are_decoded(api, name):
    strange = f"{name} a/b+c%é"
    assert api.put(f"/queues/%2F/{quote(strange, safe='')}", {}).status == 201
    assert api.get(f"/queues/%2F/{quote(strange, safe='')}")["name"] == strange


def test_arguments(api, name):
    arguments = {"x-queue-type": "classic", "note": {"a": [1, "b", None, 1.5, True]}}
    assert api.put(f"/queues/%2F/{name}", {"arguments": arguments}).status == 201
    assert api.get(f"/queues/%2F/{name}")["arguments"] == arguments
    assert api.put(f"/queues/%2F/{name}", {"arguments": arguments}).status == 204
    other = api.put(f"/queues/%2F/{name}", {"arguments": {**arguments, "x-queue-type": "quorum"}})
    assert (other.status, other.json["error"]) == (400, "bad_request")
    assert other.json["reason"].startswith(f"inequivalent arg 'x-queue-type' for queue '{name}' in vhost '/'")


@pytest.mark.parametrize("body, words", [
    ({"durable": "yes"}, ["durable", "yes", "not_boolean"]),
    ({"auto_delete": 1}, ["auto_delete", "not_boolean"]),
    ({"arguments": "x"}, ["arguments", "object"]),
    ({"arguments": {"x-message-ttl": "a"}}, ["x-message-ttl"]),
    (b"{", ["not_json"]),
    (b"[]", ["not_json"]),
])
def test_bad_queue(api, name, body, words):
    answer = api.put(f"/queues/%2F/{name}", body)
    assert (answer.status, answer.json["error"]) == (400, "bad_request")
    for word in words:
        assert word in answer.json["reason"]
    assert api.ask("GET", f"/queues/%2F/{name}").status == 404


def test_inequivalent(api, name):
    assert api.put(f"/queues/%2F/{name}", {"durable": True}).status == 201
    answer = api.put(f"/queues/%2F/{name}", {"durable": False})
    assert answer.json == {"error": "bad_request", "reason": f"inequivalent arg 'durable' for queue '{name}' in "
                           "vhost '/': received 'false' but current is 'true'"}


def test_reserved(api):
    assert api.put("/queues/%2F/amq.mine", {}).status == 401
    assert api.put("/exchanges/%2F/amq.mine", {}).status == 401
    assert api.put("/exchanges/%2F/amq.topic", {"type": "topic"}).status == 204
    for exchange in ("amq.default", "amq.topic"):
        answer = api.delete(f"/exchanges/%2F/{exchange}")
        assert (answer.status, answer.json["error"]) == (401, "not_authorised")


def test_unknown_vhost(api, name):
    for method, path, body in [("PUT", f"/queues/{name}/q", {}), ("PUT", f"/exchanges/{name}/x", {}),
                               ("DELETE", f"/exchanges/{name}/x", None), ("GET", f"/bindings/{name}/e/x/q/q", None),
                               ("POST", f"/bindings/{name}/e/x/q/q", {})]:
        assert api.ask(method, path, body).status in (401, 404), path


def test_exchange_life(api, name):
    body = {"type": "topic", "durable": "true", "auto_delete": "false", "internal": True,
            "arguments": {"alternate-exchange": "amq.fanout"}}
    assert api.put(f"/exchanges/%2F/{name}", body).status == 201
    assert api.put(f"/exchanges/%2F/{name}", body).status == 204
    exchange = api.get(f"/exchanges/%2F/{name}")
    assert {k: exchange[k] for k in ("type", "durable", "auto_delete", "internal", "arguments")} == {
        "type": "topic", "durable": True, "auto_delete": False, "internal": True,
        "arguments": {"alternate-exchange": "amq.fanout"}}
    other = api.put(f"/exchanges/%2F/{name}", {**body, "type": "fanout"})
    assert other.status == 400 and "inequivalent arg 'type'" in other.json["reason"]
    assert api.delete(f"/exchanges/%2F/{name}").status == 204
    assert api.delete(f"/exchanges/%2F/{name}").status == 404


def test_unknown_type(api, name):
    answer = api.put(f"/exchanges/%2F/{name}", {"type": "odd"})
    assert answer.status == 400 and "odd" in answer.json["reason"]


def test_conditions(api, name):
    api.put(f"/queues/%2F/{name}", {})
    api.put(f"/exchanges/%2F/{name}", {"type": "fanout"})
    assert api.post(f"/bindings/%2F/e/{name}/q/{name}", {}).status == 201
    assert api.publish("", exchange=name).json == {"routed": True}
    used = api.delete(f"/exchanges/%2F/{name}?if-unused=true")
    assert (used.status, used.json["reason"]) == (400, f"exchange '{name}' in vhost '/' in use")
    full = api.delete(f"/queues/%2F/{name}?if-empty=true")
    assert (full.status, full.json["reason"]) == (400, f"queue '{name}' in vhost '/' not empty")
    assert api.delete(f"/queues/%2F/{name}/contents").status == 204
    assert api.get(f"/queues/%2F/{name}")["messages"] == 0
    assert api.delete(f"/queues/%2F/{name}?if-empty=true&if-unused=true").status == 204
    assert api.delete(f"/exchanges/%2F/{name}?if-unused=true").status == 204


@pytest.mark.parametrize("body, key", [
    ({}, "~"),
    ({"routing_key": "a.*"}, "a.%2A"),
    ({"routing_key": "a b/é"}, "a%20b%2F%C3%A9"),
    ({"routing_key": "k", "arguments": {"x": 1, "a": "b"}}, None),
    ({"arguments": {"x-match": "any", "h": True}}, None),
])
@pytest.mark.parametrize("kind", ["q", "e"])
def test_binding_life(api, name, body, key, kind):
    api.put(f"/queues/%2F/{name}", {})
    api.put(f"/exchanges/%2F/{name}", {"type": "headers"})
    api.put(f"/exchanges/%2F/{name}.to", {"type": "fanout"})
    destination = name if kind == "q" else name + ".to"
    path = f"/bindings/%2F/e/{name}/{kind}/{destination}"
    assert api.get(path) == []
    made = api.post(path, body)
    assert made.status == 201
    listed = api.get(path)
    assert len(listed) == 1
    binding = listed[0]
    assert binding["source"] == name and binding["destination"] == destination
    assert binding["destination_type"] == {"q": "queue", "e": "exchange"}[kind]
    assert binding["routing_key"] == body.get("routing_key", "")
    assert binding["arguments"] == body.get("arguments", {})
    if key is not None:
        assert binding["properties_key"] == key
    # What clients do: the last segment of Location, and the key from a list, encoded once.
    first, last = made.headers["Location"].split("/")
    assert first == destination and last == quote(binding["properties_key"], safe="~")
    assert api.post(path, body).headers["Location"] == made.headers["Location"]
    assert len(api.get(path)) == 1
    assert api.get(f"{path}/{last}") == binding
    assert api.get(f"{path}/{binding['properties_key']}") == binding  # as it is
    end = "source" if kind == "q" else "destination"
    of = name if kind == "q" else destination
    assert binding in api.get(f"/exchanges/%2F/{of}/bindings/{end}")
    assert binding in api.get("/bindings/%2F")
    assert api.delete(f"{path}/no-such").status == 404
    assert api.delete(f"{path}/{last}").status == 204
    assert api.delete(f"{path}/{last}").status == 404
    assert api.get(path) == []


def test_binding_ends_missing(api, name):
    api.put(f"/queues/%2F/{name}", {})
    answer = api.post(f"/bindings/%2F/e/none/q/{name}", {})
    assert (answer.status, answer.json) == (404, {"error": "not_found", "reason": "no exchange 'none' in vhost '/'"})
    answer = api.post("/bindings/%2F/e/amq.topic/q/none", {})
    assert (answer.status, answer.json["reason"]) == (404, "no queue 'none' in vhost '/'")
    assert api.ask("GET", f"/bindings/%2F/e/none/q/{name}").status == 404
    assert api.post(f"/bindings/%2F/e/amq.topic/q/{name}", {"routing_key": "x" * 256}).status == 400
    assert api.post(f"/bindings/%2F/e/amq.topic/q/{name}", {"routing_key": 1}).status == 400
    assert api.post(f"/bindings/%2F/e/amq.topic/q/{name}", {"arguments": 1}).status == 400


def test_default_bindings(api, name):
    api.put(f"/queues/%2F/{name}", {})
    only = api.get(f"/bindings/%2F/e/amq.default/q/{name}")
    assert [(b["source"], b["routing_key"], b["properties_key"]) for b in only] == [("", name, name)]
    assert only[0] in api.get("/exchanges/%2F/amq.default/bindings/source")
    assert api.get("/exchanges/%2F/amq.default/bindings/destination") == []
    assert api.delete(f"/bindings/%2F/e/amq.default/q/{name}/{name}").status == 401
    assert api.post(f"/bindings/%2F/e/amq.default/q/{name}", {}).status == 401


def test_every_exchange_type_is_named_and_can_be_declared(api):
    """In RabbitMQ's words and order; those of its plugins too. @spec management-api 5.1"""
    types = api.get("/overview")["exchange_types"]
    assert [t["name"] for t in types] == ["direct", "fanout", "headers", "topic", "x-consistent-hash", "x-delayed-message",
                                          "x-modulus-hash", "x-random", "x-recent-history"]
    assert all(set(t) == {"name", "description", "enabled"} and t["description"] and t["enabled"] is True for t in types)
    assert types[0]["description"] == "AMQP direct exchange, as per the AMQP specification"
    assert types[4]["description"] == "Consistent Hashing Exchange"
    for t in types:
        arguments = {"x-delayed-type": "direct"} if t["name"] == "x-delayed-message" else {}
        declared = api.put("/exchanges/%2F/type-" + t["name"], {"type": t["name"], "arguments": arguments})
        assert declared.status == 201, (t, declared)
        assert api.delete("/exchanges/%2F/type-" + t["name"]).status == 204
    mechanisms = api.get("/nodes")[0]["auth_mechanisms"]
    # All that there are; enabled is what a listener offers. More of them: integration-tls.
    assert {m["name"]: m["enabled"] for m in mechanisms} == {"PLAIN": True, "AMQPLAIN": True, "EXTERNAL": False, "ANONYMOUS": False}
    assert mechanisms[0]["description"] == "SASL PLAIN authentication mechanism"
    assert all(set(m) == {"name", "description", "enabled"} for m in mechanisms)
