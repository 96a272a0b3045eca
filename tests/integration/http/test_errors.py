"""Status and words of what is refused, as RabbitMQ 3.10 has them (see conformance/management-compare). @spec management-api 1.4"""

import contextlib
import subprocess

import pika
import pytest
from conftest import Api, support

CASES = [  # method, path, body, status, error, reason begins with
    ("PUT", "/queues/none/q", {}, 404, "not_found", "vhost_not_found"),
    ("GET", "/queues/none", None, 404, "Object Not Found", "Not Found"),
    ("GET", "/bindings/none", None, 404, "Object Not Found", "Not Found"),
    ("GET", "/aliveness-test/none", None, 404, "Object Not Found", "Not Found"),
    ("POST", "/definitions/none", {}, 404, "not_found", "vhost_not_found"),
    ("PUT", "/vhost-limits/none/max-queues", {"value": 1}, 404, "not_found", "vhost_not_found"),
    ("PUT", "/vhost-limits/%2F/max-queues", {}, 400, "bad_request", "[{key_missing,value}]"),
    ("PUT", "/vhost-limits/%2F/max-queues", {"value": "1"}, 400, "bad_request", "value must be an integer"),
    ("PUT", "/user-limits/guest/max-channels", {}, 400, "bad_request", "[{key_missing,value}]"),
    ("PUT", "/user-limits/none/max-channels", {"value": 1}, 404, "Object Not Found", "Not Found"),
    ("PUT", "/users/new", {}, 400, "bad_request", "tags_not_present"),
    ("POST", "/users/bulk-delete", {}, 400, "bad_request", "[{key_missing,users}]"),
    ("POST", "/users/bulk-delete", {"users": 1}, 400, "bad_request", "users must be a list"),
    ("PUT", "/cluster-name", {}, 400, "bad_request", "[{key_missing,name}]"),
    ("PUT", "/feature-flags/none/enable", {}, 400, "bad_request", "unsupported"),
    ("POST", "/queues/%2F/none/actions", {"action": "sync"}, 404, "Object Not Found", "Not Found"),
    ("POST", "/queues/none/q/actions", {"action": "sync"}, 404, "Object Not Found", "Not Found"),
    ("POST", "/queues/%2F/none/actions", {}, 400, "bad_request", "[{key_missing,action}]"),
    ("POST", "/vhosts/none/start/rabbit@none", {}, 404, "Object Not Found", "Not Found"),
    ("POST", "/vhosts/%2F/start/rabbit@none", {}, 404, "Object Not Found", "Not Found"),
    ("GET", "/auth/attempts/none", None, 404, "Object Not Found", "Not Found"),
    ("GET", "/channels/none", None, 404, "Object Not Found", "Not Found"),
    ("GET", "/shovels/none", None, 404, "Object Not Found", "Not Found"),
    ("PUT", "/exchanges/%2F/new", {"type": "none"}, 400, "bad_request", "invalid exchange type 'none'"),
    ("GET", "/health/checks/certificate-expiration/1/fortnights", None, 400, "bad_request", "Time unit not recognised"),
]


@pytest.mark.parametrize("method, path, body, status, error, reason", CASES)
def test_refused(api, method, path, body, status, error, reason):
    answer = api.ask(method, path, body)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert answer.json["reason"].startswith(reason)


@pytest.mark.parametrize("method, path, allowed", [("PUT", "/overview", "GET, HEAD, OPTIONS"), ("DELETE", "/whoami", "GET, HEAD, OPTIONS"),
                                                   ("PATCH", "/queues/%2F/q", "GET, HEAD, PUT, DELETE, OPTIONS"),
                                                   ("GET", "/login", "POST, DELETE, OPTIONS")])
def test_wrong_method(api, method, path, allowed):
    answer = api.ask(method, path, {})
    assert (answer.status, answer.text, answer.headers["Allow"]) == (405, b"", allowed)


def test_queue_of_a_connection(api, shared):
    """Nobody else may delete or purge it."""
    connection = pika.BlockingConnection(pika.ConnectionParameters(shared.host, shared.port))
    name = connection.channel().queue_declare("", exclusive=True).method.queue
    for path in (f"/queues/%2F/{name}", f"/queues/%2F/{name}/contents"):
        answer = api.delete(path)
        assert (answer.status, answer.json["error"]) == (400, "bad_request")
        assert answer.json["reason"].startswith(f"cannot obtain exclusive access to locked queue '{name}' in vhost '/'")
    assert api.get(f"/queues/%2F/{name}")["owner_pid_details"]["peer_host"] == "127.0.0.1"
    connection.close()


