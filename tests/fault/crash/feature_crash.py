#!/usr/bin/python3
"""Crash test of what the daemon does with messages by itself: one scene for each feature, counts exact.

    SLUICED=build/dev/broker/app/sluiced tests/fault/crash/feature_crash.py --rounds 100 --seed 7 [SCENE...]

A round starts the daemon on the data of the round before, publishes with confirms (and consumes, changes policies, ... as the
scene wants) and ends it: SIGKILL at a random moment, or at the n-th pass of a fail point of the sources. After the last
round the daemon is left alone until nothing moves any more, and every queue is emptied. Then

  confirmed   a message that was confirmed is in exactly one of the queues of the scene, once, or was taken by the consumer
  refused     a message that was refused is in no queue, or once in that of the dead letters when refused ones go there
  taken       a message whose acknowledgement was committed (tx.commit-ok) does not come back
  others      what was sent and not answered is there at most once; nothing else is there
  and         what the scene knows of its feature: order, the reason in x-death, limits, due times, the policy in force

The same seed gives the same plan of rounds, not the same interleaving. Exit status 0: every scene was right.
"""

import argparse
import http.client
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode

os.environ.setdefault("AMQP_TIMEOUT", "60")  # no promise here is about speed

from broker_crash import PASSES, Wrong, fail_points, support, wire  # noqa: E402

END = "end"  # where dead letters go
WINDOW = 50
NEVER = "86400000"  # a time to live that no test sees the end of
LONGEST_TTL = 0.5  # of all others, and of delays, in seconds


class Got:
    """A message taken out of a queue."""

    def __init__(self, m):
        number, self.due_ms = (int(x) for x in m.body.split())
        self.number = number
        self.redelivered = m.redelivered
        self.priority = m.props.get("priority", 0)
        headers = m.props.get("headers")
        self.deaths = headers.get("x-death") or [] if headers is not None else []
        self.seen = time.time()


