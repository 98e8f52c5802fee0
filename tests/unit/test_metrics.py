"""What Prometheus is given."""

import gc

import pytest

from pushctl.metrics import ApiMetrics, Metrics, SocketMetrics
from pushctl.stages import Stage
from pushctl.tally import ERROR_WORDS
from tests.metrics import of_all_roles, values


def test_every_stage_is_there_before_the_first_message() -> None:
    shown = [sample for metrics in of_all_roles() for sample in values(metrics)]
    reached = {labels for name, labels in shown if name == "pushctl_messages_total"}
    assert reached == {(stage.value,) for stage in Stage}
    assert values(ApiMetrics())["pushctl_role", ("api",)] == 1


def test_a_stage_counts_under_its_own_word() -> None:
    metrics = SocketMetrics()
    metrics.stage(Stage.WRITTEN)
    metrics.stage(Stage.WRITTEN, 4)
    assert values(metrics)["pushctl_messages_total", ("written",)] == 5
    assert values(metrics)["pushctl_messages_total", ("read",)] == 0


def test_two_roles_of_one_process_never_share_a_number() -> None:
    one, other = SocketMetrics(), SocketMetrics()
    one.connections.inc()
    assert values(one)["pushctl_connections", ()] == 1
    assert values(other)["pushctl_connections", ()] == 0


def test_the_process_says_how_many_files_it_has_open() -> None:
    assert values(ApiMetrics())["process_open_fds", ()] > 0


def test_a_histogram_says_how_many_were_quicker_and_their_sum() -> None:
    metrics = Metrics("api")
    tally = metrics.tallies("nap_seconds", "how long", ["how"], bounds=(0.1, 1.0)).of("well")
    for seconds in (0.05, 0.1, 0.5, 7.0):
        tally.add(seconds)
    tally.add(0.5, times=2)
    tally.add(-0.5)  # a clock was set back
    found = values(metrics)
    buckets = {labels[-1]: value for (name, labels), value in found.items() if name == "pushctl_nap_seconds_bucket"}
    assert buckets == {"0.1": 3, "1.0": 6, "+Inf": 7}
    assert found["pushctl_nap_seconds_count", ("well",)] == tally.count == 7
    assert found["pushctl_nap_seconds_sum", ("well",)] == pytest.approx(8.65)


def test_no_word_that_redis_says_makes_a_label_of_its_own() -> None:
    metrics = Metrics("api")
    for text in ("MOVED 1 127.0.0.1:7000", "ERR no such key", "SESAME open", "", "ERR again"):
        metrics.redis.error_reply(text)
    found = values(metrics).items()
    replies = {labels[0]: count for (name, labels), count in found if name == "pushctl_redis_error_replies_total"}
    assert {word: count for word, count in replies.items() if count} == {"MOVED": 1, "ERR": 2, "other": 2}
    assert replies.keys() == {*ERROR_WORDS, "other"}


def test_a_pause_of_pythons_collector_is_seen_by_every_role() -> None:
    api, socket = ApiMetrics(), SocketMetrics()
    gc.collect()  # so that none comes by itself meanwhile
    before = values(socket)["pushctl_collector_seconds_count", ("2",)]
    gc.collect()
    assert values(socket)["pushctl_collector_seconds_count", ("2",)] == before + 1
    assert values(api)["pushctl_collector_seconds_count", ("2",)] == before + 1
