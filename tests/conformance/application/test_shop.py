"""The same shop, the same results: on Sluice, and with BROKER=rabbitmq on RabbitMQ 3.10.8, by which every line was checked."""

import sys
import threading
from pathlib import Path

import pika
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "support")]

import broker as support  # noqa: E402
import shop  # noqa: E402


@pytest.fixture(scope="module")
def broker():
    with support.new(plugins=("rabbitmq_management",) if support.broker_kind() == "rabbitmq" else ()) as b:
        shop.Operator(b.management_url()).prepare()
        shop.deploy(b.port)
        yield b


@pytest.fixture
def operator(broker):
    return shop.Operator(broker.management_url())


@pytest.fixture
def client(broker):
    """client(user) or client(class, ...): connections that end with the test."""
    made = []

    def go(user, *arguments):
        made.append(shop.Client(broker.port, user) if isinstance(user, str) else user(broker.port, *arguments))
        return made[-1]

    yield go
    for c in made:
        c.close()
    cleaner = shop.Client(broker.port, "deployer")
    for queue in ("orders.in", "pay.work", "pay.retry.0", "pay.retry.1", "parking", "unknown"):
        cleaner.channel.queue_purge(queue)
    cleaner.close()


def drain(c, queue):
    """All messages of a queue, taken out: properties and body."""
    got = []
    while True:
        method, properties, body = c.channel.basic_get(queue, auto_ack=True)
        if method is None:
            return got
        got.append((method, properties, body))


def ready(c, queue):
    return c.channel.queue_declare(queue, passive=True).method.message_count


def test_deploying_again_changes_nothing(broker, client):
    web, deployer = client("web"), client("deployer")
    assert web.publish("orders", "order.eu", {"number": 1}) is True
    shop.deploy(broker.port)
    assert ready(deployer, "orders.in") == 1
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
        deployer.channel.queue_declare("orders.in", durable=True, arguments={"x-max-priority": 5})
    assert (e.value.reply_code, e.value.reply_text) == (
        406, "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'orders.in' in vhost 'shop': received '5' but "
        "current is '10'")


def test_orders_come_by_priority_and_are_refused_over_the_limit(client):
    web, clerk = client("web"), client("clerk")
    outcomes = [web.publish("orders", "order.eu.new", {"number": i}, priority=i % 3) for i in range(shop.ORDERS_MAX + 3)]
    assert outcomes == [True] * shop.ORDERS_MAX + [False] * 3
    numbers = []
    while len(numbers) < shop.ORDERS_MAX:
        method, _, order = clerk.take("orders.in")
        assert clerk.publish("pay", "charge", order) is True
        clerk.channel.basic_ack(method.delivery_tag)
        numbers.append(order["number"])
    assert numbers == sorted(range(shop.ORDERS_MAX), key=lambda i: (-(i % 3), i))
    assert web.publish("orders", "order.eu.new", {"number": 99}) is True
    assert clerk.take("orders.in")[2] == {"number": 99}


def test_what_nobody_takes_is_kept_or_comes_back(client):
    web, deployer = client("web"), client("deployer")
    assert web.publish("orders", "complaint.eu", {"number": 7}) is True  # by the alternate exchange
    assert web.publish("", "no-such-queue", {"number": 8}) is None
    (method, _, body), = drain(deployer, "unknown")
    assert (method.exchange, method.routing_key, body) == ("orders", "complaint.eu", b'{"number": 7}')


def test_payments_are_tried_again_and_parked_in_the_end(client):
    """1 succeeds at once, 2 at the second attempt, 3 at the third, 4 never."""
    clerk, cashier, deployer = client("clerk"), client(shop.Cashier, {2: 1, 3: 2, 4: 9}), client("deployer")
    for number in (1, 2, 3, 4):
        assert clerk.publish("pay", "charge", {"number": number}, message_id=f"m{number}") is True
    for _ in range(1 + 2 + 3 + 3):
        assert cashier.work()
    attempts = {n: [(a, r) for number, a, r in cashier.seen if number == n] for n in (1, 2, 3, 4)}
    assert attempts == {1: [(0, False)], 2: [(0, False), (1, False)], 3: [(0, False), (1, False), (2, False)],
                        4: [(0, False), (1, False), (2, False)]}
    support.wait_until(lambda: ready(deployer, "parking") == 1, 60, "the order that could not be paid")
    (method, properties, body), = drain(deployer, "parking")
    assert (method.exchange, method.routing_key, method.redelivered, body) == ("parking", "unpaid", False, b'{"number": 4}')
    deaths = [{k: v for k, v in d.items() if k != "time"} for d in properties.headers["x-death"]]
    assert deaths == [
        {"count": 1, "reason": "rejected", "queue": "pay.work", "exchange": "pay", "routing-keys": ["charge"]},
        {"count": 1, "reason": "expired", "queue": "pay.retry.1", "exchange": "", "routing-keys": ["pay.retry.1"]}]
    assert {k: v for k, v in properties.headers.items() if k not in ("x-death",) and not k.startswith("x-last-")} == {
        "attempt": 2, "x-first-death-reason": "expired", "x-first-death-queue": "pay.retry.1", "x-first-death-exchange": ""}


def test_one_cashier_at_a_time_and_the_next_when_it_dies(client):
    clerk, first, second = client("clerk"), client(shop.Cashier, {}), client(shop.Cashier, {})
    for number in range(4):
        clerk.publish("pay", "charge", {"number": number})
    assert first.work()
    held = first.take("pay.work")
    assert held[2] == {"number": 1}
    assert second.take("pay.work", timeout=0.2) is None  # it waits
    first.close()
    for _ in range(3):
        assert second.work()
    assert first.seen + second.seen == [(0, 0, False), (1, 0, True), (2, 0, False), (3, 0, False)]


