"""Lists of many queues: confirms go on meanwhile, and memory stays bounded. @spec management-api 1.6, 3"""

import json
import select
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pika
import pytest
from conftest import Api
from support import broker as support

QUEUES = 10000


@pytest.fixture(scope="module")
def many():
    """Transient queues, so that it is quick; one message in each hundredth."""
    with support.new(kind="sluice") as broker:
        connection = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, heartbeat=0))
        channel = connection.channel()
        # Without waiting for each answer: declare-ok is of the last ones only.
        for n in range(QUEUES - 1):
            channel._impl._send_method(pika.spec.Queue.Declare(queue=f"q{n:05}", nowait=True, arguments={"x-max-length": n + 1}))
        channel.queue_declare(f"q{QUEUES - 1:05}")
        for n in range(0, QUEUES, 100):
            channel.basic_publish("", f"q{n:05}", b"m")
        yield broker
        connection.close()


def resident_kib(broker):
    status = Path(f"/proc/{broker.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


def read(broker, path):
    request = urllib.request.Request(broker.management_url() + "/api" + path, headers={"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def test_all_of_them(many):
    queues = json.loads(read(many, "/queues"))
    assert [q["name"] for q in queues] == [f"q{n:05}" for n in range(QUEUES)]
    assert sum(q["messages"] for q in queues) == QUEUES / 100


def test_pages(many):
    api = Api(many)
    page = api.get("/queues?page=3&page_size=50&sort=arguments.x-max-length&sort_reverse=true&columns=name,messages")
    assert (page["total_count"], page["page_count"], page["item_count"]) == (QUEUES, QUEUES // 50, 50)
    assert page["items"][0] == {"name": f"q{QUEUES - 2 - 100:05}", "messages": 0}
    page = api.get("/queues?page=1&name=Q0001&columns=name")
    assert page["filtered_count"] == 10 and page["items"][0] == {"name": "q00010"}
    page = api.get("/queues?page=1&name=^q0000[1-3]$&use_regex=true")
    assert [q["name"] for q in page["items"]] == ["q00001", "q00002", "q00003"]
    api.close()


def ask(broker, path):
    host, port = broker.management_url().removeprefix("http://").split(":")
    peer = socket.create_connection((host, int(port)), timeout=60)
    peer.sendall(f"GET /api{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n".encode())
    return peer


def test_others_have_their_turn(many):
    """What is asked for behind a long list is answered before it: the list is written in slices."""
    read(many, "/version")  # the password is known from now on
    for _ in range(100):  # a list may be ready before a machine with other work has asked for more
        with ask(many, "/queues") as slow, ask(many, "/version") as quick:
            first, _, _ = select.select([slow, quick], [], [], 60)
            assert slow.recv(12) == b"HTTP/1.1 200"
        if first == [quick]:
            return
    pytest.fail("the list is always answered first")


def test_confirms_go_on(many):
    """A publisher that waits for each confirm sends more than a few messages while one list is read."""
    stop, confirmed = threading.Event(), []

    def publish():
        connection = pika.BlockingConnection(pika.ConnectionParameters(many.host, many.port, heartbeat=0))
        channel = connection.channel()
        channel.confirm_delivery()
        while not stop.is_set():
            channel.basic_publish("", "q00000", b"m")
            confirmed.append(1)
        connection.close()

    publisher = threading.Thread(target=publish)
    publisher.start()
    support.wait_until(lambda: confirmed, 60, "the first confirm")
    most, end = 0, time.monotonic() + 60
    while most < 10 and time.monotonic() < end:
        before = len(confirmed)
        read(many, "/queues")
        most = max(most, len(confirmed) - before)
    stop.set()
    publisher.join()
    assert most >= 10


def test_memory(many):
    """What a list needs is given back; a page needs no more than the list's text a few times."""
    size = len(read(many, "/queues"))
    before = resident_kib(many)
    for path in ("/queues", "/queues?page=1&sort=messages", "/queues?page=1&page_size=100&name=9") * 3:
        read(many, path)
    assert resident_kib(many) - before < 4 * size / 1024
