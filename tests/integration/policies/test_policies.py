"""Policies and parameters as operators see them. @spec amqp-semantics 18.1, management-api 4, operations 2.5"""

import pika
from support import broker as support


def queue(admin, name, vhost="/"):
    status, body = admin.http("GET", "queues", vhost, name)
    assert status == 200
    return body["policy"], body["operator_policy"], body["effective_policy_definition"]


def test_a_policy_applies_to_queues_that_exist_and_that_come(admin, channel):
    channel.queue_declare("a1", durable=True)
    done = admin.ctl("set_policy", "p", "^a", '{"max-length":10,"message-ttl":5000}', "--apply-to", "queues",
                     "--priority", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    channel.queue_declare("a2")
    channel.queue_declare("b")
    assert queue(admin, "a1") == ("p", None, {"max-length": 10, "message-ttl": 5000})
    assert queue(admin, "a2")[0] == "p"
    assert queue(admin, "b") == (None, None, {})
    assert admin.rows("list_policies") == [["/", "p", "^a", "queues", '{"max-length":10,"message-ttl":5000}', "3"]]

    assert admin.ctl("set_operator_policy", "cap", "", '{"max-length":7}').returncode == 0
    assert queue(admin, "a1") == ("p", "cap", {"max-length": 7, "message-ttl": 5000})
    assert admin.rows("list_queues", "name", "policy", "operator_policy", "effective_policy_definition")[0] == [
        "a1", "p", "cap", '{"max-length":7,"message-ttl":5000}']
    assert admin.rows("list_operator_policies") == [["/", "cap", "", "all", '{"max-length":7}', "0"]]

    assert admin.ctl("clear_policy", "p").returncode == 0
    assert admin.ctl("clear_operator_policy", "cap").returncode == 0
    assert queue(admin, "a1") == (None, None, {})
    again = admin.ctl("clear_policy", "p")
    assert (again.returncode, again.stderr) == (69, "Error:\nParameter does not exist\n")


def test_the_alternate_exchange_of_a_policy_and_that_an_argument_wins(admin, channel):
    for name, kind in (("caught", "fanout"), ("by-argument", "fanout"), ("x", "direct")):
        channel.exchange_declare(name, kind)
    channel.exchange_declare("y", "direct", arguments={"alternate-exchange": "by-argument"})
    for name in ("caught", "by-argument"):
        channel.queue_declare(name)
        channel.queue_bind(name, name)
    channel.confirm_delivery()
    assert admin.ctl("set_policy", "ae", "^[xy]$", '{"alternate-exchange":"caught"}').returncode == 0
    channel.basic_publish("x", "nowhere", b"1", mandatory=True)
    channel.basic_publish("y", "nowhere", b"2", mandatory=True)
    assert channel.basic_get("caught", auto_ack=True)[2] == b"1"
    assert channel.basic_get("by-argument", auto_ack=True)[2] == b"2"
    assert admin.http("GET", "exchanges", "/", "x")[1]["policy"] == "ae"
    assert ["x", "ae"] in admin.rows("list_exchanges", "name", "policy")
    assert admin.ctl("clear_policy", "ae").returncode == 0
    try:
        channel.basic_publish("x", "nowhere", b"3", mandatory=True)
        raise AssertionError("the message had a way")
    except pika.exceptions.UnroutableError:
        pass


def test_what_is_refused_says_why(admin):
    done = admin.ctl("set_policy", "p", "^a", '{"max-lengthx":10}')
    assert done.returncode == 69
    assert done.stderr == ('Error:\nValidation failed\n\n[{<<"max-lengthx">>,10}] are not recognised policy '
                           'settings\n\n')
    assert admin.ctl("set_policy", "p", "^a", "{bad").returncode == 69
    assert admin.ctl("set_policy", "p", "^a", "{}", "--priority", "x").returncode == 64
    assert admin.ctl("-p", "nosuch", "set_policy", "p", "^a", '{"max-length":1}').returncode == 65
    assert admin.ctl("set_parameter", "shovel", "s", "{}").stderr == (
        "Error:\nValidation failed\n\ncomponent shovel not found\n\n")
    path = ("policies", "/", "p")
    bad = "bad_request"
    assert admin.http("PUT", *path, body={}) == (
        400, {"error": bad, "reason": "[{key_missing,pattern},{key_missing,definition}]"})
    assert admin.http("PUT", *path, body=[]) == (400, {"error": bad, "reason": "not_json"})
    assert admin.http("PUT", *path, raw=b"{")[0] == 400
    assert admin.http("PUT", "policies", "nosuch", "p", body={"pattern": "a", "definition": {"max-length": 1}}) == (
        404, {"error": "not_found", "reason": "vhost_not_found"})
    assert admin.http("PUT", "parameters", "policy", "/", "p", body={"value": {}}) == (
        400, {"error": bad, "reason": "policies may not be set using this method"})
    assert admin.http("GET", *path)[0] == 404
    assert admin.http("DELETE", *path)[0] == 404
    assert admin.definitions()["policies"] == []


def test_statuses_and_bodies_over_http(admin):
    body = {"pattern": "^a", "definition": {"max-length": 5}, "name": "p", "vhost": "/"}
    want = {"vhost": "/", "name": "p", "pattern": "^a", "apply-to": "all", "definition": {"max-length": 5},
            "priority": 0}
    for kind in ("policies", "operator-policies"):
        assert admin.http("PUT", kind, "/", "p", body=body) == (201, None)
        assert admin.http("PUT", kind, "/", "p", body=body) == (204, None)
        assert admin.http("GET", kind) == admin.http("GET", kind, "/") == (200, [want])
        assert admin.http("GET", kind, "/", "p") == (200, want)
    assert admin.http("GET", "parameters") == (200, [
        {"value": {k: want[k] for k in ("pattern", "definition", "priority", "apply-to")}, "vhost": "/",
         "component": "operator_policy", "name": "p"}])
    assert admin.http("GET", "parameters", "nosuch") == (200, [])
    for kind in ("policies", "operator-policies"):
        assert admin.http("DELETE", kind, "/", "p") == (204, None)
        assert admin.http("GET", kind) == (200, [])


def test_parameters_and_global_parameters(admin):
    assert admin.ctl("set_parameter", "vhost-limits", "limits", '{"max-queues":5}').returncode == 0
    assert admin.rows("list_parameters") == [["vhost-limits", "limits", '{"max-queues":5}']]
    assert admin.http("PUT", "parameters", "vhost-limits", "/", "limits", body={"value": {"max-queues": "x"}})[0] == 400
    assert admin.ctl("clear_parameter", "vhost-limits", "limits").returncode == 0
    assert admin.rows("list_parameters") == []
    assert admin.ctl("set_global_parameter", "g", '{"a":[1,"x",null]}').returncode == 0
    assert ["g", '{"a":[1,"x",null]}'] in admin.rows("list_global_parameters")  # beside internal_cluster_id
    assert admin.http("PUT", "global-parameters", "g", body={"value": 5}) == (204, None)
    assert admin.http("GET", "global-parameters", "g") == (200, {"name": "g", "value": 5})
    assert admin.ctl("clear_global_parameter", "g").returncode == 0
    assert admin.ctl("clear_global_parameter", "g").returncode == 69


def test_a_restart_and_a_kill_keep_them(admin, broker, channel):
    channel.queue_declare("a", durable=True)
    assert admin.ctl("set_policy", "p", "^a", '{"max-length":5}').returncode == 0
    channel.connection.close()
    for clean in (True, False):
        if not clean:
            assert admin.ctl("set_operator_policy", "o", "^a", '{"max-length":4}').returncode == 0
        broker.restart(clean=clean)
        assert queue(admin, "a")[0] == "p"
    assert queue(admin, "a") == ("p", "o", {"max-length": 4})


def test_a_pattern_that_explodes_does_not_hold_up_the_broker(admin, broker, channel):
    channel.queue_declare("a" * 60 + "!")
    assert admin.ctl("set_policy", "bomb", "^(a+)+$", '{"max-length":1}').returncode == 0
    assert queue(admin, "a" * 60 + "!")[0] is None
    channel.queue_declare("b" + "a" * 60)
    broker.wait_log("needs more than")