def test_compatible_answers(api, shared):
    """What tools ask for and this broker has little to say about."""
    node = api.get("/overview")["node"]
    for path in ("/extensions", "/deprecated-features", "/deprecated-features/used", "/federation-links", "/federation-links/%2F",
                 "/shovels", "/shovels/%2F", f"/auth/attempts/{node}/source"):
        assert api.get(path) == [], path
    assert {f["state"] for f in api.get("/feature-flags")} == {"enabled"}
    assert api.put("/feature-flags/quorum_queue/enable", {}).status == 204
    assert api.get("/auth")["oauth_enabled"] is False
    for method, path in (("POST", "/rebalance/queues"), ("DELETE", f"/reset/{node}"), ("POST", f"/vhosts/%2F/start/{node}")):
        assert api.ask(method, path, {}).status == 204


def told_cluster_name(broker):
    """What connection.start says."""
    with contextlib.closing(pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port))) as connection:
        return connection._impl.server_properties["cluster_name"]


def test_cluster_name(api, shared):
    before = api.get("/cluster-name")["name"]
    assert told_cluster_name(shared) == before
    assert api.put("/cluster-name", {"name": "another"}).status == 204
    assert api.get("/cluster-name") == {"name": "another"} and api.get("/overview")["cluster_name"] == "another"
    assert api.get("/global-parameters/cluster_name")["value"] == "another"
    assert told_cluster_name(shared) == "another"
    assert api.delete("/global-parameters/cluster_name").status == 204
    assert api.get("/cluster-name")["name"] == before == told_cluster_name(shared)


def test_attempts(api, shared):
    node = api.get("/overview")["node"]
    assert api.delete(f"/auth/attempts/{node}").status == 204
    connection = pika.BlockingConnection(pika.ConnectionParameters(shared.host, shared.port))
    connection.close()
    attempts = {a["protocol"]: a for a in api.get(f"/auth/attempts/{node}")}
    assert attempts["amqp091"]["auth_attempts"] == attempts["amqp091"]["auth_attempts_succeeded"] == 1
    assert attempts["http"]["auth_attempts"] >= 1 and attempts["http"]["auth_attempts_failed"] == 0


def test_listeners_of_health_checks(api, shared):
    for address in (shared.addresses["http"], shared.addresses["amqp.1"]):
        port = int(address.rsplit(":", 1)[1])
        assert api.get(f"/health/checks/port-listener/{port}") == {"status": "ok", "port": port}
    failed = api.ask("GET", "/health/checks/port-listener/1")
    assert failed.status == 503 and int(shared.addresses["http"].rsplit(":", 1)[1]) in failed.json["ports"]
    assert api.get("/health/checks/protocol-listener/amqp091") == {"status": "ok", "protocol": "amqp"}


def test_who_makes_a_vhost_may_use_it(api):
    assert api.put("/vhosts/made", {}).status == 201
    (permission,) = api.get("/vhosts/made/permissions")
    assert permission == {"user": "guest", "vhost": "made", "configure": ".*", "write": ".*", "read": ".*"}
    assert api.put("/permissions/made/guest", {"configure": "", "write": "", "read": ""}).status == 204
    assert api.put("/vhosts/made", {}).status == 204
    assert api.get("/permissions/made/guest")["read"] == ""
    assert api.delete("/vhosts/made").status == 204


def test_cluster_id(api):
    (found,) = [p for p in api.get("/global-parameters") if p["name"] == "internal_cluster_id"]
    assert api.get("/global-parameters/internal_cluster_id") == found and len(found["value"]) == 32


def test_operator_policies_can_be_read_only():
    """management.restrictions.operator_policy_changes.disabled: over the network, as in RabbitMQ; the command line may."""
    key = "management.restrictions.operator_policy_changes.disabled"
    with support.new({key: "true"}, kind="sluice") as broker:
        api, path, body = Api(broker), "/operator-policies/%2F/p", {"pattern": ".*", "definition": {"max-length": 5}}
        for method in ("PUT", "DELETE"):
            answer = api.ask(method, path, body)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        assert api.put("/policies/%2F/p", body).status == 201
        subprocess.run([*broker.ctl_words(), "set_operator_policy", "p", ".*", '{"max-length":5}'], check=True,
                       timeout=60, stdout=subprocess.DEVNULL)
        assert [p["name"] for p in api.get("/operator-policies")] == ["p"]
