"""A shop as it might run on RabbitMQ: orders come in by priority, payments are charged by one worker at a time and tried again
on a ladder of delays, what cannot be paid is parked, and the stock is asked by direct reply-to.

Nothing here knows which broker it speaks to. The operator's part (users, permissions, policies) goes over the HTTP API.
"""

import base64
import json
import urllib.error
import urllib.request
from urllib.parse import quote

import pika

VHOST = "shop"
LADDER = (100, 300)  # ms between attempts
ORDERS_MAX = 20
PARKED_MAX = 3
REPLY_TO = "amq.rabbitmq.reply-to"

# user: configure, write, read
PERMISSIONS = {
    "deployer": (".*", ".*", ".*"),
    "web": ("^$", "^(orders|amq\\.default)$", "^stock$"),
    "clerk": ("^$", "^(pay|amq\\.default)$", "^orders\\.in$"),
    "cashier": ("^$", "^(pay|parking|amq\\.default)$", "^pay\\."),
    "stock": ("^stock$", "^amq\\.default$", "^stock$"),
}


class Operator:
    """The HTTP API, as the administrator uses it."""

    def __init__(self, url):
        self.url = url

    def call(self, method, *segments, body=None):
        """Status and decoded body."""
        request = urllib.request.Request(
            self.url + "/api/" + "/".join(quote(s, safe="") for s in segments), method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(), "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read() or b"null")

    def put(self, *segments, **body):
        status, answer = self.call("PUT", *segments, body=body)
        assert status in (201, 204), (segments, status, answer)

    def prepare(self):
        """Everything but the topology."""
        self.put("vhosts", VHOST)
        for user, (configure, write, read) in PERMISSIONS.items():
            self.put("users", user, password=user, tags="")
            self.put("permissions", VHOST, user, configure=configure, write=write, read=read)
        self.policy("orders", "^orders\\.in$", {"max-length": ORDERS_MAX, "overflow": "reject-publish"})
        self.policy("retries", "^pay\\.retry\\.", {"dead-letter-exchange": "pay", "dead-letter-routing-key": "charge"})
        self.policy("parking", "^parking$", {"max-length": PARKED_MAX})
        self.policy("all", ".*", {"message-ttl": 900_000}, priority=-1)
        self.put("operator-policies", VHOST, "cap", pattern="^(unknown|parking)$", definition={"max-length": 100},
                 **{"apply-to": "queues"})

    def policy(self, name, pattern, definition, priority=0):
        self.put("policies", VHOST, name, pattern=pattern, definition=definition, priority=priority, **{"apply-to": "queues"})


class Client:
    """A connection of one user with a channel that confirms."""

    def __init__(self, port, user):
        parameters = pika.ConnectionParameters("127.0.0.1", port, VHOST, pika.PlainCredentials(user, user), heartbeat=0)
        self.connection = pika.BlockingConnection(parameters)
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def publish(self, exchange, key, body, **properties):
        """True: confirmed. False: the broker refused it. None: it has no route."""
        try:
            self.channel.basic_publish(exchange, key, json.dumps(body), pika.BasicProperties(
                delivery_mode=2, content_type="application/json", **properties), mandatory=True)
        except pika.exceptions.NackError:
            return False
        except pika.exceptions.UnroutableError:
            return None
        return True

    def take(self, queue, timeout=60):
        """The next message of a consumer of queue: method, properties, decoded body; the consumer stays. None: nothing came."""
        for method, properties, body in self.channel.consume(queue, inactivity_timeout=timeout):
            return None if method is None else (method, properties, json.loads(body))

    def close(self):
        if self.connection.is_open:
            self.connection.close()


def deploy(port):
    """What the shop declares when it is installed, and again with each new version."""
    c = Client(port, "deployer")
    ch = c.channel
    ch.exchange_declare("unrouted", "fanout", durable=True)
    ch.exchange_declare("orders", "topic", durable=True, arguments={"alternate-exchange": "unrouted"})
    ch.exchange_declare("pay", "direct", durable=True)
    ch.exchange_declare("parking", "fanout", durable=True)
    ch.queue_declare("unknown", durable=True)
    ch.queue_bind("unknown", "unrouted")
    ch.queue_declare("orders.in", durable=True, arguments={"x-max-priority": 10})
    ch.queue_bind("orders.in", "orders", "order.#")
    ch.queue_declare("pay.work", durable=True, arguments={
        "x-single-active-consumer": True, "x-dead-letter-exchange": "parking", "x-dead-letter-routing-key": "unpaid"})
    ch.queue_bind("pay.work", "pay", "charge")
    for i, delay in enumerate(LADDER):
        ch.queue_declare(f"pay.retry.{i}", durable=True, arguments={"x-message-ttl": delay})
    ch.queue_declare("parking", durable=True)
    ch.queue_bind("parking", "parking")
    c.close()


class Cashier(Client):
    """Charges one order after the other. What fails goes down the ladder, and in the end to the parking queue."""

    def __init__(self, port, fails):
        super().__init__(port, "cashier")
        self.channel.basic_qos(prefetch_count=1)
        self.fails = fails  # order number: how often
        self.seen = []  # (order, attempt, redelivered)

    def work(self, timeout=60):
        """One order; False: none came."""
        got = self.take("pay.work", timeout)
        if got is None:
            return False
        method, properties, order = got
        attempt = (properties.headers or {}).get("attempt", 0)
        self.seen.append((order["number"], attempt, method.redelivered))
        if attempt >= self.fails.get(order["number"], 0):
            self.channel.basic_ack(method.delivery_tag)
        elif attempt < len(LADDER):
            self.publish("", f"pay.retry.{attempt}", order, headers={"attempt": attempt + 1})
            self.channel.basic_ack(method.delivery_tag)
        else:
            self.channel.basic_reject(method.delivery_tag, requeue=False)
        return True


def ask_stock(client, item, timeout=60):
    """An RPC by direct reply-to: the answer, or None when nobody serves."""
    answers = []
    ch = client.channel
    tag = ch.basic_consume(REPLY_TO, lambda _c, _m, p, body: answers.append((p.correlation_id, json.loads(body))), auto_ack=True)
    try:
        if client.publish("", "stock", {"item": item}, reply_to=REPLY_TO, correlation_id=item) is None:
            return None
        for _ in range(timeout * 10):
            client.connection.process_data_events(time_limit=0.1)
            if answers:
                break
        (correlation_id, answer), = answers
        assert correlation_id == item
        return answer
    finally:
        ch.basic_cancel(tag)


def serve_stock(client, stock):
    """One question, answered; what it was asked."""
    method, properties, question = client.take("stock")
    client.publish("", properties.reply_to, {"left": stock.get(question["item"], 0)}, correlation_id=properties.correlation_id)
    client.channel.basic_ack(method.delivery_tag)
    return question["item"], properties.reply_to
