"""As rabbitmqctl: the bytes that RabbitMQ's own program prints for the same objects, and its exit status."""

import golden
import pytest
import topology


@pytest.fixture(scope="module")
def objects(broker):
    made = topology.Topology(broker.host, broker.port)
    yield made
    made.close()


# In the order of the table: the last ones change what the first ones list.
@pytest.mark.parametrize("name", golden.CASES)
def test_prints_what_rabbitmqctl_prints(name, ctl, objects):
    want, status = golden.read(name)
    done = ctl.run(*golden.CASES[name], alias=True)
    got = done.stdout.encode()
    assert golden.comparable(got) == golden.comparable(want), done.stderr
    assert done.returncode == status, done.stderr


def test_the_recorded_rows_are_not_empty():
    """Guards the comparison itself: a recording without rows would agree with anything."""
    head, rows = golden.comparable(golden.read("list_queues-all")[0])
    assert len(head) == 3 and len(rows) == 7
    assert all(len(row.split("\t")) >= len(golden.QUEUE_COLUMNS) for row in rows)
