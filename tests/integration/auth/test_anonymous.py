"""ANONYMOUS: whoever comes is anonymous_login_user. RabbitMQ has it from 4.0 on."""

import sys
from pathlib import Path

import pika
import pytest
from pika import credentials

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
import broker as support  # noqa: E402


class Anonymous:
    """pika's idea of a mechanism."""

    TYPE = "ANONYMOUS"

    def __init__(self):
        self.erase_on_connect = False

    def response_for(self, start):
        """The trace that RFC 4505 allows, which nobody looks at."""
        if b"ANONYMOUS" not in start.mechanisms.split():
            return None, None
        return self.TYPE, b"somebody@example.com"

    def erase_credentials(self):
        """Nothing to erase."""


credentials.VALID_TYPES.append(Anonymous)


def connect(broker, who=None):
    return pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, credentials=who or Anonymous()))


BOTH = {"auth_mechanisms.1": "PLAIN", "auth_mechanisms.2": "ANONYMOUS", "anonymous_login_user": "guest"}


def test_whoever_comes_is_that_user():
    with support.new(BOTH) as broker:
        connection = connect(broker)
        channel = connection.channel()
        channel.queue_declare("q")
        channel.confirm_delivery()
        channel.basic_publish("", "q", b"x", pika.BasicProperties(user_id="guest"))
        connection.close()
        assert "user 'guest' authenticated and granted access" in broker.log_text()
        # Over a reload it goes away for those who come later, and comes back.
        broker.set_config("anonymous_login_user", "none")
        with pytest.raises(pika.exceptions.AuthenticationError):
            connect(broker)
        broker.set_config("anonymous_login_user", "guest")
        connect(broker).close()


@pytest.mark.parametrize("config", [
    {},
    {"anonymous_login_user": "guest"},
    {"auth_mechanisms.1": "PLAIN", "auth_mechanisms.2": "ANONYMOUS"},
    {**BOTH, "anonymous_login_user": "none"},
])
def test_it_is_offered_when_both_keys_say_so_only(config):
    with support.new(config) as broker:
        with pytest.raises(pika.exceptions.AuthenticationError):
            connect(broker)
        connect(broker, pika.PlainCredentials("guest", "guest")).close()


@pytest.mark.parametrize("config", [{"anonymous_login_pass": "wrong"}, {"anonymous_login_user": "nobody"}])
def test_that_user_is_checked_as_any(config):
    with support.new({**BOTH, **config}) as broker:
        with pytest.raises(pika.exceptions.ProbableAuthenticationError) as error:
            connect(broker)
        assert "Login was refused using authentication mechanism ANONYMOUS" in str(error.value)
