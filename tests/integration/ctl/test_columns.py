"""Every column of every list that the specification names, each against a state made for it. @spec operations 2.1, 2.5"""

import json
import re
import threading
import time

import pika
import pytest
from support import broker as support

OLD, NEW = 1600000000, 1700000000
PID = re.compile(r"<sluice@[^.>]+\.\d+\.\d+\.0>")

QUEUES = """name vhost durable auto_delete arguments policy operator_policy effective_policy_definition pid owner_pid exclusive
    exclusive_consumer_pid exclusive_consumer_tag messages_ready messages_unacknowledged messages messages_ready_ram
    messages_unacknowledged_ram messages_ram messages_persistent message_bytes message_bytes_ready
    message_bytes_unacknowledged message_bytes_ram message_bytes_persistent head_message_timestamp disk_reads disk_writes
    consumers consumer_utilisation consumer_capacity memory state type leader members online slave_pids
    synchronised_slave_pids node publish_rate deliver_rate ack_rate idle_since""".split()
EXCHANGES = "name type durable auto_delete internal arguments policy".split()
BINDINGS = "source_name source_kind destination_name destination_kind routing_key arguments".split()
CONNECTIONS = """pid name port host peer_port peer_host ssl ssl_protocol ssl_key_exchange ssl_cipher ssl_hash
    peer_cert_subject peer_cert_issuer peer_cert_validity state channels protocol auth_mechanism user vhost timeout
    frame_max channel_max client_properties recv_oct recv_cnt send_oct send_cnt send_pend connected_at""".split()
CHANNELS = """pid connection name number user vhost transactional confirm consumer_count messages_unacknowledged
    messages_uncommitted acks_uncommitted messages_unconfirmed prefetch_count global_prefetch_count""".split()
CONSUMERS = """queue_name channel_pid consumer_tag ack_required prefetch_count active arguments activity_status
    consumer_timeout""".split()


