"""Definitions as a file: RabbitMQ's in, ours out, at boot. @spec management-api 6, operations 4.2"""

import copy
import json
import os
import subprocess

import pytest
from conftest import DATA, Admin
from support import broker as support

USERS = ("users", "permissions", "topic_permissions")


def lists(definitions, without=()):
    """The sections, each as a sorted list of texts."""
    return {k: sorted(json.dumps(i, sort_keys=True) for i in v) for k, v in definitions.items()
            if isinstance(v, list) and k not in without}


def load(name):
    return json.loads((DATA / name).read_text())


def test_a_file_of_rabbitmq_comes_out_as_it_went_in(admin, broker, tmp_path):
    done = admin.ctl("import_definitions", str(DATA / "rabbitmq-3.10.8.json"))
    assert (done.returncode, done.stderr) == (0, "")
    want = lists(load("rabbitmq-3.10.8.json"), USERS)
    assert lists(admin.definitions(), USERS) == want
    # Again: nothing more.
    assert admin.ctl("import_definitions", stdin=(DATA / "rabbitmq-3.10.8.json").read_text()).returncode == 0
    assert lists(admin.definitions(), USERS) == want
    # What sluicectl writes, an empty broker takes.
    out = tmp_path / "out.json"
    assert admin.ctl("export_definitions", str(out)).returncode == 0
    assert admin.ctl("export_definitions", "-").stdout == out.read_text()
    with support.new(kind="sluice") as second:
        other = Admin(second)
        assert other.ctl("import_definitions", str(out)).returncode == 0
        assert lists(other.definitions(), USERS) == want
    # What is durable survives a kill.
    broker.restart(clean=False)
    durable = copy.deepcopy(load("rabbitmq-3.10.8.json"))
    for section in ("queues", "exchanges"):
        durable[section] = [i for i in durable[section] if i["durable"]]
    durable["bindings"] = [i for i in durable["bindings"] if i["source"] != "soft"]
    assert lists(admin.definitions(), USERS) == lists(durable, USERS)


def test_the_policies_of_a_file_of_rabbitmq_apply(admin):
    assert admin.ctl("import_definitions", str(DATA / "rabbitmq-3.10.8.json")).returncode == 0
    assert admin.rows("-p", "orders", "list_queues", "name", "policy", "operator_policy") == [
        ["alpha", "ttl", "cap"], ["bravo", "mirror", "cap"], ["transient", "mirror", "cap"]]


def test_the_file_of_rabbitmqctl_with_lists_of_pairs(admin):
    assert admin.ctl("import_definitions", str(DATA / "rabbitmq-3.10.8-ctl.json")).returncode == 0
    assert admin.http("GET", "operator-policies", "/", "o1")[1]["definition"] == {"max-length": 5}


def test_one_vhost(admin):
    body = load("rabbitmq-3.10.8-vhost.json")
    assert admin.http("POST", "definitions", "nosuch", body=body)[0] == 400
    assert admin.http("POST", "definitions", "/", body=body) == (204, None)
    status, out = admin.http("GET", "definitions", "/")
    assert status == 200
    assert not any("vhost" in item for section in ("queues", "exchanges", "bindings") for item in out[section])
    for section in ("queues", "exchanges", "bindings"):
        assert lists(out)[section] == lists(body)[section]
    assert "users" not in out and "vhosts" not in out
    assert admin.http("GET", "definitions", "nosuch")[0] == 404


def test_a_wrong_file_changes_nothing(admin):
    before = admin.definitions()
    body = load("rabbitmq-3.10.8.json")
    body["bindings"][3]["arguments"] = {"x-match": "sometimes"}
    body["queues"][1]["arguments"] = {"x-queue-type": "nosuch"}
    status, answer = admin.http("POST", "definitions", body=body)
    assert status == 400
    lines = answer["reason"].split("\n")
    assert lines[0].startswith("queues[1] (queue 'bravo'): invalid arg 'x-queue-type' for queue 'bravo' in vhost 'orders'")
    assert lines[1].startswith("bindings[3] (binding of exchange 'heads'): ")
    assert admin.definitions() == before
    assert admin.http("POST", "definitions", raw=b"{\"queues\":")[0] == 400
    assert admin.http("POST", "definitions", raw=b"[]")[0] == 400
    done = admin.ctl("import_definitions", stdin="{nonsense")
    assert done.returncode == 65 and "line 1" in done.stderr
    assert admin.http("GET", "overview")[0] == 200


def test_loaded_at_boot_before_anybody_connects():
    with support.new(kind="sluice", config={"load_definitions": str(DATA / "rabbitmq-3.10.8.json")}) as running:
        admin = Admin(running)
        want = lists(load("rabbitmq-3.10.8.json"), USERS)
        assert lists(admin.definitions(), USERS) == want
        running.restart()
        assert lists(admin.definitions(), USERS) == want


def test_a_directory_in_order_of_names(tmp_path):
    for name, limit in (("20.json", 2), ("10.json", 1)):
        (tmp_path / name).write_text(json.dumps({"policies": [
            {"vhost": "/", "name": "p", "pattern": "", "definition": {"max-length": limit}}]}))
    (tmp_path / "ignored.txt").write_text("nonsense")
    with support.new(kind="sluice", config={"load_definitions": str(tmp_path)}) as running:
        assert Admin(running).http("GET", "policies", "/", "p")[1]["definition"] == {"max-length": 2}


@pytest.mark.parametrize("content, reason", [
    (None, "cannot open"),
    ("{nonsense", "this is not JSON, line 1"),
    ("[]", "must be a JSON object"),
    ('{"queues":[{"name":"q","vhost":"nosuch"}]}', "queues[0] (queue 'q'): its vhost 'nosuch'"),
])
def test_a_wrong_file_ends_the_start_with_78(tmp_path, content, reason):
    path = tmp_path / "boot.json"
    if content is not None:
        path.write_text(content)
    words = ["listeners.tcp.1=127.0.0.1:0", f"management.socket.path={tmp_path}/admin.sock", "allow_root=true",
             f"load_definitions={path}"]
    done = subprocess.run([os.environ["SLUICED"], "--data-dir", str(tmp_path / "data"),
                           *(w for word in words for w in ("--set", word))],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78, done.stderr
    assert str(path) in done.stderr
    assert reason in done.stderr
