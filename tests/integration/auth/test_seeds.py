"""What new vhosts begin with by configuration, as in RabbitMQ 3.12 and later: limits, operator policies, users with permissions."""

import json

import pytest
from test_auth import connect, ctl, support

CONFIG = {
    "default_limits.vhosts.small.pattern": "^small",
    "default_limits.vhosts.small.max_connections": "5",
    "default_limits.vhosts.small.max_queues": "7",
    "default_policies.operator.cap.vhost_pattern": "^(small|/$)",
    "default_policies.operator.cap.queue_pattern": "^q",
    "default_policies.operator.cap.max_length": "10",
    "default_policies.operator.cap.expires": "2m",
    "default_users.qa.vhost_pattern": "^small",
    "default_users.qa.password": "seeded",
    "default_users.qa.tags": "policymaker,monitoring",
    "default_users.qa.configure": "^qa",
    "default_users.qa.read": ".*",
    "default_users.guest.vhost_pattern": "^small",
    "default_users.guest.password": "other",
    "default_users.guest.configure": "^g",
}
POLICY = ["cap", "^q", "queues", '{"expires":120000,"max-length":10}', "0"]


@pytest.fixture(scope="module")
def seeded():
    with support.Sluice(CONFIG) as b:
        yield b


def rows(b, *words):
    return [line.split("\t") for line in ctl(b, "-s", *words).splitlines()]


def policies(b, vhost):
    return [[*row[:4], json.dumps(json.loads(row[4]), sort_keys=True, separators=(",", ":")), *row[5:]]
            for row in rows(b, "list_operator_policies", "-p", vhost)]


def test_a_vhost_that_matches_gets_them(seeded):
    ctl(seeded, "add_vhost", "small-1")
    assert json.loads(ctl(seeded, "list_vhost_limits", "-p", "small-1")) == {"max-connections": 5, "max-queues": 7}
    assert policies(seeded, "small-1") == [["small-1", *POLICY]]
    assert ["qa", "[policymaker, monitoring]"] in rows(seeded, "list_users")
    # Who is there already keeps the password and gets the permissions.
    assert sorted(rows(seeded, "list_permissions", "-p", "small-1")) == [["guest", "^g", "", ""], ["qa", "^qa", "", ".*"]]
    connect(seeded, "qa", "seeded", "small-1").close()
    connect(seeded, "guest", "guest").close()


def test_the_default_vhost_may_match(seeded):
    assert policies(seeded, "/") == [["/", *POLICY]]
    assert ctl(seeded, "list_vhost_limits").strip() == ""


def test_another_gets_nothing(seeded):
    ctl(seeded, "add_vhost", "large")
    assert ctl(seeded, "list_vhost_limits", "-p", "large").strip() == ""
    assert policies(seeded, "large") == [] and rows(seeded, "list_permissions", "-p", "large") == []


def test_imported_vhosts_get_them_and_the_file_wins(seeded):
    body = {"vhosts": [{"name": "small-2"}],
            "parameters": [{"vhost": "small-2", "component": "vhost-limits", "name": "limits", "value": {"max-queues": 1}}],
            "permissions": [{"user": "guest", "vhost": "small-2", "configure": "^file", "write": "", "read": ""}]}
    ctl(seeded, "import_definitions", stdin=json.dumps(body))
    assert json.loads(ctl(seeded, "list_vhost_limits", "-p", "small-2")) == {"max-queues": 1}
    assert policies(seeded, "small-2") == [["small-2", *POLICY]]
    assert ["guest", "^file", "", ""] in rows(seeded, "list_permissions", "-p", "small-2")


def test_changed_again_it_stays_changed(seeded):
    ctl(seeded, "add_vhost", "small-3")
    ctl(seeded, "clear_operator_policy", "-p", "small-3", "cap")
    ctl(seeded, "add_vhost", "small-3", "--description", "there already")
    assert policies(seeded, "small-3") == []
