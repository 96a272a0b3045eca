"""What the tags of a user let them see. @spec management-api 2; compared with RabbitMQ by conformance/management-compare."""

import contextlib

import pika
import pytest
from conftest import Api
from support import broker as support

ALL = ("manager", "maker", "watcher", "boss")
TAGS = {"nobody": "", "manager": "management", "maker": "policymaker", "watcher": "monitoring", "boss": "administrator"}
FULL = {"configure": ".*", "write": ".*", "read": ".*"}


@pytest.fixture(scope="module")
def world():
    """Each user has permissions in v1, nobody has any in `hidden`; guest and the manager have a connection each."""
    with support.new(kind="sluice") as broker:
        admin = Api(broker)
        for vhost in ("v1", "hidden"):
            assert admin.put(f"/vhosts/{vhost}", {}).status == 201
            assert admin.put(f"/permissions/{vhost}/guest", FULL).status == 204  # who makes a vhost has them
            assert admin.put(f"/queues/{vhost}/q", {}).status == 201
            assert admin.put(f"/policies/{vhost}/p", {"pattern": "x", "definition": {"max-length": 1}}).status == 201
        for name, tags in TAGS.items():
            assert admin.put(f"/users/{name}", {"password": name, "tags": tags}).status == 201
            assert admin.put(f"/permissions/v1/{name}", FULL).status == 201
        connections = {user: connect(broker, user) for user in ("guest", "manager")}
        names = {c["user"]: c["name"] for c in admin.get("/connections")}
        yield broker, names
        for connection in connections.values():
            with contextlib.suppress(pika.exceptions.AMQPError):  # it was closed by a test
                connection.close()
        admin.close()


def connect(broker, user):
    connection = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, "v1",
                                                                   pika.PlainCredentials(user, user), heartbeat=0))
    connection.channel().basic_consume(connection.channel().queue_declare("", exclusive=True).method.queue, print)
    return connection


@pytest.fixture(params=ALL)
def user(request, world):
    client = Api(world[0], f"{request.param}:{request.param}")
    client.name = request.param
    yield client
    client.close()


def path_of(name):
    return name.replace(" ", "%20")


SEEN = [  # path, who gets an answer
    ("/overview", ALL), ("/cluster-name", ALL), ("/extensions", ALL), ("/connections", ALL), ("/channels", ALL),
    ("/consumers", ALL), ("/consumers/v1", ALL), ("/vhosts", ALL), ("/vhosts/v1/connections", ALL), ("/vhosts/v1/channels", ALL),
    ("/policies", ALL), ("/policies/v1", ALL), ("/policies/v1/p", ALL), ("/operator-policies", ALL), ("/user-limits", ALL),
    ("/vhost-limits/v1", ALL), ("/healthchecks/node", ALL), ("/health/checks/alarms", ALL), ("/whoami", ALL), ("/auth", ALL),
    ("/queues/v1/q", ALL), ("/deprecated-features/used", ALL),
    ("/queues/hidden", ("boss",)), ("/queues/hidden/q", ("boss",)), ("/policies/hidden", ("boss",)), ("/consumers/hidden", ("boss",)),
    ("/vhosts/hidden/connections", ("boss",)), ("/vhost-limits/hidden", ("boss",)),
    ("/parameters", ("maker", "boss")), ("/global-parameters", ("maker", "boss")), ("/parameters/policy/hidden", ("boss",)),
    ("/nodes", ("watcher", "boss")), ("/shovels", ("watcher", "boss")), ("/federation-links/v1", ("watcher", "boss")),
    ("/users", ("boss",)), ("/vhosts/v1", ("boss",)), ("/permissions", ("boss",)), ("/definitions", ("boss",)),
    ("/definitions/v1", ("boss",)), ("/feature-flags", ("boss",)), ("/users/manager/permissions", ("boss",)),
]
DONE = [  # what changes something
    ("PUT", "/policies/v1/new", {"pattern": "x", "definition": {"max-length": 1}}, ("maker", "boss")),
    ("DELETE", "/policies/v1/new", None, ("maker", "boss")),
    ("PUT", "/policies/hidden/new", {"pattern": "x", "definition": {"max-length": 1}}, ("boss",)),
    ("PUT", "/operator-policies/v1/new", {"pattern": "x", "definition": {"max-length": 1}}, ("boss",)),
    ("PUT", "/parameters/vhost-limits/v1/limits", {"value": {"max-queues": 99}}, ("maker", "boss")),
    ("PUT", "/parameters/vhost-limits/hidden/limits", {"value": {"max-queues": 99}}, ("boss",)),
    ("PUT", "/global-parameters/new", {"value": 1}, ("maker", "boss")),
    ("PUT", "/vhost-limits/v1/max-queues", {"value": 99}, ("boss",)), ("PUT", "/users/new", {"tags": ""}, ("boss",)),
    ("PUT", "/cluster-name", {"name": "new"}, ("boss",)), ("POST", "/rebalance/queues", {}, ("boss",)), ("DELETE", "/reset", None, ("boss",)),
    ("DELETE", "/auth/attempts/rabbit@x", None, ()), ("POST", "/queues/v1/q/actions", {"action": "sync"}, ("boss",)),
    ("POST", "/definitions/v1", {}, ("boss",)), ("DELETE", "/connections/username/guest", None, ("boss",)),
]


