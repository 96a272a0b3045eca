"""shutdown and stop: the command ends when the daemon's process has."""

import os


def test_shutdown_waits_until_the_process_is_gone(ctl, broker, tmp_path):
    done = ctl.run("shutdown")
    assert done.returncode == 0, done.stderr
    assert broker.proc.wait(60) == 0
    assert not os.path.exists(broker.admin)
    assert ctl.run("ping").returncode == 69
    broker.start()
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{broker.pid}\n")
    assert ctl.run("stop", str(tmp_path / "none")).returncode == 65, "nothing was stopped"
    assert broker.running()
    assert ctl.run("stop", str(pidfile)).returncode == 0
    assert broker.proc.wait(60) == 0
