"""How many processors a process may use."""

from __future__ import annotations

from textmill.base import machine


def test_quota_of_a_control_group(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    cores = machine.usable_cores()
    assert cores >= 1
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert machine.usable_cores() == min(cores, 2)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.usable_cores() == cores
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.usable_cores() == 1
