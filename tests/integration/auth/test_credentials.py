"""credential_validator.*: passwords that are refused. The API's answers are those of RabbitMQ 3.10.8 (BROKER=rabbitmq compares)."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pika
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
import broker as support  # noqa: E402

ADMIN = "guestguest"
HASH = "A" * 48  # 4 octets of salt and a SHA-256, of no password that is known
BACKEND = "credential_validator.validation_backend"
RULES = {
    "length": ({BACKEND: "rabbit_credential_validator_min_password_length", "credential_validator.min_length": "6"},
               "xyz1234", "minimum required password length is 6"),
    "regexp": ({BACKEND: "rabbit_credential_validator_password_regexp",
                "credential_validator.regexp": r"^guest|^xyz\d{3,5}$"},
               "xyz1234", "provided password does not match the validator regular expression"),
}


@pytest.fixture(scope="module", params=RULES)
def rule(request):
    config, good, text = RULES[request.param]
    with support.new({**config, "default_pass": ADMIN}, plugins=("rabbitmq_management",)) as broker:
        yield broker, good, text


def http(broker, method, path, body):
    request = urllib.request.Request(
        broker.management_url() + path, method=method, data=json.dumps(body).encode(),
        headers={"content-type": "application/json",
                 "authorization": "Basic " + b64encode(f"guest:{ADMIN}".encode()).decode()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, {}
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def refused(answer):
    status, body = answer
    # Sluice names the user of a file before the word.
    return status == 400 and body["error"] == "bad_request" and body["reason"].endswith("credential_validation_failed")


def ctl(broker, *words):
    return subprocess.run([*broker.ctl_words(), *words], capture_output=True, text=True, timeout=120, check=False)


def test_put_user(rule):
    broker, good, _ = rule
    assert refused(http(broker, "PUT", "/api/users/a", {"password": "short", "tags": ""}))
    assert http(broker, "PUT", "/api/users/a", {"password": good, "tags": ""})[0] == 201
    assert refused(http(broker, "PUT", "/api/users/a", {"password": "short", "tags": ""}))
    assert refused(http(broker, "PUT", "/api/users/b", {"tags": ""}))  # without a password it is an empty one
    assert http(broker, "PUT", "/api/users/c", {"password_hash": "", "tags": ""})[0] == 201
    assert http(broker, "PUT", "/api/users/d", {"password_hash": HASH, "tags": ""})[0] == 201


def test_definitions(rule):
    broker, good, _ = rule
    user = {"name": "e", "tags": ""}
    assert refused(http(broker, "POST", "/api/definitions", {"users": [{**user, "password": "short"}]}))
    assert http(broker, "POST", "/api/definitions", {"users": [{**user, "password": good}]})[0] == 204
    hashed = {"password_hash": HASH, "hashing_algorithm": "rabbit_password_hashing_sha256"}
    assert http(broker, "POST", "/api/definitions", {"users": [{**user, "name": "f", **hashed}]})[0] == 204


def test_the_command_line_gives_the_reason(rule):
    broker, good, text = rule
    for words in (("add_user", "g", "short"), ("change_password", "guest", "short")):
        done = ctl(broker, *words)
        assert (done.returncode, done.stderr) == (69, f"Error:\n{text}\n")
    assert ctl(broker, "add_user", "g", good).returncode == 0
    assert "Credential validation for 'g' failed!" in broker.log_text()


@pytest.mark.skipif(os.environ.get("BROKER", "sluice") != "sluice", reason="RabbitMQ ends at the next start for a while")
def test_a_default_user_whose_password_is_refused_prevents_the_first_start():
    broker = support.new({**RULES["length"][0], "default_pass": "short"})
    try:
        with pytest.raises(support.BrokerError) as error:
            broker.start()
        assert "minimum required password length is 6" in str(error.value)
        assert "status 78" in str(error.value)
        broker.config["default_pass"] = ADMIN  # nothing was created, so this still is the first start
        broker.start()
        pika.BlockingConnection(pika.ConnectionParameters(
            broker.host, broker.port, credentials=pika.PlainCredentials("guest", ADMIN))).close()
        # A user that exists keeps its password under any rule.
        broker.config.update({"default_pass": "short", "credential_validator.min_length": "20"})
        broker.restart()
        pika.BlockingConnection(pika.ConnectionParameters(
            broker.host, broker.port, credentials=pika.PlainCredentials("guest", ADMIN))).close()
    finally:
        broker.close()
