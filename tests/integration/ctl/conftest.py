"""A daemon for the tests of sluicectl: one for the module, and the CLI under both of its names.

SLUICED and SLUICECTL name the programs.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from support import broker as support  # noqa: E402


class Ctl:
    """Runs sluicectl, or rabbitmqctl and rabbitmq-diagnostics, which are the same program by another name."""

    def __init__(self, directory, socket):
        self.program = os.environ["SLUICECTL"]
        self.alias = directory / "rabbitmqctl"
        for name in ("rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins"):
            (directory / name).symlink_to(Path(self.program).resolve())
        self.socket = socket

    def environment(self, **extra):
        """Clean of the variables that the CLI reads."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SLUICECTL_", "RABBITMQ_"))}
        env.update({"LC_ALL": "C.UTF-8", "SLUICECTL_SOCKET": self.socket, **extra})
        return env

    def run(self, *arguments, alias=False, before=(), timeout=60, **environment):
        """The finished process: .returncode, .stdout and .stderr as text. alias: True (rabbitmqctl) or a name."""
        program = str(self.alias.with_name(alias) if isinstance(alias, str) else self.alias if alias else self.program)
        return subprocess.run([*before, program, *arguments], env=self.environment(**environment),
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False,
                              encoding="utf-8")


@pytest.fixture(scope="module")
def broker():
    """A daemon of its own for each file of tests."""
    with support.new(kind="sluice") as running:
        yield running


@pytest.fixture(scope="module")
def ctl(broker, tmp_path_factory):
    return Ctl(tmp_path_factory.mktemp("ctl"), broker.admin)
