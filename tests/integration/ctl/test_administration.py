"""As rabbitmqctl and rabbitmq-diagnostics: what RabbitMQ's own programs print and how they end, call after call."""

import administration
import pytest


@pytest.mark.parametrize("name", administration.CASES)
def test_prints_what_rabbitmq_prints(name, ctl, broker):
    want, status = administration.read(name)
    done = ctl.run(*administration.arguments(name, broker.port), alias=administration.program(name))
    assert administration.comparable(done.stdout.encode()) == administration.comparable(want), done.stderr
    assert done.returncode == status, done.stderr