class Scene:
    """A feature: its topology, how messages are published, and what must hold. Subclasses say what differs."""

    queues = (END,)  # emptied at the end
    taken_from = None  # a queue with a consumer under load
    refused_die = None  # the queue to which refused messages go

    def __init__(self, broker, rng):
        self.broker, self.rng = broker, rng
        self.sent = {}  # number -> (properties, expected due time in ms)
        self.confirmed, self.refused = set(), set()
        self.taken, self.perhaps_taken = set(), set()
        self.threads, self.faults = [], []

    # --- what a scene says of itself ---

    def prepare(self, ch):
        """Declare everything."""

    def message(self, rng):
        """(exchange, key, properties, delay in ms)."""
        raise NotImplementedError

    def disturb(self, rng):
        """One more thing done under load, again and again, until the daemon dies."""
        raise NotImplementedError

    def look(self, ch):
        """After each restart."""

    def moving(self, ch):
        """What changes as long as something moves by itself."""
        return [self.ready(ch, queue) for queue in self.queues]

    def check(self, found):
        """found: queue -> [Got] in order."""

    # --- the load ---

    def publish(self, connection):
        """With a window of confirms until the daemon dies; then what it still says."""
        rng = random.Random(self.rng.random())
        ch = connection.channel().confirm()
        numbers, tag, settled = {}, 0, 0

        def answers(until):
            nonlocal settled
            while len(numbers) > until:
                m = ch.expect("basic.ack", "basic.nack", timeout=60)
                tags = range(settled + 1, m.delivery_tag + 1) if m.multiple else [m.delivery_tag]
                for t in tags:
                    number = numbers.pop(t, None)
                    if number is not None:
                        (self.confirmed if m.name == "basic.ack" else self.refused).add(number)
                if m.multiple:
                    settled = m.delivery_tag

        try:
            while True:
                for _ in range(rng.randint(1, 20)):
                    number = len(self.sent)
                    exchange, key, props, delay = self.message(rng)
                    due = int(time.time() * 1000) + delay
                    self.sent[number] = props, due
                    tag += 1
                    numbers[tag] = number
                    ch.publish(exchange, key, b"%d %d" % (number, due), {"delivery_mode": 2, **props})
                answers(WINDOW)
        except (wire.Closed, OSError):
            answers(0)

    def take(self, connection):
        """A consumer: some messages, their acks committed."""
        ch = connection.channel()
        ch.call("tx.select")
        while True:
            held = set()
            while len(held) < 5 and (m := ch.get(self.taken_from, no_ack=False)) is not None:
                held.add(Got(m).number)
            if held & self.taken:
                raise Wrong(f"messages {held & self.taken} came back although their acks were committed")
            self.perhaps_taken |= held
            ch.send("basic.ack", delivery_tag=0, multiple=True)
            ch.call("tx.commit")
            self.taken |= held

    def thread(self, run, *args):
        def guarded():
            try:
                run(*args)
            except (wire.Closed, OSError, http.client.HTTPException):
                pass  # the daemon died
            except BaseException as e:  # told by the main thread
                self.faults.append(e)

        self.threads.append(threading.Thread(target=guarded, daemon=True))
        self.threads[-1].start()

    def connect(self):
        return wire.Conn(self.broker.host, self.broker.port)

    def load(self):
        """Start the threads that work until the daemon dies."""
        self.thread(self.publish, self.connect())
        if self.taken_from:
            self.thread(self.take, self.connect())
        if type(self).disturb is not Scene.disturb:
            self.thread(self.disturb_on, random.Random(self.rng.random()))

    def disturb_on(self, rng):
        while True:
            self.disturb(rng)

    def join(self):
        for t in self.threads:
            t.join(60)
            if t.is_alive():
                raise Wrong("a client does not notice that the daemon died")
        self.threads.clear()
        if self.faults:
            raise self.faults[0]

    # --- the HTTP API ---

    def api(self, method, path, value=None):
        """The answer as JSON (None: no content, 404: the number)."""
        request = urllib.request.Request(
            f"{self.broker.management_url()}/api/{path}", method=method,
            data=json.dumps(value).encode() if value is not None else None,
            headers={"Authorization": "Basic " + b64encode(b"guest:guest").decode(), "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as e:
            if e.code == 404:
                return 404
            raise Wrong(f"{method} {path}: {e.code} {e.read()[:300]!r}") from None

    # --- the end ---

    def tally(self, found):
        """Every message exactly where it may be."""
        places = {}
        for queue, messages in found.items():
            for g in messages:
                if g.number not in self.sent:
                    raise Wrong(f"{queue}: a message {g.number} that nobody sent")
                if g.number in places:
                    raise Wrong(f"message {g.number} is in {places[g.number]} and in {queue}: doubled")
                places[g.number] = queue
        both = self.taken & places.keys()
        if both:
            raise Wrong(f"{len(both)} messages came back although their acks were committed: {sorted(both)[:8]}")
        lost = self.confirmed - places.keys() - self.taken - self.perhaps_taken
        if lost:
            raise Wrong(f"{len(lost)} of {len(self.confirmed)} confirmed messages are lost: {sorted(lost)[:8]}")
        for number in self.refused:
            if places.get(number) != self.refused_die or number in self.perhaps_taken:
                raise Wrong(f"message {number} was refused and is in {places.get(number, 'no queue')}")

    def finish(self):
        ch = wire.Conn(self.broker.host, self.broker.port, timeout=60).channel()
        last, since = None, 0.0

        def at_rest():
            nonlocal last, since
            before, last = last, self.moving(ch)
            if before != last:
                since = time.monotonic()
            return time.monotonic() - since > LONGEST_TTL

        support.wait_until(at_rest, 60, "the broker to come to rest")
        found = {}
        for queue in self.queues:
            found[queue] = []
            while (m := ch.get(queue)) is not None:
                found[queue].append(Got(m))
        self.tally(found)
        self.check(found)
        ch.conn.close()
        return sum(len(messages) for messages in found.values())

    def ready(self, ch, queue):
        return ch.count(queue)[0]


def rising(messages, what):
    """Their numbers are in the order of publishing."""
    for a, b in zip(messages, messages[1:]):
        if a.number >= b.number:
            raise Wrong(f"{what}: {b.number} stands behind {a.number}")


def died(messages, reason, queue, what):
    """Each of them died once, there, of this."""
    for g in messages:
        if [(d["reason"], d["queue"], d["count"]) for d in g.deaths] != [(reason, queue, 1)]:
            raise Wrong(f"{what}: x-death of message {g.number}: {g.deaths}")


def to_end(**arguments):
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": END, **arguments}


# --- the scenes -------------------------------------------------------------------------------


class Ttl(Scene):
    """Messages expire into a dead letter queue, wherever they stand; others stay."""

    queues = ("short", END)

    def prepare(self, ch):
        ch.queue("short", durable=True, arguments=to_end())
        ch.queue(END, durable=True)

    def message(self, rng):
        return "", "short", {"expiration": rng.choice((NEVER, str(rng.randint(1, 120)), "0"))}, 0

    def stays(self, g):
        return self.sent[g.number][0]["expiration"] == NEVER

    def check(self, found):
        for g in found["short"]:
            if not self.stays(g):
                raise Wrong(f"message {g.number} did not expire")
        for g in found[END]:
            if self.stays(g):
                raise Wrong(f"message {g.number} expired before its time")
        rising(found["short"], "short")
        died(found[END], "expired", "short", "ttl")


class Chain(Scene):
    """Expired in the first, pushed out of the second by its length, rejected by nobody: ends in the third."""

    queues = ("first", "second", END)

    def prepare(self, ch):
        ch.queue("first", durable=True, arguments={
            "x-message-ttl": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "second"})
        ch.queue("second", durable=True, arguments=to_end(**{"x-max-length": 10}))
        ch.queue(END, durable=True)

    def message(self, rng):
        return "", "first", {}, 0

    def look(self, ch):
        if self.ready(ch, "second") > 10:
            raise Wrong("the second queue is longer than its limit")

    def check(self, found):
        if found["first"] or len(found["second"]) > 10:
            raise Wrong("a message stands where it may not stand")
        died(found["second"], "expired", "first", "second")
        for g in found[END]:
            if [(d["reason"], d["queue"], d["count"]) for d in g.deaths] != [("maxlen", "second", 1), ("expired", "first", 1)]:
                raise Wrong(f"x-death of message {g.number}: {g.deaths}")


class DropHead(Scene):
    """A queue with a length limit: the oldest die, the newest are there, all in order."""

    queues = ("short", END)
    LIMIT = 25

    def prepare(self, ch):
        ch.queue("short", durable=True, arguments=to_end(**{"x-max-length": self.LIMIT}))
        ch.queue(END, durable=True)

    def message(self, rng):
        return "", "short", {}, 0

    def look(self, ch):
        if self.ready(ch, "short") > self.LIMIT:
            raise Wrong(f"{self.ready(ch, 'short')} messages in a queue for {self.LIMIT}")

    def check(self, found):
        if len(found["short"]) > self.LIMIT:
            raise Wrong(f"{len(found['short'])} messages in a queue for {self.LIMIT}")
        rising(found["short"], "short")
        rising(found[END], END)
        rising(found[END][-1:] + found["short"], "the dead and the living")
        died(found[END], "maxlen", "short", "drop-head")


class RejectPublish(Scene):
    """A full queue refuses: what was acked is there, what was nacked is not."""

    queues = ("full",)
    taken_from = "full"
    LIMIT = 40
    OVERFLOW = "reject-publish"

    def prepare(self, ch):
        ch.queue("full", durable=True, arguments=to_end(**{"x-max-length": self.LIMIT, "x-overflow": self.OVERFLOW}))
        ch.queue(END, durable=True)

    def message(self, rng):
        return "", "full", {}, 0

    def look(self, ch):
        # What the consumer held comes back to a queue that may have been filled since.
        if self.ready(ch, "full") > self.LIMIT + 5:
            raise Wrong(f"{self.ready(ch, 'full')} messages in a queue for {self.LIMIT}")

    def check(self, found):
        rising(found["full"], "full")
        if not self.refused or not self.taken:
            raise Wrong("nothing was refused, or nothing taken: this test has not tested anything")


class RejectPublishDlx(RejectPublish):
    """A full queue refuses and gives what it refuses to its dead letter exchange."""

    queues = ("full", END)
    refused_die = END
    OVERFLOW = "reject-publish-dlx"

    def check(self, found):
        super().check(found)
        died(found[END], "maxlen", "full", "reject-publish-dlx")
        for g in found[END]:
            if g.number in self.confirmed:
                raise Wrong(f"message {g.number} was confirmed and died of its queue's length")


class Priority(Scene):
    """Higher priorities first, each in order, also after a restart; the lowest of the oldest die at the limit."""

    queues = ("levels", END)
    taken_from = "levels"

    def prepare(self, ch):
        ch.queue("levels", durable=True, arguments=to_end(**{"x-max-priority": 4, "x-max-length": 400}))
        ch.queue(END, durable=True)

    def message(self, rng):
        return "", "levels", {"priority": rng.randint(0, 6)}, 0

    def check(self, found):
        for a, b in zip(found["levels"], found["levels"][1:]):
            if (-min(a.priority, 4), a.number) >= (-min(b.priority, 4), b.number):
                raise Wrong(f"message {b.number} of priority {b.priority} stands behind {a.number} of {a.priority}")
        died(found[END], "maxlen", "levels", "priority")
        if not found["levels"] or not self.taken:
            raise Wrong("nothing is left, or nothing was taken: this test has not tested anything")


class Delayed(Scene):
    """An exchange that delays: not before it is due, once, over any number of crashes."""

    queues = ("later",)

    def prepare(self, ch):
        ch.exchange("delay", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
        ch.queue("later", durable=True)
        ch.bind("later", "delay", "k")

    def message(self, rng):
        delay = rng.choice((0, 1, rng.randint(1, 400), rng.randint(1, 400)))
        return "delay", "k", {"headers": {"x-delay": delay}}, delay

    def look(self, ch):
        """What is there already is due."""
        m = ch.get("later", no_ack=False)
        if m is not None:
            self.check_due(Got(m))
            ch.send("basic.nack", delivery_tag=m.delivery_tag, requeue=True)

    def check_due(self, g):
        if g.due_ms > g.seen * 1000 + 1:
            raise Wrong(f"message {g.number} came {g.due_ms - g.seen * 1000:.0f} ms before it was due")

    def moving(self, ch):
        return self.api("GET", "exchanges/%2F/delay")["messages_delayed"], self.ready(ch, "later")

    def check(self, found):
        for g in found["later"]:
            self.check_due(g)


class Returned(Scene):
    """A quorum queue whose consumer fails: after the limit of deliveries a message dies, once."""

    queues = ("tries", END)

    def prepare(self, ch):
        ch.queue("tries", durable=True, arguments=to_end(**{"x-queue-type": "quorum", "x-delivery-limit": 2}))
        ch.queue(END, durable=True)

    def message(self, rng):
        return "", "tries", {}, 0

    def load(self):
        super().load()
        self.thread(self.fail, self.connect())

    def fail(self, connection):
        """A consumer that returns everything."""
        ch = connection.channel()
        ch.call("basic.qos", prefetch_count=20)
        ch.consume("tries")
        while True:
            ch.send("basic.nack", delivery_tag=ch.expect("basic.deliver", timeout=60).delivery_tag, requeue=True)

    def check(self, found):
        died(found[END], "delivery_limit", "tries", "delivery limit")
        if not found[END]:
            raise Wrong("nothing died: this test has not tested anything")


class Policies(Scene):
    """Policies that change under load: the one in force is the last that was answered, or the one under way."""

    queues = ("ruled", END)
    DEFINITIONS = [
        {"max-length": 20}, {"message-ttl": 30}, {"max-length": 50, "message-ttl": 200}, {"max-length-bytes": 300}, {}]

    def __init__(self, broker, rng):
        super().__init__(broker, rng)
        self.possible = [None]  # definitions, None: no policy

    def prepare(self, ch):
        ch.queue("ruled", durable=True, arguments=to_end())
        ch.queue(END, durable=True)

    def message(self, rng):
        return "", "ruled", {}, 0

    def disturb(self, rng):
        definition = rng.choice(self.DEFINITIONS)
        # A policy without keys is refused; here it stands for its absence.
        self.possible.append(definition or None)
        if definition:
            self.api("PUT", "policies/%2F/rule", {"pattern": "^ruled$", "definition": definition, "apply-to": "queues"})
        else:
            self.api("DELETE", "policies/%2F/rule")
        self.possible = self.possible[-1:]

    def look(self, ch):
        policy = self.api("GET", "policies/%2F/rule")
        now = None if policy == 404 else policy["definition"]
        if now not in self.possible:
            raise Wrong(f"the policy is {now} and should be one of {self.possible}")
        self.possible = [now]
        support.wait_until(lambda: (self.api("GET", "queues/%2F/ruled").get("effective_policy_definition") or None) == now,
                           20, f"the queue to follow the policy {now}")
        limit = (now or {}).get("max-length")
        if limit is not None:
            support.wait_until(lambda: self.ready(ch, "ruled") <= limit, 60, f"the queue to have {limit} messages at most")

    def check(self, found):
        rising(found["ruled"], "ruled")
        for g in found[END]:
            if [(d["queue"], d["count"]) for d in g.deaths] != [("ruled", 1)] or g.deaths[0]["reason"] not in ("maxlen", "expired"):
                raise Wrong(f"x-death of message {g.number}: {g.deaths}")


class Thing:
    """A definition: what is known of it."""

    def __init__(self):
        self.may_be_there, self.may_be_absent = False, True
        self.value = None  # None: not known


class Definitions(Scene):
    """Vhosts, users, permissions and queues come and go under load: whole or not at all."""

    queues = ("plain",)
    STANDARD = {"", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.topic"}

    def __init__(self, broker, rng):
        super().__init__(broker, rng)
        self.things = {}  # path -> Thing
        self.turn = 0

    def prepare(self, ch):
        ch.queue("plain", durable=True)

    def message(self, rng):
        return "", "plain", {}, 0

    def put(self, path, value):
        thing = self.things.setdefault(path, Thing())
        thing.may_be_there, thing.value = True, None
        self.api("PUT", path, value)
        thing.may_be_absent, thing.value = False, value

    def delete(self, path):
        """With everything inside."""
        kind, name = path.split("/")
        inside = [thing for p, thing in self.things.items() if p == path or (not p.startswith(kind) and name in p.split("/"))]
        for thing in inside:
            thing.may_be_absent = True
        if self.api("DELETE", path) == 404:
            raise Wrong(f"{path} was there and is not")
        for thing in inside:
            thing.may_be_there = False

    def disturb(self, rng):
        n = self.turn = self.turn + 1
        vhost, user = f"v{rng.randint(0, 5)}", f"u{rng.randint(0, 5)}"
        self.put(f"vhosts/{vhost}", {})
        self.put(f"permissions/{vhost}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
        self.put(f"users/{user}", {"password": f"secret {n}", "tags": rng.choice(("monitoring", "management", ""))})
        self.put(f"permissions/{vhost}/{user}", {"configure": f"^c{n}", "write": ".*", "read": f"r{n}"})
        self.put(f"queues/{vhost}/q{n % 3}", {"durable": True})
        if rng.random() < 0.5:
            self.delete(f"vhosts/{vhost}")
        if rng.random() < 0.3:
            self.delete(f"users/{user}")

    def look(self, ch):
        for path, thing in self.things.items():
            now = self.api("GET", path)
            there = now != 404
            if there and not thing.may_be_there:
                raise Wrong(f"{path} is back")
            if not there and not thing.may_be_absent:
                raise Wrong(f"{path} was answered and is gone")
            thing.may_be_there, thing.may_be_absent = there, not there
            kind, name = path.split("/")[:2]
            if not there:
                thing.value = None
            elif kind == "permissions" and thing.value and any(now[k] != v for k, v in thing.value.items()):
                raise Wrong(f"{path} is {now}, not {thing.value}")
            elif kind == "users" and thing.value and ",".join(now["tags"]) != thing.value["tags"]:
                raise Wrong(f"{path} has the tags {now['tags']}, not {thing.value['tags']!r}")
            elif kind == "vhosts" and self.api("GET", f"permissions/{name}/guest") != 404:
                exchanges = {x["name"] for x in self.api("GET", f"exchanges/{name}")}
                if exchanges != self.STANDARD:
                    raise Wrong(f"vhost {name} has the exchanges {exchanges}")
        for path, thing in self.things.items():
            if path.startswith("permissions") and thing.may_be_there:
                _, vhost, user = path.split("/")
                for owner in (f"vhosts/{vhost}", f"users/{user}"):
                    if self.api("GET", owner) == 404:
                        raise Wrong(f"{path} is there, {owner} is not")


SCENES = {"ttl": Ttl, "chain": Chain, "drop-head": DropHead, "reject-publish": RejectPublish, "reject-publish-dlx": RejectPublishDlx,
          "priority": Priority, "delayed": Delayed, "delivery-limit": Returned, "policies": Policies, "definitions": Definitions}


# --- a run ------------------------------------------------------------------------------------


def plan_of(rng, points):
    """None, or a fail point at which the daemon dies."""
    if not points or rng.random() < 0.5:
        return None
    point = rng.choice(points)
    return f"{point}=crash@{rng.randint(1, PASSES.get(point.split('.')[0], 20))}"


def start(broker, plan):
    """True when it serves, False when the plan ended it before that."""
    if plan:
        os.environ["SLC_FAILPOINT"] = plan
    try:
        broker.start()
        return True
    except support.BrokerError:
        if not plan:
            raise
        return False
    finally:
        os.environ.pop("SLC_FAILPOINT", None)


def round_of(scene, broker, plan, seconds, enough):
    """One life of the daemon: not shorter than it takes to confirm enough."""
    if start(broker, plan):
        began, before = time.monotonic(), len(scene.confirmed)
        try:
            scene.load()
        except (wire.Closed, OSError):
            if not plan:
                raise

        def over():
            if broker.proc.poll() is not None:
                return True
            gained, passed = len(scene.confirmed) - before, time.monotonic() - began
            return gained >= 3000 or passed > 2 if plan else gained >= enough and passed > seconds

        support.wait_until(over, 60, "the end of a round")
        if broker.proc.poll() not in (None, -signal.SIGKILL):
            raise Wrong(f"the daemon ended with status {broker.proc.returncode}")
    broker.kill()
    scene.join()


def run(name, rounds, seed, points, config):
    rng = random.Random(f"{seed} {name}")
    with support.new(config, kind="sluice") as broker:
        scene = SCENES[name](broker, rng)
        c = wire.Conn(broker.host, broker.port)
        scene.prepare(c.channel())
        c.close()
        broker.kill()
        for _ in range(rounds):
            round_of(scene, broker, plan_of(rng, points), rng.uniform(0.02, 0.5), rng.randint(50, 300))
            broker.start()
            c = wire.Conn(broker.host, broker.port, timeout=60)
            scene.look(c.channel())
            c.drop()
            broker.kill()
        broker.start()
        found = scene.finish()
        print(f"{name}: {rounds} rounds, {len(scene.sent)} sent, {len(scene.confirmed)} confirmed, {len(scene.refused)} refused, "
              f"{len(scene.taken)} taken, {found} found", flush=True)


def main(argv):
    parser = argparse.ArgumentParser(description="crash test of features; see the head of the file")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; default: all")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=None, help="default: of the clock; it is printed")
    parser.add_argument("--no-failpoints", action="store_true", help="SIGKILL only: for a release build")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="configuration of the daemon")
    options = parser.parse_args(argv)
    seed = options.seed if options.seed is not None else int(time.time() * 1000) % 1000000
    config = {"disk_free_limit.absolute": "64MiB", **dict(s.split("=", 1) for s in options.set)}
    points = [] if options.no_failpoints else fail_points()
    for name in options.scenes or SCENES:
        if name not in SCENES:
            parser.error(f"no scene {name!r}: there are {', '.join(SCENES)}")
    print(f"feature_crash: --rounds {options.rounds} --seed {seed}", flush=True)
    status = 0
    for name in options.scenes or SCENES:
        try:
            run(name, options.rounds, seed, points, config)
        except (Wrong, wire.WireError, support.BrokerError) as e:
            print(f"feature_crash: {name} failed: {type(e).__name__}: {e}\n"
                  f"feature_crash: again with --rounds {options.rounds} --seed {seed} {name}", flush=True)
            status = 1
    return status


if __name__ == "__main__":
    # `timeout` and CTest end a run with SIGTERM: the daemon must end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
