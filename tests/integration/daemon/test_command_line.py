"""Options, configuration and what is wrong with them: nothing is started, nothing is written."""

import os
import subprocess

import pytest
from conftest import ROOT

USAGE, CONFIG = 64, 78


def test_help_goes_to_standard_output(sluiced):
    done = sluiced("--help")
    assert (done.status, done.err) == (0, "")
    for option in ("--config", "--check", "--version", "--print-config", "--data-dir", "--set"):
        assert option in done.out


def test_version(sluiced):
    done = sluiced("--version")
    assert done.status == 0
    program, version = done.out.split()
    assert program == "sluiced"
    assert f"project(sluice VERSION {version} " in (ROOT / "CMakeLists.txt").read_text()


@pytest.mark.parametrize("words", [("--nosuch",), ("surplus",), ("--config",), ("-x",)])
def test_wrong_usage(sluiced, words):
    done = sluiced(*words)
    assert (done.status, done.out) == (USAGE, "")
    assert "--help" in done.err


def test_check_of_a_right_file(sluiced, config, tmp_path):
    path = config("listeners.tcp.1 = 127.0.0.1:0", "heartbeat = 30", f"node.data_dir = {tmp_path}/data")
    done = sluiced("--check", "--config", path)
    assert (done.status, done.err) == (0, "")
    assert str(path) in done.out
    assert not (tmp_path / "data").exists()


WRONG = [
    ("heartbeet = 5", ["heartbeet", "did you mean heartbeat?"]),
    ("frame_max = 1", ["frame_max = 1", "4 KiB", "16 MiB"]),
    ("channel_max = 65536", ["channel_max = 65536", "65535"]),
    ("max_message_size = 1GiB", ["max_message_size = 1GiB", "128 MiB"]),
    ("listeners.tcp.1 = 127.0.0.1:99999", ["listeners.tcp.1 = 127.0.0.1:99999", "port"]),
    ("store.flush = maybe", ["store.flush = maybe", "group", "full", "interval"]),
    ("allow_root = perhaps", ["allow_root = perhaps", "true", "false"]),
    ("log.console.level = loud", ["log.console.level = loud", "warning"]),
    ("shutdown.timeout = soon", ["shutdown.timeout = soon"]),
    ("no equals sign", ["no equals sign", "key = value"]),
]


@pytest.mark.parametrize(("line", "texts"), WRONG, ids=[w[0].split(" ")[0] for w in WRONG])
@pytest.mark.parametrize("how", ["check", "start"])
def test_wrong_configuration(sluiced, config, tmp_path, line, texts, how):
    path = config("# the mistake is in line 2", line)
    words = ["--config", path, "--data-dir", tmp_path / "data", *(["--check"] if how == "check" else [])]
    done = sluiced(*words)
    assert (done.status, done.out) == (CONFIG, "")
    assert f"{path}:2: " in done.err
    for text in texts:
        assert text in done.err
    assert not (tmp_path / "data").exists()


def test_every_mistake_is_named_at_once(sluiced, config):
    done = sluiced("--check", "--config", config("heartbeet = 5", "frame_max = 1"))
    assert done.status == CONFIG
    assert ":1: " in done.err
    assert ":2: " in done.err


def test_a_file_that_is_not_there(sluiced, tmp_path):
    done = sluiced("--check", "--config", tmp_path / "nosuch.conf")
    assert done.status == CONFIG
    assert f"{tmp_path}/nosuch.conf" in done.err
    assert "No such file" in done.err


def test_a_key_of_rabbitmq_that_does_nothing_yet_is_a_warning(sluiced, config):
    done = sluiced("--check", "--config", config("cluster_partition_handling = ignore"))
    assert done.status == 0
    assert "warning" in done.err
    assert "cluster_partition_handling" in done.err


def test_a_wrong_word_of_set_is_named(sluiced):
    done = sluiced("--check", "--set", "heartbeat=often")
    assert done.status == CONFIG
    assert "heartbeat = often" in done.err


