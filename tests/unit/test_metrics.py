"""What Prometheus is given."""

from prometheus_client.parser import text_string_to_metric_families

from pushctl.metrics import Metrics
from pushctl.stages import Stage


def values(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_every_stage_is_there_before_the_first_message() -> None:
    found = values(Metrics("api"))
    assert {("pushctl_messages_total", (stage.value,)) for stage in Stage} <= set(found)
    assert found["pushctl_role", ("api",)] == 1


def test_a_stage_counts_under_its_own_word() -> None:
    metrics = Metrics("socket")
    metrics.stage(Stage.WRITTEN)
    metrics.stage(Stage.WRITTEN, 4)
    assert values(metrics)["pushctl_messages_total", ("written",)] == 5
    assert values(metrics)["pushctl_messages_total", ("read",)] == 0


def test_two_roles_of_one_process_never_share_a_number() -> None:
    api, gc = Metrics("api"), Metrics("gc")
    api.connections.inc()
    assert values(api)["pushctl_connections", ()] == 1
    assert values(gc)["pushctl_connections", ()] == 0


def test_the_process_says_how_many_files_it_has_open() -> None:
    assert values(Metrics("api"))["process_open_fds", ()] > 0
