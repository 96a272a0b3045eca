"""What a test says about itself and about the broker: spec(), later, differs()."""

import pytest

PRODUCT = "sluice"
SEEN_DIFFERENCES = set()
ALL_VECTORS = range(1, 77)

later = pytest.mark.later


def set_product(product):
    """Called once, when the broker under test is known."""
    global PRODUCT
    PRODUCT = product


def spec(section, vector=()):
    """Marks a test with the section it checks and the vectors of section 23 it stands for."""
    vectors = (vector,) if isinstance(vector, int) else tuple(vector)
    return pytest.mark.spec(section=section, vector=vectors)


def differs(key, sluice, rabbitmq):
    """The expectation for the broker under test where Debian's RabbitMQ 3.10.8 is known to differ
    from what Sluice does. key is the row of the table in tests/conformance/README.md."""
    SEEN_DIFFERENCES.add(key)
    return rabbitmq if PRODUCT == "rabbitmq" else sluice


def vectors_of(items):
    """A text table of the vectors and the tests that stand for them."""
    found = {v: [] for v in ALL_VECTORS}
    for item in items:
        for mark in item.iter_markers("spec"):
            for v in mark.kwargs["vector"]:
                found[v].append(item.name)
    lines = [f"{v:3} {len(t):3} {', '.join(sorted(set(t))[:4]) or 'MISSING'}" for v, t in found.items()]
    missing = [v for v, t in found.items() if not t]
    return "\n".join(["", *lines, f"vectors without a test: {missing or 'none'}"])
