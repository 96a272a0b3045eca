"""Counters, rates and values of the past, where dashboards look for them. @spec management-api 3, 5"""

import time

import pika
import pytest
from conftest import Api
from support import broker as support


@pytest.fixture(scope="module")
def world():
    """A queue of ten messages: three unacknowledged, one acknowledged, one got without acknowledgement, one gone back."""
    with support.new(kind="sluice", config={"collect_statistics_interval": "200"}) as broker:
        api = Api(broker)
        assert api.put("/queues/%2F/q", {}).status == 201
        assert api.put("/queues/%2F/idle", {}).status == 201
        assert api.put("/exchanges/%2F/x", {"type": "fanout"}).status == 201
        for queue in ("q", "idle"):
            assert api.post(f"/bindings/%2F/e/x/q/{queue}", {}).status == 201
        api.close()
        connection = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, heartbeat=0))
        publisher, consumer, no_ack, getter = (connection.channel() for _ in range(4))
        publisher.confirm_delivery()
        for _ in range(10):
            publisher.basic_publish("", "q", b"m")
        with pytest.raises(pika.exceptions.UnroutableError):
            publisher.basic_publish("", "nowhere", b"m", mandatory=True)
        publisher.basic_publish("", "nowhere", b"m")
        publisher.basic_publish("x", "", b"m")
        consumer.basic_qos(prefetch_count=3)
        got = []
        consumer.basic_consume("q", lambda c, method, props, body: got.append(method.delivery_tag))
        support.wait_until(lambda: connection.process_data_events() or len(got) == 3, 60, "three deliveries")
        consumer.basic_ack(got[0])
        support.wait_until(lambda: connection.process_data_events() or len(got) == 4, 60, "one more")
        getter.basic_get("q", auto_ack=True)
        tag = getter.basic_get("q")[0].delivery_tag
        getter.basic_nack(tag, requeue=True)
        getter.basic_get("q")
        no_ack.basic_consume("idle", print, auto_ack=True)
        connection.process_data_events()
        getter.basic_get("idle")
        yield broker
        connection.close()


@pytest.fixture
def stats(world):
    client = Api(world)
    yield client
    client.close()


def values(stats):
    return {key: value for key, value in stats.items() if not key.endswith("_details")}


DELIVERED = {"deliver": 4, "deliver_no_ack": 0, "get": 2, "get_no_ack": 1, "get_empty": 0, "deliver_get": 7, "redeliver": 1, "ack": 1}


def test_queue(stats):
    queue = stats.get("/queues/%2F/q")
    assert values(queue["message_stats"]) == {"publish": 11, **DELIVERED}
    assert all("rate" in queue["message_stats"][key + "_details"] for key in values(queue["message_stats"]))
    idle = stats.get("/queues/%2F/idle")
    assert values(idle["message_stats"]) == {"publish": 1, **dict.fromkeys(DELIVERED, 0), "deliver_no_ack": 1, "deliver_get": 1, "get_empty": 1}
    assert "message_stats" not in stats.get("/queues/%2F/q?disable_stats=true")
    (consumer,) = queue["consumer_details"]
    assert consumer["queue"] == {"name": "q", "vhost": "/"} and consumer["prefetch_count"] == 3
    assert queue["incoming"] == queue["deliveries"] == []
    assert (queue["consumers"], queue["messages_unacknowledged"], queue["messages"]) == (1, 4, 9)


def test_queue_and_its_consumers_keep_up(stats):
    queue = stats.get("/queues/%2F/q")
    assert 0 < queue["consumer_capacity"] <= 1 and "consumer_utilisation" in queue
    # Its message waited for the consumer to come; since then nothing does.
    support.wait_until(lambda: stats.get("/queues/%2F/idle")["consumer_capacity"] > 0.99, 60, "the capacity to rise")
    (listed,) = stats.get("/queues?columns=name,disk_reads,disk_writes,pid,publish_count,deliver_count,ack_count&page=1&name=q")["items"]
    assert {k: v for k, v in listed.items() if k != "pid"} == {
        "name": "q", "disk_reads": 0, "disk_writes": 0, "publish_count": 11, "deliver_count": 7, "ack_count": 1}
    assert listed["pid"].startswith("<") and "pid" not in queue, "only when it is asked for"
    assert {c["consumer_timeout"] for c in stats.get("/consumers")} == {0}


def test_exchange(stats):
    assert values(stats.get("/exchanges/%2F/x")["message_stats"]) == {"publish_in": 1, "publish_out": 2}
    assert values(stats.get("/exchanges/%2F/amq.default")["message_stats"]) == {"publish_in": 12, "publish_out": 10}
    assert "message_stats" not in stats.get("/exchanges/%2F/amq.topic") and "policy" not in stats.get("/exchanges/%2F/amq.topic")


def test_channels(stats):
    channels = {c["number"]: c for c in stats.get("/channels")}
    assert values(channels[1]["message_stats"]) == {"publish": 13, "confirm": 13, "return_unroutable": 1, "drop_unroutable": 1}
    assert values(channels[2]["message_stats"])["deliver"] == 4
    assert values(channels[3]["message_stats"])["deliver_no_ack"] == 1
    assert values(channels[4]["message_stats"])["get_empty"] == 1
    one = stats.get("/channels/" + channels[2]["name"].replace(" ", "%20"))
    assert [c["queue"]["name"] for c in one["consumer_details"]] == ["q"]
    assert one["publishes"] == one["deliveries"] == [] and one["pending_raft_commands"] == 0


