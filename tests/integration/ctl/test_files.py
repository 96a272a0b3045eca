"""The shipped man page and completion are what the tables say."""

import os
import subprocess
from pathlib import Path

import pytest

PACKAGING = Path(__file__).resolve().parents[3] / "packaging"


def test_man_page_is_up_to_date():
    made = subprocess.run([os.environ["SLUICECTL"], "__man"], capture_output=True, check=True).stdout
    assert made == (PACKAGING / "man" / "sluicectl.1").read_bytes(), "run: sluicectl __man > packaging/man/sluicectl.1"


def test_help_and_man_page_have_every_command():
    def run(*words):
        return subprocess.run([os.environ["SLUICECTL"], *words], capture_output=True, check=True, text=True).stdout

    offered = run("__complete", "").split()
    helped = [line.split()[0] for line in run("help").split("Available commands:")[1].splitlines() if line.startswith("   ")]
    page = (PACKAGING / "man" / "sluicectl.1").read_text()
    assert len(offered) > 90
    assert sorted(offered) == sorted(set(offered) & set(helped)), set(offered) - set(helped)
    assert [name for name in offered if f"\n.B {name}" not in page] == []


def test_bash_completion_offers_commands(tmp_path):
    program = Path(os.environ["SLUICECTL"]).resolve()
    (tmp_path / "sluicectl").symlink_to(program)
    script = f"""
        PATH={tmp_path}:$PATH
        . {PACKAGING}/completions/sluicectl.bash
        COMP_WORDS=(sluicectl list_e); COMP_CWORD=1
        _sluicectl
        printf '%s\\n' "${{COMPREPLY[@]}}"
        COMP_WORDS=(sluicectl list_exchanges ty); COMP_CWORD=2
        _sluicectl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["list_exchanges", "type"]


@pytest.mark.parametrize("tool", ["man"])
def test_man_page_has_no_warnings(tool):
    page = PACKAGING / "man" / "sluicectl.1"
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", str(page)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
