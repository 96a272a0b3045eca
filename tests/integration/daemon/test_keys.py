"""Keys of RabbitMQ: each is known, and has an effect or a reason why it has none."""

import re
from pathlib import Path

import pytest

PLUGINS = Path("/usr/lib/rabbitmq/lib")
SCHEMAS = ("rabbit", "rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_prometheus")


def keys():
    """Every key that the schemas of the installed RabbitMQ name, with x1 for what is free in it."""
    found = set()
    for name in SCHEMAS:
        for file in PLUGINS.glob(f"*/plugins/{name}-*/priv/schema/*.schema"):
            found.update(re.findall(r'^{mapping, *"([^"]+)"', file.read_text(), re.MULTILINE))
    return sorted(re.sub(r"\$\w+", "x1", key) for key in found)


@pytest.mark.skipif(not keys(), reason="no RabbitMQ is installed whose schema could be read")
def test_no_key_of_rabbitmq_is_unknown(sluiced, config):
    some = keys()
    assert len(some) > 300
    for i in range(0, len(some), 100):  # at most 200 notes are kept
        done = sluiced("--check", "--config",
                       config("config.unknown_keys = warn", *(f"{key} = x" for key in some[i:i + 100])))
        assert "unknown key" not in done.err, done.err


def test_what_has_no_effect_is_told_with_the_reason(sluiced, config):
    done = sluiced("--check", "--config", config("reverse_dns_lookups = true", "log.file.level = info",
                                                 "num_acceptors.tcp = 10", "log.file.rotation.date = $D0"))
    assert done.status == 0
    for text in ("reverse_dns_lookups has no effect: ", "log.file.rotation.date has no effect: logrotate",
                 "num_acceptors.tcp has no effect: ", "log.file.level = info: has no effect, log.file is not set"):
        assert text in done.err, done.err
