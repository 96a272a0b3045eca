"""Recorded output of rabbitmqctl: which calls, where it is kept, how it is compared.

RabbitMQ lists in the order of its tables, which is arbitrary: rows are compared sorted, everything before them exactly.
"""

import json
import re
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "data" / "ctl"

QUEUE_COLUMNS = """name durable auto_delete arguments policy exclusive exclusive_consumer_tag messages_ready
    messages_unacknowledged messages messages_ready_ram messages_unacknowledged_ram messages_ram messages_persistent
    message_bytes message_bytes_ready message_bytes_unacknowledged message_bytes_ram message_bytes_persistent consumers
    state type leader members online slave_pids synchronised_slave_pids""".split()
EXCHANGE_COLUMNS = "name type durable auto_delete internal arguments policy".split()

# How header rows begin.
HEADERS = ("name\t", "name\n", '"name"', "messages\t", "source_name\t", "queue_name\t", "user\t")

# name of the file: arguments
CASES = {
    "list_queues": ["list_queues"],
    "list_queues-quiet": ["-q", "list_queues"],
    "list_queues-silent": ["-s", "list_queues"],
    "list_queues-no-headers": ["list_queues", "--no-table-headers"],
    "list_queues-all": ["list_queues", *QUEUE_COLUMNS],
    "list_queues-all-csv": ["list_queues", "--formatter", "csv", *QUEUE_COLUMNS],
    "list_queues-some-json": ["list_queues", "--formatter", "json", "name", "messages", "durable", "policy",
                              "exclusive_consumer_tag"],
    "list_queues-store": ["list_queues", "name", "head_message_timestamp", "disk_reads", "disk_writes"],
    "list_queues-commas": ["list_queues", "messages", "name,state", "name"],
    "list_queues-offline": ["list_queues", "--offline"],
    "list_queues-local": ["-q", "list_queues", "--local", "name"],
    "list_queues-timeout": ["list_queues", "-t", "7", "name"],
    "list_queues-no-vhost": ["list_queues", "-p", "nope"],
    "list_queues-no-vhost-json": ["list_queues", "-p", "nope", "--formatter", "json"],
    "list_queues-no-vhost-csv": ["list_queues", "-p", "nope", "--formatter", "csv"],
    "list_queues-unknown-column": ["list_queues", "name", "nosuch", "other"],
    "list_queues-unknown-option": ["list_queues", "--bogus"],
    "list_exchanges": ["list_exchanges"],
    "list_exchanges-all": ["list_exchanges", *EXCHANGE_COLUMNS],
    "list_exchanges-all-csv": ["-s", "list_exchanges", "--formatter", "csv", *EXCHANGE_COLUMNS],
    "list_exchanges-all-json": ["list_exchanges", "--formatter", "json", *EXCHANGE_COLUMNS],
    "list_exchanges-no-vhost": ["list_exchanges", "-p", "nope"],
    "list_bindings": ["list_bindings"],
    "list_bindings-json": ["list_bindings", "--formatter", "json"],
    "list_consumers": ["list_consumers", "queue_name", "consumer_tag", "ack_required", "prefetch_count", "active",
                       "arguments"],
    "list_connections": ["list_connections", "user", "peer_host", "state", "channels", "protocol", "auth_mechanism",
                         "vhost", "timeout", "frame_max", "channel_max", "ssl", "client_properties"],
    "list_channels": ["list_channels", "user", "number", "vhost", "transactional", "confirm", "consumer_count",
                      "messages_unacknowledged", "messages_uncommitted", "acks_uncommitted", "messages_unconfirmed",
                      "prefetch_count", "global_prefetch_count"],
    "list_vhosts": ["list_vhosts"],
    "delete_queue-missing": ["delete_queue", "nope"],
    "delete_queue-used": ["delete_queue", "q.durable", "--if-unused"],
    "delete_queue-not-empty": ["delete_queue", "q.durable", "--if-empty"],
    "delete_queue-too-few": ["delete_queue"],
    "purge_queue-missing": ["purge_queue", "nope"],
    "purge_queue": ["purge_queue", "q.confirmed"],
    "purge_queue-too-many": ["purge_queue", "q.confirmed", "x"],
    "delete_queue": ["delete_queue", "q.confirmed", "--if-empty", "--if-unused"],
    "close_connection-gone": ["close_connection", "<a.1.2.3>", "because"],
    "nosuchcmd": ["nosuchcmd"],
    "list_queues-timeout-0": ["list_queues", "-t", "0"],
}


def read(name):
    """(stdout, exit status) as recorded."""
    index = json.loads((DATA / "index.json").read_text())
    return (DATA / f"{name}.out").read_bytes(), index[name]


def comparable(output):
    """Banners and header as they are, rows sorted. JSON rows lose the comma before them."""
    lines = re.findall("[^\n]*\n|[^\n]+$", output.decode())
    head = 0
    while head < len(lines) and lines[head].rstrip("\n").endswith("..."):
        head += 1
    if head < len(lines) and lines[head].startswith(HEADERS):
        head += 1
    rows = [line[1:] if line.startswith(",{") else line for line in lines[head:]]
    return lines[:head], sorted(rows)
