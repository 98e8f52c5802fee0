"""`--prom`: names and labels that Prometheus takes, and nothing that is not known."""

import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pushctl.overview import SECTIONS
from pushctl.overview.prometheus import FAMILIES, PREFIX, exposition
from tests.unit.overview.looks import load, look, master, role, server

BUSY = look(
    servers=[server(), server(id='s"2\n', load=None, clock_ahead_ms=None)],
    roles=[role(), role(id="api-2")],
    masters=[master(), master(address="10.0.0.8:6379", state="away", seen_ms_ago=4000)],
)


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sample.labels.values()))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def test_every_family_is_there_and_each_row_once() -> None:
    found = samples(exposition(BUSY))
    assert {name for name, _ in found} == {PREFIX + family.name for family in FAMILIES}
    assert found[f"{PREFIX}server_connections", ("s1",)] == 120
    assert found[f"{PREFIX}server_state", ("s1", "ready")] == 1
    assert found[f"{PREFIX}server_state", ("s1", "dead")] == 0


def test_of_the_dead_only_that_they_are_and_since_when() -> None:
    found = samples(exposition(look(servers=[server(state="dead")], roles=[role(state="dead")]), "servers"))
    assert {name.removeprefix(PREFIX) for name, labels in found if "s1" in labels or "api-1" in labels} == {
        "server_state",
        "server_seen_seconds",
        "role_state",
        "role_seen_seconds",
    }


def test_what_is_not_known_is_left_out() -> None:
    found = samples(exposition(BUSY))
    assert (f"{PREFIX}server_cpu_cores", ('s"2\n',)) not in found
    assert found[f"{PREFIX}redis_up", ("10.0.0.8:6379",)] == 0
    assert (f"{PREFIX}redis_clients", ("10.0.0.8:6379",)) not in found
    assert not any(
        name.endswith(("_users", "_counted_seconds")) for name, _ in samples(exposition(look(users=None), "users"))
    )


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_has_its_own_families_and_those_of_all(section: str) -> None:
    there = {name.removeprefix(PREFIX) for name, _ in samples(exposition(BUSY, section))}
    assert there == {family.name for family in FAMILIES if family.section in ("", section)}


@pytest.mark.debian
def test_promtool_takes_it() -> None:
    done = subprocess.run(
        ["/usr/bin/promtool", "check", "metrics"], input=exposition(BUSY).encode(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_lag_of_zero_is_known() -> None:
    idle = look(servers=[server(load=load(lag_ms=0, cpu=0))])
    assert samples(exposition(idle))[f"{PREFIX}server_loop_lag_seconds", ("s1",)] == 0