def test_totals(stats):
    for place in (stats.get("/overview"), stats.get("/vhosts/%2F")):
        counted = values(place["message_stats"])
        assert counted["publish"] == 13 and counted["confirm"] == 13
        assert counted["return_unroutable"] == counted["drop_unroutable"] == 1
        assert counted["deliver_get"] == 8 and counted["ack"] == 1
    churn = values(stats.get("/overview")["churn_rates"])
    assert churn["connection_created"] == 1 and churn["channel_created"] == 4 and churn["channel_closed"] == 0
    assert churn["queue_created"] == churn["queue_declared"] == 2 and churn["queue_deleted"] == 0
    vhost = stats.get("/vhosts/%2F")
    assert (vhost["messages"], vhost["messages_unacknowledged"]) == (9, 4) and "rate" in vhost["messages_details"]


WINDOW = "msg_rates_age=60&msg_rates_incr=5&lengths_age=60&lengths_incr=5"


def test_values_of_the_past(stats):
    stats.get(f"/queues/%2F/q?{WINDOW}")
    before = time.time() * 1000
    queue = stats.get(f"/queues/%2F/q?{WINDOW}")
    for details, last in ((queue["messages_details"], 9), (queue["message_stats"]["publish_details"], 11)):
        samples = details["samples"]
        assert len(samples) == 13 and all(s["sample"] == last for s in samples)
        times = [s["timestamp"] for s in samples]
        assert all(t % 5000 == 0 for t in times) and [a - b for a, b in zip(times, times[1:])] == [5000] * 12
        assert before - 5001 <= times[0] <= time.time() * 1000
        assert details["avg"] == last and details["avg_rate"] == 0
    assert "samples" not in stats.get("/queues/%2F/q")["messages_details"]
    assert "samples" not in stats.get("/queues/%2F/q?lengths_age=60")["messages_details"]
    assert "samples" not in stats.get("/queues/%2F/q?lengths_age=x&lengths_incr=5")["messages_details"]
    most = stats.get("/queues/%2F/q?lengths_age=999999999&lengths_incr=1")["messages_details"]["samples"]
    assert len(most) == 1000
    # It began with nothing: the broker is younger than an hour.
    stats.get("/overview?msg_rates_age=3600&msg_rates_incr=60")
    publish = stats.get("/overview?msg_rates_age=3600&msg_rates_incr=60")["message_stats"]["publish_details"]
    assert publish["samples"][-1]["sample"] == 0 and len(publish["samples"]) == 61


def test_a_rate(stats):
    """Some messages between two looks that are an interval apart."""
    def rate():
        return stats.get("/queues/%2F/idle")["message_stats"]["publish_details"]["rate"]

    rate()
    for _ in range(5):
        assert stats.publish("idle").json == {"routed": True}
    support.wait_until(lambda: rate() > 0, 60, "the rate to be known")
    support.wait_until(lambda: rate() == 0, 60, "it to be nothing again")


def test_node(stats):
    (node,) = stats.get("/nodes")
    for key in ("mem_used", "fd_used", "sockets_used", "proc_used", "disk_free", "io_sync_count", "gc_num", "connection_created", "queue_declared"):
        assert isinstance(node[key], int) and "rate" in node[key + "_details"], key
    assert node["uptime"] > 0 and isinstance(node["os_pid"], str) and node["run_queue"] == 0
    assert {m["name"] for m in node["auth_mechanisms"]} >= {"PLAIN", "AMQPLAIN"} and node["enabled_plugins"]
    name = node["name"]
    memory = stats.get(f"/nodes/{name}/memory")["memory"]
    assert memory["strategy"] == "rss" and memory["total"]["rss"] > 0 and memory["binary"] > 0
    assert stats.get(f"/nodes/{name}/memory/relative")["memory"]["total"] == 100
    assert stats.get(f"/nodes/{name}?memory=true")["memory"].keys() == memory.keys()
    assert stats.ask("GET", "/nodes/none/memory").status == 404


def test_reset(world, stats):
    assert stats.delete("/reset").status == 204 and stats.delete("/reset/none").status == 404
    assert stats.get("/queues/%2F/q")["message_stats"]["publish"] == 11


def test_without_rates():
    with support.new(kind="sluice", config={"management.rates_mode": "none"}) as broker:
        api = Api(broker)
        assert api.put("/queues/%2F/q", {}).status == 201
        assert api.publish("q").json == {"routed": True}
        queue = api.get("/queues/%2F/q")
        assert "message_stats" not in queue and "messages_details" not in queue and queue["messages"] == 1
        overview = api.get("/overview")
        assert overview["rates_mode"] == "none" and "message_stats" not in overview and overview["queue_totals"] == {
            "messages": 1, "messages_ready": 1, "messages_unacknowledged": 0}
        api.close()


@pytest.mark.parametrize("settings, query, totals", [({}, "?disable_stats=true", False), ({}, "?disable_stats=true&enable_queue_totals=true", True),
                                                     ({"management.disable_stats": "true"}, "", False),
                                                     ({"management.disable_stats": "true", "management.enable_queue_totals": "true"}, "", True)])
def test_without_statistics(settings, query, totals):
    with support.new(kind="sluice", config=settings) as broker:
        api = Api(broker)
        assert api.put("/queues/%2F/q", {}).status == 201
        (queue,) = api.get("/queues" + query)
        basic = {"name", "vhost", "type", "durable", "auto_delete", "exclusive", "arguments", "node", "state"}
        assert queue.keys() == (basic | {"messages", "messages_ready", "messages_unacknowledged"} if totals else basic)
        connection = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port))
        assert api.get("/connections" + query)[0].keys() == {"name", "vhost", "user", "node"}
        connection.close()
        api.close()
