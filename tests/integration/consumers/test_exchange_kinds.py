"""The exchange kinds of RabbitMQ's plugins. @spec amqp-semantics 7.1, 8.5"""

import pika
import pytest

from conftest import closed_by, get_all


def queues(channel, exchange, name, keys):
    made = []
    for i, key in enumerate(keys):
        queue = f"{name}-{i}"
        channel.queue_declare(queue, exclusive=True)
        channel.queue_bind(queue, exchange, key)
        made.append(queue)
    return made


def counts(channel, made):
    return [channel.queue_declare(q, passive=True).method.message_count for q in made]


def test_consistent_hash_keeps_keys_together(channel, name):
    channel.exchange_declare(name, "x-consistent-hash", auto_delete=True)
    made = queues(channel, name, name, ["1", "1", "2"])
    channel.confirm_delivery()
    for i in range(600):
        channel.basic_publish(name, f"k{i % 60}", f"k{i % 60}".encode())
    got = [get_all(channel, q) for q in made]
    assert sum(map(len, got)) == 600
    assert sum(len(set(g)) for g in got) == 60  # no key in two queues
    assert all(g.count(k) == 10 for g in got for k in set(g))


def test_consistent_hash_by_header(channel, name):
    channel.exchange_declare(name, "x-consistent-hash", auto_delete=True, arguments={"hash-header": "customer"})
    made = queues(channel, name, name, ["1", "1"])
    channel.confirm_delivery()
    for i in range(200):
        properties = pika.BasicProperties(headers={"customer": f"c{i % 20}"})
        channel.basic_publish(name, f"key{i}", f"c{i % 20}".encode(), properties)
    got = [get_all(channel, q) for q in made]
    assert sum(len(set(g)) for g in got) == 20


@pytest.mark.parametrize(
    "kind, arguments, text",
    [
        (
            "x-consistent-hash",
            {"hash-header": "a", "hash-property": "message_id"},
            "hash-header and hash-property are mutually exclusive",
        ),
        ("x-consistent-hash", {"hash-property": "app_id"}, "Unsupported property: app_id"),
        (
            "x-recent-history",
            {"x-recent-history-length": 0},
            "Invalid argument 0, 'x-recent-history-length' must be a positive integer",
        ),
    ],
)
def test_declare_is_checked(connection, name, kind, arguments, text):
    code, got = closed_by(connection, lambda ch: ch.exchange_declare(name, kind, arguments=arguments))
    assert (code, got) == (406, "PRECONDITION_FAILED - " + text)


@pytest.mark.parametrize(
    "key, text",
    [
        ("0", "The binding key must be greater than 0"),
        ("many", 'The binding key must be an integer: <<"many">>'),
    ],
)
def test_weights_are_checked(connection, channel, name, key, text):
    channel.exchange_declare(name, "x-consistent-hash")
    channel.queue_declare(name, exclusive=True)
    code, got = closed_by(connection, lambda ch: ch.queue_bind(name, name, key))
    channel.exchange_delete(name)
    assert (code, got) == (406, "PRECONDITION_FAILED - " + text)


def test_random_throws_among_all_bindings(channel, name):
    channel.exchange_declare(name, "x-random", auto_delete=True)
    made = queues(channel, name, name, ["a", "a", "b"])
    channel.confirm_delivery()
    for _ in range(300):
        channel.basic_publish(name, "a", b"m")
    got = counts(channel, made)
    assert sum(got) == 300 and min(got) > 50


def test_modulus_hash_sends_to_one(channel, name):
    channel.exchange_declare(name, "x-modulus-hash", auto_delete=True)
    made = queues(channel, name, name, ["", "", ""])
    channel.confirm_delivery()
    for i in range(300):
        channel.basic_publish(name, f"k{i}", b"m")
    got = counts(channel, made)
    assert sum(got) == 300 and min(got) > 50


def test_recent_history_is_replayed(channel, name):
    channel.exchange_declare(name, "x-recent-history", auto_delete=True, arguments={"x-recent-history-length": 3})
    first = queues(channel, name, name + "-a", [""])[0]
    for i in range(5):
        channel.basic_publish(name, "key", str(i).encode())
    channel.basic_publish(
        name, "key", b"hidden", pika.BasicProperties(headers={"x-recent-history-no-store": True})
    )
    late = queues(channel, name, name + "-b", ["any"])[0]
    assert get_all(channel, late) == ["2", "3", "4"]
    assert get_all(channel, first) == ["0", "1", "2", "3", "4", "hidden"]