def good(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed(ctl, *words, alias=False):
    """The rows as objects."""
    return json.loads(good(ctl.run("-q", *words, "--formatter", "json", alias=alias)))


class State:
    """What the columns show."""

    def __init__(self, broker, ctl):
        self.broker = broker
        self.began_ms = time.time() * 1000
        self.connection = self.connect("state")
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        good(ctl.run("add_vhost", "other"))
        good(ctl.run("set_permissions", "-p", "other", "guest", ".*", ".*", ".*"))
        good(ctl.run("set_policy", "short", "^limited$", '{"max-length":1000}'))
        good(ctl.run("set_policy", "alternate", "^ex$", '{"alternate-exchange":"amq.fanout"}', "--apply-to", "exchanges"))
        good(ctl.run("set_operator_policy", "shorter", "^limited$", '{"max-length":100,"expires":3600000}'))
        self.queues()
        self.clients()

    def connect(self, name, vhost="/"):
        return pika.BlockingConnection(pika.ConnectionParameters(
            self.broker.host, self.broker.port, vhost, heartbeat=0, client_properties={"connection_name": name}))

    def publish(self, queue, body, mode=2, timestamp=None, priority=None):
        self.channel.basic_publish("", queue, body, pika.BasicProperties(
            delivery_mode=mode, timestamp=timestamp, priority=priority))

    def queues(self):
        ch = self.channel
        ch.queue_declare("limited", durable=True)
        ch.queue_declare("mixed", durable=True)
        ch.queue_declare("quorum", durable=True, arguments={"x-queue-type": "quorum"})
        ch.queue_declare("own", exclusive=True)
        ch.queue_declare("passing", auto_delete=True)
        ch.queue_declare("single", durable=True, arguments={"x-single-active-consumer": True, "x-consumer-timeout": 90000})
        ch.queue_declare("behind", durable=True)
        self.publish("mixed", b"12345", timestamp=OLD)
        self.publish("mixed", b"123", mode=1, timestamp=NEW)
        self.publish("mixed", b"1")
        self.publish("quorum", b"q")
        self.publish("own", b"persistent, but the queue is not durable")
        ch.exchange_declare("ex", "topic", durable=True, auto_delete=False, internal=True, arguments={"a": 1})
        ch.queue_bind("mixed", "ex", "a.*", {"x": 5})
        ch.exchange_bind("amq.fanout", "ex", "to")

    def clients(self):
        self.consumer = self.connection.channel()
        self.consumer.basic_qos(prefetch_count=1)
        got = []
        self.consumer.basic_consume("mixed", lambda *a: got.append(a), consumer_tag="holds", arguments={"why": "test"})
        self.consumer.basic_consume("passing", print, consumer_tag="alone", exclusive=True, auto_ack=True)
        self.consumer.basic_consume("single", print, consumer_tag="first")
        self.consumer.basic_consume("single", print, consumer_tag="second", arguments={"x-consumer-timeout": 60000})
        self.consumer.basic_qos(prefetch_count=7, global_qos=True)
        self.transaction = self.connection.channel()
        self.transaction.tx_select()
        self.transaction.basic_get("quorum")
        for _ in range(3):
            self.transaction.basic_publish("", "quorum", b"later")
        self.transaction.basic_ack(1)
        support.wait_until(lambda: self.connection.process_data_events() or got, 20, "a delivery")
        # The answers of these come behind everything above.
        self.transaction.queue_declare("quorum", passive=True)
        self.consumer.queue_declare("mixed", passive=True)


@pytest.fixture(scope="module")
def state(broker, ctl):
    made = State(broker, ctl)
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def queues(state, ctl):
    rows = listed(ctl, "list_queues", *QUEUES)
    assert [list(row) for row in rows] == [QUEUES] * len(rows)
    return {row["name"]: row for row in rows}


def check(row, want):
    assert {column: row[column] for column in want} == want


def test_queue_is_named_and_described(queues, state):
    assert set(queues) == {"limited", "mixed", "quorum", "own", "passing", "single", "behind"}
    check(queues["single"], {
        "vhost": "/", "durable": True, "auto_delete": False, "exclusive": False, "state": "running", "type": "classic",
        "arguments": {"x-single-active-consumer": True, "x-consumer-timeout": 90000}})
    check(queues["passing"], {"durable": False, "auto_delete": True, "consumers": 1, "arguments": {}})
    assert all(re.fullmatch(r"sluice@[^.>]+", row["node"]) for row in queues.values())
    assert all(row["memory"] > 0 for row in queues.values())


def test_queue_has_an_identity_of_its_own(queues):
    pids = [row["pid"] for row in queues.values()]
    assert len(set(pids)) == len(pids) and all(PID.fullmatch(pid) for pid in pids)


def test_queue_policies(queues):
    check(queues["limited"], {"policy": "short", "operator_policy": "shorter",
                              "effective_policy_definition": {"max-length": 100, "expires": 3600000}})
    check(queues["mixed"], {"policy": None, "operator_policy": None, "effective_policy_definition": {}})


def test_queue_owners(queues, state, ctl):
    (connection,) = listed(ctl, "list_connections", "pid", "--filter", "client_properties~state")
    channels = {c["number"]: c["pid"] for c in listed(ctl, "list_channels", "number", "pid")}
    check(queues["own"], {"exclusive": True, "owner_pid": connection["pid"]})
    check(queues["passing"], {"exclusive_consumer_pid": channels[2], "exclusive_consumer_tag": "alone"})
    check(queues["mixed"], {"exclusive_consumer_pid": None, "exclusive_consumer_tag": None, "owner_pid": None})


def test_queue_counts_and_bytes(queues):
    check(queues["mixed"], {
        "messages": 3, "messages_ready": 2, "messages_unacknowledged": 1, "messages_ram": 3, "messages_ready_ram": 2,
        "messages_unacknowledged_ram": 1, "messages_persistent": 2, "message_bytes": 9, "message_bytes_ready": 4,
        "message_bytes_unacknowledged": 5, "message_bytes_ram": 9, "message_bytes_persistent": 6, "consumers": 1})


def test_queue_head_timestamp(queues):
    assert queues["mixed"]["head_message_timestamp"] == OLD, "of the one that its consumer holds"
    assert queues["quorum"]["head_message_timestamp"] is None and queues["behind"]["head_message_timestamp"] is None


def test_queue_disk(queues):
    check(queues["mixed"], {"disk_writes": 2, "disk_reads": 0})
    check(queues["behind"], {"disk_writes": 0, "disk_reads": 0})
    check(queues["own"], {"messages": 1, "messages_persistent": 0, "message_bytes_persistent": 0, "disk_writes": 0})


def test_queue_capacity(queues, state, ctl):
    assert queues["passing"]["consumer_capacity"] > 0.99, "nothing ever waited for its consumer"
    assert queues["limited"]["consumer_capacity"] == 0, "it has none"
    assert all(row["consumer_utilisation"] == row["consumer_capacity"] for row in queues.values())

    def mixed():
        (row,) = listed(ctl, "list_queues", "consumer_capacity", "consumer_utilisation", "--filter", "name=mixed")
        assert row["consumer_capacity"] == row["consumer_utilisation"]
        return row["consumer_capacity"]

    # Its consumer holds what it may, and messages wait: each second halves what it was. Nothing else changes it.
    support.wait_until(lambda: mixed() < 0.2, 60, "the capacity to fall")
    ordered = [row["consumer_capacity"] for row in listed(ctl, "list_queues", "consumer_capacity", "--sort", "consumer_capacity")]
    assert ordered == sorted(ordered) and 0 < ordered[-2] <= ordered[-1], "fractions too"


def test_queue_replicas(queues):
    node = queues["quorum"]["node"]
    check(queues["quorum"], {"type": "quorum", "leader": node, "members": [node], "online": [node]})
    check(queues["mixed"], {"leader": None, "members": None, "online": None})
    for row in queues.values():
        check(row, {"slave_pids": None, "synchronised_slave_pids": None})


def test_queue_is_idle_since(queues, state, ctl):
    def idle():
        (row,) = listed(ctl, "list_queues", "idle_since", "--filter", "name=behind")
        return row["idle_since"]

    text = support.wait_until(idle, 60, "the queue to be idle")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", text)
    state.publish("behind", b"")
    support.wait_until(lambda: (idle() or text) > text, 60, "idle since a later time")
    state.channel.queue_purge("behind")


def test_queue_rates(state, ctl):
    connection = state.connect("busy")
    channel = connection.channel()
    channel.queue_declare("busy", auto_delete=True)
    channel.basic_consume("busy", lambda ch, method, *rest: ch.basic_ack(method.delivery_tag))
    end = threading.Event()

    def work():
        while not end.is_set():
            channel.basic_publish("", "busy", b"m")
            connection.process_data_events(0)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        rates = ("publish_rate", "deliver_rate", "ack_rate")

        def busy():
            rows = {row["name"]: row for row in listed(ctl, "list_queues", "name", *rates)}
            assert all(list(row) == ["name", *rates] for row in rows.values()), "the identity is for our own use"
            assert all(rows["mixed"][rate] == 0 for rate in rates), "nothing happened, though it has had messages"
            return all(rows["busy"][rate] > 0 for rate in rates)

        def names():
            return [row["name"] for row in listed(ctl, "list_queues", "name", "--filter", "ack_rate>0", "--sort", "publish_rate")]

        # Each look is one second long; on a machine that does something else in that second, another one shows it.
        support.wait_until(busy, 60, "rates above zero")
        support.wait_until(lambda: names() == ["busy"], 60, "the filter to find it")
    finally:
        end.set()
        worker.join()
        connection.close()


def test_what_the_store_was_asked_for(ctl, tmp_path):
    """A start later nothing is in memory: there is no head to look at, until somebody reads."""
    with support.new(kind="sluice") as broker:
        tool = type(ctl)(tmp_path, broker.admin)

        def columns():
            (row,) = listed(tool, "list_queues", "messages", "head_message_timestamp", "disk_reads", "disk_writes",
                            "messages_ram", "message_bytes_ram")
            return list(row.values())

        def channel():
            return pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port)).channel()

        ch = channel()
        ch.confirm_delivery()
        ch.queue_declare("q", durable=True)
        for timestamp in (OLD, NEW, NEW):
            ch.basic_publish("", "q", b"m", pika.BasicProperties(delivery_mode=2, timestamp=timestamp))
        assert columns() == [3, OLD, 0, 3, 3, 3]
        broker.restart()
        assert columns() == [3, None, 0, 0, 0, 0]
        ch = channel()
        assert ch.basic_get("q", auto_ack=True)[2] == b"m"
        assert columns() == [2, NEW, 3, 0, 2, 2]


