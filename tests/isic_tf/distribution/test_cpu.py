from isic_tf.distribution import cpu


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda pid: {0, 3, 5})
    assert cpu.count_cores() == 3
    monkeypatch.delattr(cpu.os, "sched_getaffinity")
    monkeypatch.setattr(cpu.os, "cpu_count", lambda: None)
    assert cpu.count_cores() == 1
