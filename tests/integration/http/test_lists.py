"""Pages, sorting, filters and columns of lists.

@spec management-api 1.6
"""

import uuid
from urllib.parse import quote

import pytest


@pytest.fixture(scope="module")
def queues(shared):
    """25 queues of which the first three hold 1, 2 and 3 messages."""
    from conftest import Api
    api = Api(shared)
    prefix = "L" + uuid.uuid4().hex[:8]
    names = [f"{prefix}-{number:02}" for number in range(25)]
    for name in names:
        assert api.put(f"/queues/%2F/{name}", {}).status == 201
    for number in range(3):
        for _ in range(number + 1):
            api.publish(names[number])
    yield prefix, names
    for name in names:
        api.delete(f"/queues/%2F/{name}")
    api.close()


def test_pages(api, queues):
    prefix, names = queues
    got = []
    for number in range(1, 4):
        page = api.get(f"/queues?page={number}&page_size=10&name={prefix.lower()}&pagination=false")
        assert {k: page[k] for k in page if k != "items"} == {
            "page": number, "page_size": 10, "page_count": 3, "filtered_count": 25, "item_count": len(page["items"]),
            "total_count": len(api.get("/queues"))}
        got += [q["name"] for q in page["items"]]
    assert got == names
    assert len(api.get(f"/queues/%2F?page=1&name={prefix}")["items"]) == 25  # 100 is the default
    assert isinstance(api.get("/queues?page_size=1"), list)  # page_size alone counts for nothing


def test_regex(api, queues):
    prefix, names = queues
    page = api.get(f"/queues?page=1&use_regex=true&name=%5E{prefix.lower()}-0%5B12%5D%24&columns=name")
    assert page["items"] == [{"name": names[1]}, {"name": names[2]}]
    bad = api.ask("GET", "/queues?page=1&use_regex=true&name=%28")
    assert bad.status == 400 and "regex" in bad.json["reason"]


def test_regex_that_explodes(api):
    """It is given up at the first name that is too much for it: a list may be ten thousand long."""
    name, path = "a" * 60 + "!", f"/queues/%2F/{'a' * 60}%21"
    assert api.put(path).status == 201
    bomb = api.ask("GET", "/queues?page=1&use_regex=true&name=%5E%28a%2B%29%2B%24")
    assert bomb.status == 400 and "takes too much work" in bomb.json["reason"]
    assert api.get("/queues?page=1&use_regex=true&name=%5Ea%2B%21%24")["items"][0]["name"] == name
    assert api.delete(path).status == 204


def test_nothing_found(api):
    page = api.get("/queues?page=1&name=there-is-none-of-that")
    assert (page["page_count"], page["filtered_count"], page["item_count"], page["items"]) == (0, 0, 0, [])  # as at RabbitMQ


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=", "page=-1", "page=1&page_size=0", "page=1&page_size=501",
                                   "page=99999999999999999999"])
def test_bad_page(api, query):
    answer = api.ask("GET", "/queues?" + query)
    assert (answer.status, answer.json["error"]) == (400, "invalid_pagination_parameters")


def test_page_out_of_range(api):
    answer = api.ask("GET", "/exchanges/%2F?page=7&page_size=50")
    assert (answer.status, answer.json["error"]) == (400, "page_out_of_range")
    assert "7" in answer.json["reason"] and "50" in answer.json["reason"]


def test_sort(api, queues):
    prefix, names = queues
    for reverse, wanted in ((True, [names[2], names[1], names[0]]), (False, None)):
        page = api.get(f"/queues?page=1&page_size=3&name={prefix}&sort=messages&columns=name"
                       f"&sort_reverse={str(reverse).lower()}")
        if wanted is None:
            wanted = names[3:6]  # all have none: as they were
        assert page["items"] == [{"name": name} for name in wanted]
    by_stats = [q["name"] for q in api.get("/queues/%2F?sort=message_stats.publish&columns=name")]
    mine = [name for name in by_stats if name.startswith(prefix)]
    assert mine[-3:] == names[:3]  # those without the field come first
    plain = api.get("/queues")
    assert [q["name"] for q in api.get("/queues?sort=")] == [q["name"] for q in plain]
    assert len(api.get("/queues?sort=no.such.field")) == len(plain)


def test_columns(api, queues):
    _, names = queues
    one = api.get(f"/queues/%2F/{names[0]}?columns=name,message_stats.publish,no_such,arguments.none")
    assert one == {"name": names[0], "arguments": {}, "message_stats": {"publish": 1}}
    assert all(set(q) == {"name", "messages"} for q in api.get("/queues?columns=name,messages"))
    assert set(api.get("/overview?columns=node,queue_totals.messages")) == {"node", "queue_totals"}
    assert set(api.get("/nodes?columns=name")[0]) == {"name"}


