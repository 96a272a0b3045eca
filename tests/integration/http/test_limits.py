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
    assert config["management.tcp.port"] == {"key": "management.tcp.port", "value": "0", "default": False}
    assert config["management.auth_realm"]["value"] == "RabbitMQ Management"
    assert config["management.auth_realm"]["default"] is True
    text = ctl(own, "environment").stdout
    assert "management.tcp.port = 0\n" in text and "# default" in text
    assert "secret" not in text and "secret" not in str(config)
