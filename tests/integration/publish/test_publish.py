"""CC and BCC headers and direct reply-to with pika. Also against RabbitMQ: BROKER=rabbitmq. @spec amqp-semantics 17"""

import sys
from pathlib import Path

import pika
import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from support import broker as support  # noqa: E402

REPLY_TO = "amq.rabbitmq.reply-to"


@pytest.fixture(scope="module")
def broker():
    with support.new() as started:
        yield started


@pytest.fixture
def connect(broker):
    opened = []

    def one():
        opened.append(pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, heartbeat=0)))
        return opened[-1].channel()
    yield one
    for connection in opened:
        if connection.is_open:
            connection.close()


def drain(channel, queue):
    got = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return got
        got.append((method.routing_key, properties.headers, body))


def queues(channel, *names):
    for name in names:
        channel.queue_declare(name, exclusive=True)


def test_cc_and_bcc_reach_further_queues_and_bcc_is_not_seen(connect):
    channel = connect()
    queues(channel, "one", "two", "three")
    channel.basic_publish("", "one", b"m", pika.BasicProperties(headers={"CC": ["two", "one"], "BCC": ["three"], "x": 1}))
    for name in ("one", "two", "three"):
        assert drain(channel, name) == [("one", {"CC": ["two", "one"], "x": 1}, b"m")]


def test_each_key_counts_at_each_exchange(connect):
    channel = connect()
    queues(channel, "one")
    channel.exchange_declare("first", "direct", auto_delete=True)
    channel.exchange_declare("second", "topic", auto_delete=True)
    channel.exchange_bind("second", "first", "a")
    channel.queue_bind("one", "second", "b.*")
    channel.basic_publish("first", "none", b"m", pika.BasicProperties(headers={"CC": ["a"], "BCC": ["b.c"]}))
    assert drain(channel, "one") == [("none", {"CC": ["a"]}, b"m")]


def test_a_returned_message_has_no_bcc(connect):
    channel = connect()
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError) as error:
        channel.basic_publish("", "nobody", b"m", pika.BasicProperties(headers={"BCC": ["nowhere"], "x": 1}), mandatory=True)
    assert error.value.messages[0].properties.headers == {"x": 1}


@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_a_header_that_is_no_array_is_refused(connect, name):
    channel = connect()
    channel.basic_publish("", "q", b"m", pika.BasicProperties(headers={name: "two"}))
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        channel.queue_declare("", exclusive=True)
    assert (error.value.reply_code, error.value.reply_text) == (
        406, f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{name}",longstr}}')


def ask(channel, queue, answers):
    """Consume replies and send a question."""
    channel.basic_consume(REPLY_TO, lambda _c, method, _p, body: answers.append((method.routing_key, body)), auto_ack=True)
    channel.basic_publish("", queue, b"question", pika.BasicProperties(reply_to=REPLY_TO))


def take_question(channel, queue):
    got = []

    def check():
        method, properties, _ = channel.basic_get(queue, auto_ack=True)
        if method is not None:
            got.append(properties.reply_to)
        return got
    support.wait_until(check, 60, "the question")
    return got[0]


def test_an_answer_goes_straight_to_the_one_who_asked(connect):
    requester, responder, answers = connect(), connect(), []
    responder.queue_declare("rpc")
    ask(requester, "rpc", answers)
    name = take_question(responder, "rpc")
    assert name.startswith(REPLY_TO + ".")
    assert responder.queue_declare(name, passive=True).method.consumer_count == 1
    responder.confirm_delivery()
    responder.basic_publish("", name, b"answer")
    support.wait_until(lambda: requester.connection.process_data_events(0.05) or answers, 60, "the answer")
    assert answers == [(name, b"answer")]
    requester.close()
    with pytest.raises(pika.exceptions.UnroutableError):  # nobody is there any more
        responder.basic_publish("", name, b"late", mandatory=True)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        responder.queue_declare(name, passive=True)
    assert error.value.reply_code == 404
    connect().queue_delete("rpc")


def test_a_guessed_name_reaches_nobody(connect):
    requester, responder, answers = connect(), connect(), []
    responder.queue_declare("rpc2")
    ask(requester, "rpc2", answers)
    name = take_question(responder, "rpc2")
    wrong = name[:-1] + ("0" if name[-1] != "0" else "1")
    responder.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        responder.basic_publish("", wrong, b"m", mandatory=True)
    responder.queue_delete("rpc2")


@pytest.mark.parametrize("use, text", [
    (lambda c: c.basic_publish("", "q", b"m", pika.BasicProperties(reply_to=REPLY_TO)), "fast reply consumer does not exist"),
    (lambda c: c.basic_consume(REPLY_TO, lambda *_: None, auto_ack=False), "reply consumer cannot acknowledge"),
    (lambda c: [c.basic_consume(REPLY_TO, lambda *_: None, auto_ack=True) for _ in range(2)], "reply consumer already set"),
])
def test_misuse_has_its_text(connect, use, text):
    channel = connect()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        use(channel)
        channel.queue_declare("", exclusive=True)
    assert (error.value.reply_code, error.value.reply_text) == (406, f"PRECONDITION_FAILED - {text}")