def test_a_wrong_variable_is_named(sluiced):
    done = sluiced("--check", SLUICE_CONF__frame_max="1")
    assert done.status == CONFIG
    assert "frame_max = 1" in done.err


def printed(text):
    """Keys and values; a comment behind a value says where it comes from."""
    lines = [line.split(" # ")[0] for line in text.splitlines() if not line.startswith("#")]
    return dict(line.split(" = ", 1) for line in lines if " = " in line)


def test_print_config_is_a_file_that_can_be_read(sluiced, config):
    first = sluiced("--print-config", "--config", config("heartbeat = 30", "default_pass = hush"))
    assert first.status == 0
    assert "hush" not in first.out
    keys = printed(first.out)
    assert keys["heartbeat"].startswith("30")
    assert "frame_max" in keys
    again = sluiced("--print-config", "--config", config(*first.out.splitlines()))
    assert again.status == 0
    assert printed(again.out) == keys


def test_the_last_source_wins(sluiced, config):
    """file, then environment, then --set."""
    path = config("heartbeat = 10", "channel_max = 10", "frame_max = 8192")
    done = sluiced("--print-config", "--config", path, "--set", "frame_max=16384",
                   SLUICE_CONF__channel_max="20", SLUICE_CONF__frame_max="12288")
    keys = printed(done.out)
    assert keys["heartbeat"].startswith("10")
    assert keys["channel_max"] == "20"
    assert keys["frame_max"] in ("16384", "16KiB", "16 KiB")


def test_variables_with_names_of_their_own(sluiced, tmp_path):
    done = sluiced("--print-config", SLUICE_DATA_DIR=str(tmp_path / "there"), SLUICE_NODE_NAME="left@here",
                   SLUICE_LOG_LEVEL="debug", RABBITMQ_DEFAULT_USER="theirs", SLUICE_DEFAULT_USER="ours",
                   RABBITMQ_DEFAULT_VHOST="v", RABBITMQ_NODE_PORT="5699")
    keys = printed(done.out)
    assert keys["node.data_dir"] == str(tmp_path / "there")
    assert keys["node.name"] == "left@here"
    assert keys["log.console.level"] == "debug"
    assert keys["default_user"] == "ours"
    assert keys["default_vhost"] == "v"
    assert any(k.startswith("listeners.tcp.") and v.endswith("5699") for k, v in keys.items())


def test_the_sample_file_is_valid_and_changes_nothing(sluiced, tmp_path):
    sample = sluiced("--print-sample")
    assert sample.status == 0
    path = tmp_path / "sample.conf"
    path.write_text(sample.out)
    assert sluiced("--check", "--config", path).status == 0
    assert printed(sluiced("--print-config", "--config", path).out) == printed(sluiced("--print-config").out)
    assert "heartbeat = 60" in sample.out


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_root_is_refused_unless_allowed(sluiced, tmp_path):
    done = sluiced("--data-dir", tmp_path / "data", "--set", "listeners.tcp.1=127.0.0.1:0")
    assert done.status == CONFIG
    assert "allow_root" in done.err
    assert not (tmp_path / "data").exists()


def test_the_manual_names_every_option(sluiced):
    """packaging/man/sluiced.8 against --help."""
    text = (ROOT / "packaging/man/sluiced.8").read_text().replace("\\-", "-")
    options = {w.strip(",") for line in sluiced("--help").out.splitlines() if line.startswith("  ") for w in line.split()
               if w.startswith("--")}
    assert options
    assert [o for o in sorted(options) if o not in text] == []


def test_the_manual_of_the_keys_is_up_to_date(sluiced):
    assert (ROOT / "packaging/man/sluice.conf.5").read_text() == sluiced("--print-man").out


def test_output_into_a_closed_pipe_is_no_crash():
    with subprocess.Popen([os.environ["SLUICED"], "--print-sample"], stdout=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait(30) in (0, -13, 74)