def test_exchanges(state, ctl):
    rows = {row["name"]: row for row in listed(ctl, "list_exchanges", *EXCHANGES)}
    assert rows["ex"] == {"name": "ex", "type": "topic", "durable": True, "auto_delete": False, "internal": True,
                          "arguments": {"a": 1}, "policy": "alternate"}
    assert rows[""]["type"] == "direct" and rows["amq.topic"]["policy"] is None


def test_bindings(state, ctl):
    rows = listed(ctl, "list_bindings", *BINDINGS)
    assert {"source_name": "ex", "source_kind": "exchange", "destination_name": "mixed", "destination_kind": "queue",
            "routing_key": "a.*", "arguments": {"x": 5}} in rows
    assert ("amq.fanout", "exchange") in {(row["destination_name"], row["destination_kind"]) for row in rows}


def test_connections(state, ctl):
    """TLS has columns of its own: integration/tls has their test."""
    (row,) = listed(ctl, "list_connections", *CONNECTIONS, "--filter", "client_properties~state")
    assert list(row) == CONNECTIONS
    sockname, peername = state.connection._impl._transport._sock.getsockname(), (state.broker.host, state.broker.port)
    check(row, {
        "name": f"{sockname[0]}:{sockname[1]} -> {peername[0]}:{peername[1]}", "host": peername[0], "port": peername[1],
        "peer_host": sockname[0], "peer_port": sockname[1], "ssl": False, "state": "running", "channels": 3,
        "protocol": "{0,9,1}", "auth_mechanism": "PLAIN", "user": "guest", "vhost": "/", "timeout": 0, "frame_max": 131072,
        "send_pend": 0})
    assert all(row[c] == "" for c in CONNECTIONS if c.startswith(("ssl_", "peer_cert")))
    assert PID.fullmatch(row["pid"]) and row["client_properties"]["connection_name"] == "state"
    assert 0 < row["channel_max"] <= 65535
    assert state.began_ms - 1000 <= row["connected_at"] <= time.time() * 1000 + 1000
    assert row["recv_oct"] > row["recv_cnt"] > 20 and row["send_oct"] > row["send_cnt"] > 20


