import re

from isic_tf.server.metrics import Metrics


def test_the_text_is_that_of_prometheus():
    metrics = Metrics()
    for seconds in (0.01, 0.2, 0.25, 90.0):
        metrics.count_request("/judge", 200, seconds)
    metrics.count_request("/judge", 422, 0.01)
    metrics.count_request("/health", 200, 5.0)
    metrics.count_images(3)
    text = metrics.format(passes=2)
    lines = text.splitlines()
    assert text.endswith("\n")
    for line in (
        'isic_requests_total{path="/judge",status="200"} 4',
        'isic_requests_total{path="/judge",status="422"} 1',
        'isic_requests_total{path="/health",status="200"} 1',
        # Cumulative, with the bound itself.
        'isic_judge_seconds_bucket{le="0.05"} 2',
        'isic_judge_seconds_bucket{le="0.25"} 4',
        'isic_judge_seconds_bucket{le="60.0"} 4',
        'isic_judge_seconds_bucket{le="+Inf"} 5',
        "isic_judge_seconds_count 5",
        "isic_images_total 3",
        "isic_passes_total 2",
        "# TYPE isic_judge_seconds histogram",
    ):
        assert line in lines
    assert float(re.search(r"isic_judge_seconds_sum (\S+)", text)[1]) == 90.47
    assert int(re.search(r"^process_resident_memory_bytes (\d+)$", text, re.MULTILINE)[1]) > 1 << 20
    # Each name has its help and its type once, before its values.
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) == 6
    sample = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+]+')
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)
