"""Sections 1, 3.4, 4: what takes seconds. The probes run beside all other tests (probes.py). What is said of times is that
nothing happens early; how late it happens is the machine's affair."""

import pytest

from expect import differs, spec

pytestmark = pytest.mark.slow_probe


def ended_silently(e, low=2.5):
    assert e.closed and e.names == []
    assert e.seconds >= low, e.seconds


def ended_with_close(e, code, text=None):
    assert e.closed, "TCP stayed open"
    assert e.names == ["connection.close"], e.names
    assert e.methods[0].code == code
    if text:
        assert text in e.methods[0].text


@spec("3.4", vector=3)
@pytest.mark.parametrize("probe", [
    "wrong_password_without_capability", "wrong_password_with_false_capability",
    "capability_that_is_no_bool", "malformed_plain_without_capability",
    "unknown_mechanism_without_capability"])
def test_refused_login_is_silent_without_capability(background, probe):
    ended_silently(background.result(probe))


@spec("3.4")
@pytest.mark.parametrize("probe,code,text", [
    ("malformed_plain_with_capability", 502, "invalid"),
    ("plain_with_three_parts", 502, "invalid"),
    ("amqplain_without_password", 502, None),
    ("unknown_mechanism_with_capability", 503, "unknown authentication mechanism 'KERBEROS'")])
def test_refused_login_says_why_with_capability(background, probe, code, text):
    e = background.result(probe)
    if differs("C1", "close", rabbitmq="silence") == "silence":
        ended_silently(e)
    else:
        ended_with_close(e, code, text)


@spec("4.3", vector=6)
@pytest.mark.parametrize("probe,text", [
    ("channel_max_too_high", "negotiated channel_max = 3000 is higher than the maximum allowed value (2047)"),
    ("frame_max_too_high", "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"),
    ("frame_max_too_low", "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)")])
def test_bad_tune_ok(background, probe, text):
    e = background.result(probe)
    if differs("C1", "close", rabbitmq="silence") == "silence":
        ended_silently(e)
    else:
        ended_with_close(e, 530, text)


@spec("4.3", vector=6)
@pytest.mark.parametrize("probe", ["channel_max_too_high_without_capability"])
def test_bad_tune_ok_is_silent_without_capability(background, probe):
    ended_silently(background.result(probe))


@spec("4.3", vector=5)
@pytest.mark.parametrize("probe", ["heartbeat_one_then_silence"])
def test_two_missed_heartbeats_close_tcp(background, probe):
    e = background.result(probe)
    ended_silently(e, 1.9)
    assert e.heartbeats >= 1


@spec("4.3")
@pytest.mark.parametrize("probe", ["heartbeats_keep_a_connection"])
def test_heartbeats_keep_a_connection(background, probe):
    assert background.result(probe) >= 1


@spec("4.3")
@pytest.mark.parametrize("probe", ["traffic_counts_as_heartbeat"])
def test_traffic_counts_as_heartbeat(background, probe):
    assert background.result(probe)


@spec("4.3")
@pytest.mark.parametrize("probe", ["heartbeat_zero"])
def test_heartbeat_zero_switches_it_off(background, probe):
    assert background.result(probe) == 0


@spec("1.1")
@pytest.mark.parametrize("probe", ["handshake_never_begun"])
def test_handshake_timeout_of_a_silent_client(background, probe):
    seconds, got = background.result(probe)
    assert seconds >= 9 and got == b""


@spec("1.1")
@pytest.mark.parametrize("probe", ["handshake_never_finished"])
def test_handshake_timeout_after_start(background, probe):
    ended_silently(background.result(probe), 9)


@spec("3.4")
@pytest.mark.parametrize("probe", ["close_not_answered"])
def test_close_that_is_not_answered(background, probe):
    e = background.result(probe)
    ended_with_close(e, 504)
    assert e.seconds >= 1.5


@spec("1.2")
@pytest.mark.parametrize("probe", ["bad_frame_then_silence"])
def test_bad_frame_then_silence(background, probe):
    ended_with_close(background.result(probe), 501)