def test_connections_as_rabbitmqctl_writes_them(state, ctl):
    """Recorded from rabbitmqctl 3.10.8: Erlang's tuples are lists of numbers in JSON, and texts everywhere else."""
    words = ["list_connections", "host", "peer_host", "protocol", "ssl", "ssl_hash"]
    rows = listed(ctl, *words, alias=True)
    assert rows[0] == {"host": [127, 0, 0, 1], "peer_host": [127, 0, 0, 1], "protocol": [0, 9, 1], "ssl": False, "ssl_hash": ""}
    text = good(ctl.run("-s", *words, alias=True)).splitlines()
    assert text[0] == "127.0.0.1\t127.0.0.1\t{0,9,1}\tfalse\t"
    assert listed(ctl, *words)[0]["peer_host"] == "127.0.0.1"


def test_channels(state, ctl):
    rows = {row["number"]: row for row in listed(ctl, "list_channels", *CHANNELS, "--filter", "user=guest")
            if row["number"] < 4}
    (connection,) = listed(ctl, "list_connections", "pid", "name", "--filter", "client_properties~state")
    rows = {n: row for n, row in rows.items() if row["connection"] == connection["pid"]}
    assert [list(row) for row in rows.values()] == [CHANNELS] * 3
    for number, row in rows.items():
        check(row, {"name": f"{connection['name']} ({number})", "user": "guest", "vhost": "/"})
        assert PID.fullmatch(row["pid"])
    check(rows[1], {"confirm": True, "transactional": False, "messages_unconfirmed": 0, "consumer_count": 0})
    check(rows[2], {"consumer_count": 4, "messages_unacknowledged": 1, "prefetch_count": 1, "global_prefetch_count": 7,
                    "confirm": False})
    check(rows[3], {"transactional": True, "messages_uncommitted": 3, "acks_uncommitted": 1, "messages_unacknowledged": 0})