def test_paths(user):
    for path, who in SEEN:
        answer = user.ask("GET", path)
        assert answer.status == (200 if user.name in who else 401), (user.name, path, answer)


def test_changes(user):
    for method, path, body, who in DONE:
        if user.name == "boss":
            continue  # what an administrator may is what all other tests do
        answer = user.ask(method, path, body)
        assert (answer.status < 300) == (user.name in who), (user.name, method, path, answer)
        if user.name not in who:
            assert answer.status in (401, 404)


def test_nobody(world):
    client = Api(world[0], "nobody:nobody")
    for path, _ in SEEN:
        answer = client.ask("GET", path)
        if path != "/auth":
            assert (answer.status, answer.json["reason"]) == (401, "Not management user"), path
            assert "WWW-Authenticate" not in answer.headers  # the password was right
    client.close()


def test_vhosts_and_queues(user):
    every = user.name in ("watcher", "boss")
    assert {v["name"] for v in user.get("/vhosts")} == ({"/", "v1", "hidden"} if every else {"v1"})
    assert {q["vhost"] for q in user.get("/queues")} == ({"v1", "hidden"} if user.name == "boss" else {"v1"})
    assert {p["vhost"] for p in user.get("/policies")} == ({"v1", "hidden"} if user.name == "boss" else {"v1"})
    overview = user.get("/overview")
    assert overview["object_totals"]["queues"] == len(user.get("/queues")) + (user.name == "watcher")
    assert overview["object_totals"]["exchanges"] == len(user.get("/exchanges")) * (3 if user.name == "watcher" else 1)
    assert overview["object_totals"]["connections"] == len(user.get("/connections"))
    assert overview["object_totals"]["channels"] == len(user.get("/channels"))
    for key in ("node", "listeners", "contexts"):
        assert (key in overview) == every


def test_connections(user, world):
    names = world[1]
    every = user.name in ("watcher", "boss")
    own = {"guest", "manager"} if every else {"manager"} & {user.name}
    for path in ("/connections", "/vhosts/v1/connections", "/channels", "/vhosts/v1/channels"):
        assert {c["user"] for c in user.get(path)} == own, path
    assert {c["channel_details"]["user"] for c in user.get("/consumers/v1")} == own
    for name in ("guest", "manager"):
        status = 200 if name in own else 401
        for path in (f"/connections/{path_of(names[name])}", f"/connections/{path_of(names[name])}/channels",
                     f"/connections/username/{name}", f"/channels/{path_of(names[name])}%20(1)"):
            assert user.ask("GET", path).status == status, path
    assert [c["user"] for c in user.get(f"/connections/username/{user.name}")] == [user.name] * (user.name == "manager")


def test_closing(world):
    """Everybody closes their own connections, others' an administrator."""
    broker, names = world
    for user, name, status in (("manager", "guest", 401), ("watcher", "guest", 401), ("manager", "manager", 204)):
        client = Api(broker, f"{user}:{user}")
        assert client.delete(f"/connections/{path_of(names[name])}").status == status
        client.close()
    admin = Api(broker)
    support.wait_until(lambda: {c["user"] for c in admin.get("/connections")} == {"guest"}, 60, "the connection to be closed")
    another = connect(broker, "manager")
    assert admin.delete("/connections/username/manager").status == 204
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
        another.process_data_events(60)
    admin.close()
