"""What a worker's steps become at /metrics."""

from backends.protocol import StepStats
from gateway.telemetry.metrics import Metrics


def test_cache_and_speculation_are_counted_whatever_else_a_step_did() -> None:
    metrics = Metrics()
    metrics.step("m", StepStats(prefix_queries=10, prefix_hits=4))
    metrics.step("m", StepStats(batch_items=1, prefix_queries=5, draft_tokens=8, draft_accepted=3))
    metrics.step("m", StepStats())
    text = metrics.render().decode()
    for name, value in {
        "prefix_cache_queries": 15,
        "prefix_cache_hits": 4,
        "spec_decode_num_draft_tokens": 8,
        "spec_decode_num_accepted_tokens": 3,
    }.items():
        assert f'llm_cortex_{name}_total{{model="m"}} {value}.0\n' in text