def test_consumers(state, ctl):
    rows = {row["consumer_tag"]: row for row in listed(ctl, "list_consumers", *CONSUMERS)}
    channels = {c["number"]: c["pid"] for c in listed(ctl, "list_channels", "number", "pid")}
    assert rows["holds"] == {
        "queue_name": "mixed", "channel_pid": channels[2], "consumer_tag": "holds", "ack_required": True, "prefetch_count": 1,
        "active": True, "arguments": {"why": "test"}, "activity_status": "up",
        "consumer_timeout": 0}
    check(rows["alone"], {"ack_required": False, "consumer_timeout": 0})
    check(rows["first"], {"active": True, "activity_status": "single_active", "consumer_timeout": 90000})
    check(rows["second"], {"active": False, "activity_status": "waiting", "consumer_timeout": 60000})


def test_vhosts(state, ctl):
    good(ctl.run("update_vhost_metadata", "other", "--description", "another", "--tags", "x,y", "--default-queue-type", "quorum"))
    good(ctl.run("trace_on", "-p", "other"))
    columns = "name tracing description tags default_queue_type cluster_state".split()
    rows = {row["name"]: row for row in listed(ctl, "list_vhosts", *columns)}
    node = next(iter(rows["other"]["cluster_state"]))
    assert rows["other"] == {"name": "other", "tracing": True, "description": "another", "tags": ["x", "y"],
                             "default_queue_type": "quorum", "cluster_state": {node: "running"}}
    good(ctl.run("trace_off", "-p", "other"))
    assert rows["/"]["tracing"] is False
    as_rabbit = good(ctl.run("-s", "list_vhosts", "cluster_state", alias=True)).splitlines()
    assert as_rabbit == [f"[{{{node}, running}}]"] * 2
    assert listed(ctl, "list_vhosts", "cluster_state", alias=True)[0] == {"cluster_state": {node: "running"}}


def test_columns_are_named_by_arguments_and_option(state, ctl):
    text = good(ctl.run("list_queues", "name", "--columns", "messages,durable,name", "--filter", "name=mixed"))
    assert text == "name\tmessages\tdurable\nmixed\t3\ttrue\n"
    assert good(ctl.run("-s", "list_users", "--columns", "user")) == "guest\n"


def test_filters(state, ctl):
    def names(*words):
        return {row["name"] for row in listed(ctl, "list_queues", "name", *words)}

    assert names("--filter", "messages>=3", "--filter", "durable=true") == {"mixed"}
    assert names("--filter", "name~^(own|single)$") == {"own", "single"}
    assert names("--filter", "policy!=") == {"limited"}
    assert names("--filter", "arguments~quorum") == {"quorum"}
    assert names("--filter", "exclusive=true", "--filter", "durable=true") == set()
    assert [p["user"] for p in listed(ctl, "list_permissions", "--filter", "user!=guest")] == []
    assert listed(ctl, "list_connections", "user", "--filter", "peer_port=1") == []


