"""The objects that the golden files of tests/data/ctl show, made by a client nobody here wrote."""

import datetime
import decimal

import pika

ODD = "tab\tback\\slash\"quote'é"

# One value of each kind that the client can send, and those that rabbitmqctl prints in odd ways.
ARGUMENTS = {
    "my-int": 5, "my-str": 's"tr\\', "my-bool": True, "my-neg": -3, "my-big": 2**40, "my-list": [1, "two", False],
    "my-table": {"a": 1, "b": {"c": "d"}}, "my-null": None, "my-bytes": b"\xff\x00",
    "my-ts": datetime.datetime(2020, 1, 2), "my-dec": decimal.Decimal("3.14"), "é": "ü", "nl": "a\tb\nc", "empty": "",
    "cjk": "日本", "ints": [97, 98, 99], "ints2": [1, 2], "mixed": [97, "b"], "empty-l": [], "empty-t": {},
    "bin": b"abc", "bin2": "é".encode(), "ctl": "a\x01b", "del": "a\x7fb", "esc": "a\x1b\x0b\x08\x0c\rb",
    "nbsp": "a\u00a0\u0085b", "emoji": "😀", "tbl": {"日": [{"a": "b"}, ["x"]]}, "zl": [0], "el": ["", ""],
    "u8cjk": "é日", "dec": decimal.Decimal("5"), "space": " ", "nulls": [None, True],
}


class Topology:
    """Exchanges, queues, bindings, messages and consumers; close() drops the connection."""

    def __init__(self, host, port):
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(
            host, port, heartbeat=0, client_properties={"connection_name": "golden"}))
        self.channel = self.connection.channel()
        self._exchanges()
        self._queues()
        self._messages()

    def _exchanges(self):
        ch = self.channel
        ch.exchange_declare("orders", "topic", durable=True)
        ch.exchange_declare("logs", "fanout", durable=False, auto_delete=True)
        ch.exchange_declare("inner", "headers", durable=True, internal=True)
        ch.exchange_declare("with-alternate", "direct", durable=True, arguments={"alternate-exchange": "orders"})

    def _queues(self):
        ch = self.channel
        ch.queue_declare("q.durable", durable=True)
        ch.queue_declare("q.transient", durable=False)
        ch.queue_declare("q.auto", durable=False, auto_delete=True)
        ch.queue_declare("q.exclusive", exclusive=True)
        ch.queue_declare("q.confirmed", durable=True)
        ch.queue_declare(ODD, durable=False)
        ch.queue_declare("q.arguments", durable=True, arguments=ARGUMENTS)
        ch.queue_bind("q.durable", "orders", "a.*.#")
        ch.queue_bind("q.durable", "inner", "", arguments={"x-match": "all", "k": 1})
        ch.exchange_bind("logs", "orders", "#")

    def _messages(self):
        ch = self.channel
        ch.confirm_delivery()
        stored = pika.BasicProperties(delivery_mode=2)
        for i in range(5):
            ch.basic_publish("", "q.durable", b"x" * 100, pika.BasicProperties(delivery_mode=2, timestamp=1600000000 + i))
        for _ in range(3):
            ch.basic_publish("", "q.transient", b"y" * 10)
        ch.basic_publish("", "q.confirmed", b"stored", stored)
        ch.basic_publish("", "q.confirmed", b"not stored")
        self.received = 0
        ch.basic_qos(prefetch_count=2)
        ch.basic_consume("q.durable", self._count, consumer_tag="ct1")
        ch.basic_consume("q.auto", self._count, auto_ack=True, consumer_tag="ct2", exclusive=True,
                         arguments={"foo": "bar"})
        for _ in range(600):
            if self.received == 2:
                break
            self.connection.process_data_events(0.1)
        assert self.received == 2, "prefetch 2 and five messages: two deliveries"

    def _count(self, *_):
        self.received += 1

    def close(self):
        """Drop the connection."""
        try:
            self.connection.close()
        except pika.exceptions.AMQPError:
            pass  # a test closed it from the other side