def test_parking_keeps_the_newest(client):
    deployer = client("deployer")
    for number in range(shop.PARKED_MAX + 2):
        assert deployer.publish("parking", "", {"number": number}) is True
    assert [body for _, _, body in drain(deployer, "parking")] == [b'{"number": %d}' % n for n in (2, 3, 4)]


def test_the_stock_answers_or_is_not_there(broker, client):
    web, stock = client("web"), client("stock")
    assert shop.ask_stock(web, "book") is None
    stock.channel.queue_declare("stock", auto_delete=True)
    asked = []

    def serve():
        for _ in range(3):
            asked.append(shop.serve_stock(stock, {"book": 3, "pen": 1}))

    server = threading.Thread(target=serve)
    server.start()
    assert [shop.ask_stock(web, item) for item in ("book", "pen", "car")] == [{"left": 3}, {"left": 1}, {"left": 0}]
    server.join(60)
    assert [item for item, _ in asked] == ["book", "pen", "car"]
    assert len({name for _, name in asked}) == 3 and all(name.startswith(shop.REPLY_TO + ".") for _, name in asked)
    # An answer that comes too late is nobody's.
    assert stock.publish("", asked[0][1], {"left": 3}) is None
    stock.close()
    assert shop.ask_stock(web, "book") is None  # the queue went with its consumer


REFUSED = [
    ("web", lambda c: c.channel.basic_publish("pay", "charge", b"{}"), "exchange 'pay'"),
    ("web", lambda c: c.channel.basic_get("orders.in"), "queue 'orders.in'"),
    ("web", lambda c: c.channel.queue_declare("mine"), "queue 'mine'"),
    ("web", lambda c: c.channel.queue_purge("pay.work"), "queue 'pay.work'"),
    ("clerk", lambda c: c.channel.queue_delete("orders.in"), "queue 'orders.in'"),
    ("clerk", lambda c: c.channel.basic_publish("orders", "order.x", b"{}"), "exchange 'orders'"),
    ("clerk", lambda c: c.channel.queue_bind("orders.in", "pay", "k"), "queue 'orders.in'"),
    ("cashier", lambda c: c.channel.exchange_declare("pay", "direct", durable=True), "exchange 'pay'"),
    ("stock", lambda c: c.channel.queue_declare("stock", auto_delete=True, arguments={"x-dead-letter-exchange": "pay"}), "exchange 'pay'"),
]


@pytest.mark.parametrize("user,act,what", REFUSED, ids=[f"{u} {w}" for u, _, w in REFUSED])
def test_nobody_does_what_is_not_theirs(client, user, act, what):
    c = client(user)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as e:
        act(c)
    assert e.value.reply_code == 403
    assert e.value.reply_text.startswith("ACCESS_REFUSED - ") and f"access to {what} in vhost 'shop' refused for user '{user}'" in e.value.reply_text


def test_a_user_of_another_shop_gets_nowhere(broker):
    parameters = pika.ConnectionParameters("127.0.0.1", broker.port, "/", pika.PlainCredentials("web", "web"))
    with pytest.raises(pika.exceptions.AMQPConnectionError) as e:
        pika.BlockingConnection(parameters)
    assert "NOT_ALLOWED - access to vhost '/' refused for user 'web'" in repr(e.value).replace("\\", "")


def test_the_operator_sees_which_policies_hold(operator, client):
    def policies(queue):
        status, q = operator.call("GET", "queues", shop.VHOST, queue)
        assert status == 200
        return q.get("policy"), q.get("operator_policy"), q.get("effective_policy_definition")

    wanted = {
        "orders.in": ("orders", None, {"max-length": 20, "overflow": "reject-publish"}),
        "pay.retry.1": ("retries", None, {"dead-letter-exchange": "pay", "dead-letter-routing-key": "charge"}),
        "parking": ("parking", "cap", {"max-length": 3}),
        "unknown": ("all", "cap", {"max-length": 100, "message-ttl": 900000}),
        "pay.work": ("all", None, {"message-ttl": 900000}),
    }
    for queue, policy in wanted.items():
        support.wait_until(lambda q=queue, p=policy: [x or None for x in policies(q)] == [x or None for x in p], 60, f"{queue}: {policy}")


def test_a_limit_changes_while_messages_wait(operator, client):
    """A smaller one drops at once; a time to live is for what comes later; without the policy all is as before."""
    deployer = client("deployer")
    for number in range(5):
        deployer.publish("unrouted", "", {"number": number})
    operator.policy("few", "^unknown$", {"max-length": 2}, priority=5)
    support.wait_until(lambda: ready(deployer, "unknown") == 2, 60, "three to be dropped")
    operator.policy("few", "^unknown$", {"message-ttl": 1, "dead-letter-exchange": "parking"}, priority=5)
    support.wait_until(lambda: operator.call("GET", "queues", shop.VHOST, "unknown")[1]["effective_policy_definition"].get("message-ttl")
                       == 1, 60, "the new policy")
    assert [body for _, _, body in drain(deployer, "unknown")] == [b'{"number": 3}', b'{"number": 4}']
    deployer.publish("unrouted", "k", {"number": 5})
    support.wait_until(lambda: ready(deployer, "parking") == 1, 60, "its death")
    (method, properties, _), = drain(deployer, "parking")
    assert (method.routing_key, properties.headers["x-death"][0]["reason"]) == ("k", "expired")
    assert operator.call("DELETE", "policies", shop.VHOST, "few")[0] == 204
    support.wait_until(lambda: operator.call("GET", "queues", shop.VHOST, "unknown")[1].get("policy") == "all", 60, "the old policy")
    deployer.publish("unrouted", "", {"number": 6})
    assert len(drain(deployer, "unknown")) == 1
