"""The limits that block publishers, set over HTTP and by sluicectl, and what a request gets while they are exceeded.

@spec management-api 11, operations 2
"""

import os
import subprocess

import pytest
from conftest import Api
from support import broker as support


@pytest.fixture(scope="module")
def own():
    with support.new(kind="sluice", config={"default_pass": "secret"}) as running:
        yield running


@pytest.fixture
def api(own):
    client = Api(own, "guest:secret")
    yield client
    client.close()


def ctl(own, *words):
    program = os.environ.get("SLUICECTL") or os.environ["SLUICED"].replace("broker/app/sluiced", "admin/ctl/sluicectl")
    return subprocess.run([program, "--socket", own.admin, *words], capture_output=True, text=True, timeout=60,
                          check=False)


def limits(api):
    return api.get("/sluice/alarms/limits")


def test_memory(api, own):
    assert api.put("/queues/%2F/q", {}).status == 201
    for value in ("0", 0, 0.0):
        assert api.put("/sluice/alarms/limits", {"vm_memory_high_watermark.relative": value}).status == 204
    assert limits(api)["mem_alarm"] is True
    assert api.get("/nodes")[0]["mem_alarm"] is True
    blocked = api.publish("q")
    assert (blocked.status, blocked.json["error"]) == (503, "unavailable")
    assert "low on memory" in blocked.json["reason"]
    assert api.ask("GET", "/health/checks/alarms").status == 503
    assert ctl(own, "set_vm_memory_high_watermark", "absolute", "8GiB").returncode == 0
    assert limits(api)["mem_limit"] == 8 << 30 and limits(api)["mem_alarm"] is False
    assert api.publish("q").json == {"routed": True}
    assert ctl(own, "set_vm_memory_high_watermark", "0.5").returncode == 0
    assert api.get("/nodes")[0]["mem_limit"] == limits(api)["mem_limit"] != 8 << 30


def test_disk(api, own):
    assert ctl(own, "set_disk_free_limit", "1000TB").returncode == 0
    assert limits(api)["disk_free_limit"] == 10 ** 15 and limits(api)["disk_free_alarm"] is True
    assert api.publish("q").status == 503
    assert ctl(own, "set_disk_free_limit", "mem_relative", "0.001").returncode == 0
    assert 0 < limits(api)["disk_free_limit"] < 10 ** 12
    assert ctl(own, "set_disk_free_limit", "1MB").returncode == 0
    assert limits(api)["disk_free_limit"] == 10 ** 6 and limits(api)["disk_free_alarm"] is False


def names(growers):
    return [g["name"] for g in growers]


def test_an_alarm_names_who_holds_most(api, own):
    """On disk what is persistent, in memory everything: the order differs."""
    for queue, count, mode in (("some", 3, 1), ("most", 9, 1), ("least", 1, 1), ("kept", 5, 2)):
        assert api.put(f"/queues/%2F/{queue}", {"durable": True}).status == 201
        for _ in range(count):
            assert api.publish(queue, "x" * 20000, properties={"delivery_mode": mode}).json == {"routed": True}
    assert "mem_alarm_biggest" not in api.get("/nodes")[0]
    assert api.put("/sluice/alarms/limits", {"vm_memory_high_watermark.relative": 0}).status == 204
    node = api.get("/nodes")[0]
    assert names(node["mem_alarm_biggest"]) == ["most", "kept", "some"] and "disk_free_alarm_biggest" not in node
    most = node["mem_alarm_biggest"][0]
    assert (most["type"], most["vhost"], most["messages"]) == ("queue", "/", 9) and most["bytes"] > 180000
    assert ctl(own, "set_disk_free_limit", "1000TB").returncode == 0
    assert names(api.get("/nodes/" + node["name"])["disk_free_alarm_biggest"]) == ["kept"]
    alarms = {a["resource"]: a for a in api.ask("GET", "/health/checks/alarms").json["alarms"]}
    assert names(alarms["memory"]["biggest"]) == ["most", "kept", "some"] and names(alarms["disk"]["biggest"]) == ["kept"]
    # Names of all vhosts are for who may monitor.
    assert api.put("/users/curious", {"password": "c", "tags": "management"}).status == 201
    curious = Api(own, "curious:c")
    assert ["biggest" in a for a in curious.ask("GET", "/health/checks/alarms").json["alarms"]] == [False, False]
    curious.close()
    for words in (["alarms"], ["status"]):
        text = ctl(own, *words).stdout
        assert "  queue 'most' in vhost '/' holds " in text and " in 9 messages\n" in text
        assert "  queue 'kept' in vhost '/' holds 100000 bytes in 5 messages\n" in text
        assert "purge" in text and "vm_memory_high_watermark" in text and "disk_free_limit" in text
    failed = ctl(own, "check_alarms")
    assert failed.returncode == 69 and "queue 'most'" in failed.stderr
    assert ctl(own, "set_disk_free_limit", "1MB").returncode == 0
    assert ctl(own, "set_vm_memory_high_watermark", "0.5").returncode == 0
    support.wait_until(lambda: own.log_text().count("resource limit alarm cleared") >= 2, 20, "the alarms' end")
    said = [line for line in own.log_text().splitlines() if "resource limit alarm set" in line and "'most'" in line]
    assert "Most is held by queue 'most' in vhost '/' (" in said[0] and "in 9 messages), queue 'kept'" in said[0]
    assert "consume from the queues or purge them" in said[0]
    said = [line for line in own.log_text().splitlines() if "disk resource limit alarm set" in line]
    assert "Most is held by queue 'kept' in vhost '/' (97.7 KiB in 5 messages)" in said[-1]


@pytest.mark.parametrize("body", [
    {}, {"other": 1}, {"vm_memory_high_watermark.relative": -1}, {"vm_memory_high_watermark.relative": "much"},
    {"vm_memory_high_watermark.absolute": "1 ell"}, {"disk_free_limit.absolute": None}, {"disk_free_limit.absolute": []},
    {"disk_free_limit.absolute": "1MB", "vm_memory_high_watermark.relative": 0.5}, b"[]"])
def test_bad_limit(api, body):
    before = limits(api)
    answer = api.put("/sluice/alarms/limits", body)
    assert (answer.status, answer.json["error"]) == (400, "bad_request") and answer.json["reason"]
    assert {k: limits(api)[k] for k in ("mem_limit", "disk_free_limit")} == {
        k: before[k] for k in ("mem_limit", "disk_free_limit")}


def test_bad_command(own):
    for words in (["set_disk_free_limit"], ["set_disk_free_limit", "of", "1"], ["set_vm_memory_high_watermark", "x", "1"]):
        assert ctl(own, *words).returncode == 64
    wrong = ctl(own, "set_disk_free_limit", "many")
    assert wrong.returncode != 0 and "many" in wrong.stderr


def test_environment(api, own):
    config = {entry["key"]: entry for entry in api.get("/sluice/config")}
    port = config["management.tcp.port"]
    assert (port["value"], port["default"], port["default_value"], port["differs"], port["reloadable"]) == ("0", False, "15672", True, False)
    assert port["source"].endswith("sluice.conf") and port["line"] > 0
    assert config["management.auth_realm"]["source"] is None and "line" not in config["management.auth_realm"]
    assert config["management.auth_realm"]["value"] == "RabbitMQ Management"
    assert config["management.auth_realm"]["default"] is True
    text = ctl(own, "environment").stdout
    assert "management.tcp.port = 0\n" in text and "# default" in text
    assert "secret" not in text and "secret" not in str(config)
