"""What a user may change over HTTP: tags, vhosts, and the permissions of AMQP.

@spec management-api 2
"""

import socket

import pytest
from conftest import Api
from support import broker as support


class AdminSocket(Api):
    """An administrator on the unix socket."""

    def __init__(self, broker):
        super().__init__(broker)
        self.connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.sock.settimeout(60)
        self.connection.sock.connect(broker.admin)


def start(tags):
    """A broker whose only user may do things with what begins with `some`."""
    config = {"default_user": "some", "default_pass": "p", "default_permissions.configure": "^some",
              "default_permissions.write": "^some|^amq.topic$", "default_permissions.read": "^some", **tags}
    return support.new(kind="sluice", config=config)


@pytest.fixture(scope="module")
def own():
    with start({"default_user_tags.administrator": "false", "default_user_tags.management": "true"}) as broker:
        admin = AdminSocket(broker)
        for name in ("some-q", "other-q"):
            assert admin.put(f"/queues/%2F/{name}", {}).status == 201
        for name in ("some-x", "other-x"):
            assert admin.put(f"/exchanges/%2F/{name}", {}).status == 201
        admin.close()
        yield broker


@pytest.fixture
def some(own):
    client = Api(own, "some:p")
    yield client
    client.close()


PUBLISH = {"properties": {}, "routing_key": "k", "payload": "", "payload_encoding": "string"}
GET = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}

ALLOWED = [
    ("PUT", "/queues/%2F/some-new", {}, 201),
    ("PUT", "/exchanges/%2F/some-new", {}, 201),
    ("POST", "/bindings/%2F/e/some-x/q/some-q", {"routing_key": "k"}, 201),
    ("GET", "/bindings/%2F/e/some-x/q/some-q/k", None, 200),
    ("POST", "/exchanges/%2F/some-x/publish", PUBLISH, 200),
    ("POST", "/queues/%2F/some-q/get", GET, 200),
    ("DELETE", "/queues/%2F/some-q/contents", None, 204),
    ("DELETE", "/bindings/%2F/e/some-x/q/some-q/k", None, 204),
    ("DELETE", "/exchanges/%2F/some-new", None, 204),
    ("DELETE", "/queues/%2F/some-new", None, 204),
]
REFUSED = [
    ("PUT", "/queues/%2F/other-new", {}, "configure"),
    ("PUT", "/exchanges/%2F/other-new", {}, "configure"),
    ("DELETE", "/exchanges/%2F/other-x", None, "configure"),
    ("POST", "/bindings/%2F/e/other-x/q/some-q", {}, "read"),
    ("POST", "/bindings/%2F/e/some-x/q/other-q", {}, "write"),
    ("POST", "/exchanges/%2F/other-x/publish", PUBLISH, "write"),
    ("POST", "/exchanges/%2F/amq.default/publish", PUBLISH, "write"),
    ("POST", "/queues/%2F/other-q/get", GET, "read"),
    ("DELETE", "/queues/%2F/other-q/contents", None, ""),
    ("DELETE", "/queues/%2F/other-q", None, ""),
    ("GET", "/aliveness-test/%2F", None, "configure"),
]


def test_allowed(some):
    for method, path, body, status in ALLOWED:
        answer = some.ask(method, path, body)
        assert answer.status == status, (method, path, answer)


@pytest.mark.parametrize("method, path, body, access", REFUSED)
def test_refused(some, method, path, body, access):
    answer = some.ask(method, path, body)
    assert (answer.status, answer.json["error"]) == (401, "not_authorised")
    assert answer.json["reason"].startswith("ACCESS_REFUSED - " + access)
    assert "for user 'some'" in answer.json["reason"]


def test_no_vhost(some):
    """A vhost that one may not enter looks the same as one that does not exist."""
    for method, path, body, _ in ALLOWED:
        answer = some.ask(method, path.replace("%2F", "elsewhere"), body)
        assert (answer.status, answer.json) == (401, {"error": "not_authorised", "reason":
                                                      "User not authorised to access virtual host"}), (method, path)


def test_no_tag():
    with start({"default_user_tags.administrator": "false"}) as broker:
        client = Api(broker, "some:p")
        for method, path, body, _ in ALLOWED:
            answer = client.ask(method, path, body)
            assert (answer.status, answer.json) == (401, {"error": "not_authorised", "reason": "Not management user"})
        client.close()


def test_user_id(some, own):
    body = {**PUBLISH, "properties": {"user_id": "guest"}}
    answer = some.post("/exchanges/%2F/some-x/publish", body)
    assert answer.status == 400 and "authenticated user was 'some'" in answer.json["reason"]
    admin = AdminSocket(own)
    assert admin.post("/exchanges/%2F/some-x/publish", body).status == 200
    admin.close()


def test_administrators_only(some):
    for method, path in (("GET", "/sluice/config"), ("GET", "/sluice/alarms/limits"), ("PUT", "/sluice/alarms/limits")):
        answer = some.ask(method, path, {} if method == "PUT" else None)
        assert (answer.status, answer.json["reason"]) == (401, "Not administrator user")