@pytest.mark.parametrize("path", ["connections", "channels", "consumers", "exchanges", "queues", "bindings", "vhosts",
                                  "policies", "nodes", "exchanges/%2F", "queues/%2F", "bindings/%2F"])
def test_every_list_has_pages(api, path):
    page = api.get(f"/{path}?page=1&page_size=500&sort=name")
    assert len(page["items"]) == page["item_count"] == len(api.get("/" + path))


def test_rates_are_there(api, queues, shared):
    """Monitoring scripts read them of every entry, from the first moment on."""
    import pika
    _, names = queues
    connection = pika.BlockingConnection(pika.ConnectionParameters(shared.host, shared.port))
    try:
        (entry,) = api.get("/connections?columns=state,recv_oct,recv_oct_details.rate,send_oct_details.rate")
        assert entry["state"] == "running" and entry["recv_oct"] > 0
        assert entry["recv_oct_details"]["rate"] > 0 and entry["send_oct_details"]["rate"] >= 0
    finally:
        connection.close()
    queue = api.get(f"/queues/%2F/{names[2]}")
    for field in ("messages", "messages_ready", "messages_unacknowledged"):
        assert queue[field + "_details"]["rate"] >= 0
    assert queue["message_stats"]["publish"] == 3
    assert queue["message_stats"]["publish_details"]["rate"] >= 0
    overview = api.get("/overview")
    assert overview["message_stats"]["publish_details"]["rate"] >= 0  # more of it: test_stats.py
    assert set(overview["queue_totals"]) >= {"messages", "messages_details"}
    (node,) = api.get("/nodes")
    assert node["sockets_total"] > 0 and node["proc_total"] > 0 and node["partitions"] == []
    assert node["mem_alarm"] is False and node["disk_free_alarm"] is False
    assert api.get("/nodes/" + node["name"])["name"] == node["name"]
    port = shared.addresses["http"].rsplit(":", 1)[1]
    assert [c["port"] for c in overview["contexts"]] == [port]


def test_order(api):
    """RabbitMQ's, where nobody asks for one: by vhost, then by name; bindings by their ends."""
    try:
        for vhost in ("zz", "aa"):
            assert api.put(f"/vhosts/{vhost}", {}).status == 201
            for name in ("b", "a", "c"):
                assert api.put(f"/queues/{vhost}/{name}", {}).status == 201
                assert api.post(f"/bindings/{vhost}/e/amq.topic/q/{name}", {"routing_key": name}).status == 201
        vhosts = [v["name"] for v in api.get("/vhosts")]
        assert vhosts == sorted(vhosts)
        ours = [(q["vhost"], q["name"]) for q in api.get("/queues") if q["vhost"] in ("aa", "zz")]
        assert ours == [(v, n) for v in ("aa", "zz") for n in "abc"]
        assert [q["name"] for q in api.get("/queues/zz?columns=name")] == ["a", "b", "c"]
        assert api.get("/queues/zz?columns=messages") == [{"messages": 0}] * 3
        assert [q["name"] for q in api.get("/queues/zz?sort=")] == ["b", "a", "c"]
        assert [q["name"] for q in api.get("/queues/zz?page=2&page_size=2")["items"]] == ["c"]
        bindings = [(b["source"], b["destination"]) for b in api.get("/bindings/zz")]
        assert bindings == [(s, d) for s in ("", "amq.topic") for d in "abc"]
        permissions = [(p["vhost"], p["user"]) for p in api.get("/permissions")]
        assert permissions == sorted(permissions)
    finally:
        for vhost in ("zz", "aa"):
            api.delete(f"/vhosts/{vhost}")


def test_texts_that_look_like_json(api):
    """Entries are told apart whatever stands in them."""
    name = '\\"]},{[\\\\'
    path = f"/queues/%2F/{quote(name, safe='')}"
    assert api.put(path, {"arguments": {"x-message-ttl": 1000, "x-dead-letter-exchange": name}}).status == 201
    before = len(api.get("/queues"))
    page = api.get(f"/queues?page=1&name={quote(name, safe='')}&columns=name,arguments")
    assert page["items"] == [{"name": name, "arguments": {"x-message-ttl": 1000, "x-dead-letter-exchange": name}}]
    assert page["total_count"] == before
    assert api.delete(path).status == 204
