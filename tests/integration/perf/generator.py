"""Running sluice-perf, which $SLUICE_PERF names."""

import json
import os
import subprocess

import pytest

LIMIT_S = 120


class Result:
    """What one run of sluice-perf did."""

    def __init__(self, done):
        self.status = done.returncode
        self.out = done.stdout
        self.err = done.stderr
        self.json = json.loads(done.stdout) if done.stdout.startswith("{") else None


def program():
    """The generator under test."""
    path = os.environ.get("SLUICE_PERF", "")
    if not path:
        pytest.fail("SLUICE_PERF is not set: it names the generator to test")
    return path


def run(*words):
    """Run it with these words alone."""
    return Result(subprocess.run([program(), *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                 timeout=LIMIT_S, check=False))
