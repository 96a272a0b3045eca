"""A change of users or permissions counts at once, for channels that are open and for clients that are logged in.
@spec amqp-semantics 6.3, 6.4; operations 5; management-api 2"""

import base64
import http.client
import json

import pika
import pytest
from test_auth import broker, connect, ctl, user  # noqa: F401


def publish(key="nowhere", exchange="", **properties):
    def call(channel):
        channel.basic_publish(exchange, key, b"m", pika.BasicProperties(**properties))
        channel.basic_qos(prefetch_count=1)  # answered only when the publish did not cost the channel
    return call


def definitions(write):
    return json.dumps({"permissions": [{"user": "{user}", "vhost": "/", "configure": ".*", "write": write, "read": ".*"}]})


# name, what takes the right away, what gives it back, a call that needs it
KINDS = [
    ("configure", ["set_permissions", "{user}", "^$", ".*", ".*"], ["set_permissions", "{user}", ".*", ".*", ".*"],
     lambda ch: ch.exchange_declare("changes", "fanout", auto_delete=True)),
    ("write", ["set_permissions", "{user}", ".*", "^$", ".*"], ["set_permissions", "{user}", ".*", ".*", ".*"], publish()),
    ("read", ["set_permissions", "{user}", ".*", ".*", "^$"], ["set_permissions", "{user}", ".*", ".*", ".*"],
     lambda ch: ch.basic_get("changes-q", auto_ack=True)),
    ("all", ["clear_permissions", "{user}"], ["set_permissions", "{user}", ".*", ".*", ".*"], publish()),
    ("globally", ["set_permissions", "{user}", ".*", "^$", ".*"], ["set_permissions_globally", "{user}", ".*", ".*", ".*"],
     publish()),
    ("topic-write", ["set_topic_permissions", "{user}", "amq.topic", "^a", ".*"],
     ["clear_topic_permissions", "{user}", "amq.topic"], publish("b.c", "amq.topic")),
    ("topic-read", ["set_topic_permissions", "{user}", "amq.topic", ".*", "^a"], ["clear_topic_permissions", "{user}"],
     lambda ch: ch.queue_bind("changes-q", "amq.topic", "b.c")),
    ("import", ["import_definitions", definitions("^$")], ["import_definitions", definitions(".*")], publish()),
]


def change(b, words, name):
    """Make it. What is tried after this has one try, so it counted at once."""
    words = [w.replace("{user}", name) for w in words]
    if words[0] == "import_definitions":
        ctl(b, words[0], stdin=words[1])
    else:
        ctl(b, *words)


@pytest.mark.parametrize("kind, take, give, call", KINDS, ids=[k[0] for k in KINDS])
def test_rights_of_an_open_channel(broker, kind, take, give, call):  # noqa: F811
    name = "open-" + kind
    user(broker, name)
    with connect(broker, "guest", "guest") as admin, connect(broker, name) as c:
        admin.channel().queue_declare("changes-q")
        channel, other = c.channel(), c.channel()
        call(channel)
        change(broker, take, name)
        for ch in (channel, other):  # one that has asked before, and one that has not
            with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
                call(ch)
            assert error.value.reply_code == 403 and f"refused for user '{name}'" in error.value.reply_text
        waiting = c.channel()
        change(broker, give, name)
        call(waiting)
        admin.channel().queue_delete("changes-q")


def test_a_deleted_user_is_out(broker):  # noqa: F811
    user(broker, "leaver")
    c = connect(broker, "leaver")
    ctl(broker, "delete_user", "leaver")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        c.process_data_events(60)
    assert error.value.reply_code == 320 and "user 'leaver' was deleted" in error.value.reply_text
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        connect(broker, "leaver")


def test_a_changed_password_is_asked_for_and_keeps_who_is_in(broker):  # noqa: F811
    user(broker, "changer")
    with connect(broker, "changer") as c:
        connect(broker, "changer").close()  # the pair is known now, and must not stay so
        ctl(broker, "change_password", "changer", "other")
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            connect(broker, "changer")
        connect(broker, "changer", "other").close()
        publish()(c.channel())
        ctl(broker, "clear_password", "changer")
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            connect(broker, "changer", "other")
        publish()(c.channel())


def test_tags_count_for_the_next_request(broker):  # noqa: F811
    user(broker, "tagged")
    host, port = broker.addresses["http"].rsplit(":", 1)
    api = http.client.HTTPConnection(host, int(port), timeout=30)
    headers = {"Authorization": "Basic " + base64.b64encode(b"tagged:pw").decode()}

    def status(path):
        api.request("GET", "/api/" + path, headers=headers)
        answer = api.getresponse()
        answer.read()
        return answer.status

    assert status("whoami") == 401
    for tags, want in ((["management"], (200, 401, 401)), (["monitoring"], (200, 200, 401)),
                       (["administrator"], (200, 200, 200)), ([], (401, 401, 401))):
        ctl(broker, "set_user_tags", "tagged", *tags)
        assert tuple(status(p) for p in ("whoami", "nodes", "users")) == want, tags
    api.close()


def test_the_impersonator_tag_of_an_open_channel(broker):  # noqa: F811
    user(broker, "actor")
    with connect(broker, "actor") as c:
        channel = c.channel()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
            publish(user_id="somebody")(channel)
        assert error.value.reply_code == 406
        channel = c.channel()
        ctl(broker, "set_user_tags", "actor", "impersonator")
        publish(user_id="somebody")(channel)
        # RabbitMQ knows the tags of the login only; here it is as with every other right.
        ctl(broker, "set_user_tags", "actor")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            publish(user_id="somebody")(channel)