def test_other_lists_have_an_order_too(state, ctl):
    good(ctl.run("add_user", "aaa", "pw"))
    good(ctl.run("add_user", "zzz", "pw"))
    ordered = [row["user"] for row in listed(ctl, "list_users", "--sort", "user", "--reverse")]
    assert ordered == ["zzz", "guest", "aaa"]
    assert [row["user"] for row in listed(ctl, "list_users", "--filter", "user~z", "--sort", "tags")] == ["zzz"]
    for user in ("aaa", "zzz"):
        good(ctl.run("delete_user", user))


def test_all_vhosts(state, ctl):
    connection = state.connect("elsewhere", "other")
    channel = connection.channel()
    channel.queue_declare("there", exclusive=True)
    channel.queue_bind("there", "amq.topic", "key")
    channel.basic_consume("there", print, consumer_tag="there")
    rows = listed(ctl, "list_queues", "--all-vhosts")
    assert {"vhost": "other", "name": "there", "messages": 0} in rows and {"vhost": "/", "name": "mixed", "messages": 3} in rows
    for command, column in (("list_exchanges", "name"), ("list_bindings", "destination_name"), ("list_consumers", "queue_name")):
        everything = listed(ctl, command, "vhost", column, "--all-vhosts")
        assert {row["vhost"] for row in everything} == {"/", "other"}, command
        assert {row["vhost"] for row in listed(ctl, command, "vhost", "-p", "other")} == {"other"}, command
    connection.close()


def test_which_nodes(state, ctl):
    everything = good(ctl.run("list_queues", "name"))
    for words in (["--online"], ["--local"], ["--offline", "--online"], ["--local", "--offline"]):
        assert good(ctl.run("list_queues", "name", *words)) == everything, words
    for words in (["--offline"], ["--unresponsive"]):
        assert good(ctl.run("list_queues", "name", *words)) == "", words


@pytest.mark.parametrize("words, text", [
    (("list_queues", "nosuch", "--filter", "other=1", "--sort", "third"), "Info key(s) nosuch,other,third are not supported"),
    (("list_consumers", "name"), "Info key(s) name are not supported"),
    (("list_users", "--sort", "nosuch"), "Info key(s) nosuch are not supported"),
    (("list_users", "--columns", "user,nosuch"), "Info key(s) nosuch are not supported"),
    (("list_queues", "--filter", "messages>many"), "compares with 'many', which is not a number"),
    (("list_queues", "--filter", "messages"), "is not a column, one of"),
    (("list_queues", "--filter", "name~("), "bad regular expression"),
    (("list_queues", *["--filter", "name=a"] * 17), "--filter : name=a"),
    (("list_connections", "--all-vhosts"), "--all-vhosts"),
    (("list_user_limits", "--user", "guest", "--sort", "user"), "there are no rows"),
])
def test_mistakes(ctl, words, text):
    done = ctl.run(*words)
    assert done.returncode == 64 and text in done.stderr and done.stdout == "", done.stderr


def test_every_column_is_in_the_help(ctl):
    for command, columns in (("list_queues", QUEUES), ("list_exchanges", EXCHANGES), ("list_bindings", BINDINGS),
                             ("list_connections", CONNECTIONS), ("list_channels", CHANNELS), ("list_consumers", CONSUMERS)):
        known = re.findall(r"^  (\w+) ", good(ctl.run("help", command)), re.MULTILINE)
        assert set(columns) <= set(known), command
        for before in ([], ["--sort"], ["--columns"], ["--filter"]):
            offered = set(good(ctl.run("__complete", command, *before, "")).split())
            assert set(columns) <= offered, (command, before)
