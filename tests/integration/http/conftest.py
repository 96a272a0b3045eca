"""One broker and a client of its management API for the tests of this folder."""

import base64
import http.client
import json
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from support import broker as support  # noqa: E402

TIMEOUT = 60


class Answer:
    def __init__(self, response, text):
        self.status = response.status
        self.headers = response.headers
        self.text = text
        self.json = json.loads(text) if text else None

    def __repr__(self):
        return f"{self.status} {self.text!r}"


class Api:
    """One request at a time on one connection."""

    def __init__(self, broker, user="guest:guest"):
        host, port = broker.addresses["http"].rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
        self.headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}

    def ask(self, method, path, body=None):
        """body: anything that JSON can say; bytes go out as they are."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.connection.request(method, "/api" + path, body, self.headers)
        response = self.connection.getresponse()
        return Answer(response, response.read())

    def get(self, path):
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def put(self, path, body=None):
        return self.ask("PUT", path, body)

    def post(self, path, body=None):
        return self.ask("POST", path, body)

    def delete(self, path):
        return self.ask("DELETE", path)

    def publish(self, key, payload="m", exchange="amq.default", properties=None, **more):
        return self.post(f"/exchanges/%2F/{quote(exchange, safe='')}/publish",
                         {"properties": properties or {}, "routing_key": key, "payload": payload,
                          "payload_encoding": "string", **more})

    def take(self, queue, count=1, ackmode="ack_requeue_false", encoding="auto", **more):
        answer = self.post(f"/queues/%2F/{quote(queue, safe='')}/get",
                           {"count": count, "ackmode": ackmode, "encoding": encoding, **more})
        assert answer.status == 200, answer
        return answer.json

    def close(self):
        self.connection.close()


@pytest.fixture(scope="session")
def shared():
    # A client waits for others here, longer than a minute where the machine is slow.
    with support.new(kind="sluice", config={"management.tcp.idle_timeout": "10m"}) as running:
        yield running


@pytest.fixture
def api(shared):
    client = Api(shared)
    yield client
    client.close()
