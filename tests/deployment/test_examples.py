"""Every file of examples/ to deploy with: its configuration is good, its times are enough, its parts fit together."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushctl.config.load import load
from pushctl.config.model import Config
from pushctl.config.schema import split_address, value_at
from roles.api.receipts import LONGEST_WAIT_SECONDS
from tests.deployment.files import (
    EXAMPLES,
    UNITS,
    Secrets,
    Start,
    composed,
    config_map,
    documents,
    manifests,
    of_kind,
    pods,
    settings,
    units,
)
from tests.house.markdown import Document
from tests.unit.cli.commands import run

STARTS = [*units(), *composed("compose.yaml"), *composed("compose.yaml", "compose.trial.yaml"), *pods()]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return Secrets.write(tmp_path_factory.mktemp("secrets"))


def configuration(start: Start, folder: Path) -> Path:
    """The directory that is /etc/pushctl/conf.d where this is started."""
    if start.file.startswith("kubernetes"):
        return config_map(folder)
    return (UNITS / "conf.d") if start.file.endswith(".service") else EXAMPLES / "container"


def loaded(start: Start, secrets: Secrets, folder: Path) -> Config:
    environment = {name: secrets.here(value) for name, value in start.environment.items()}
    return load([configuration(start, folder)], [], environment).config


@pytest.mark.parametrize("start", STARTS, ids=lambda start: f"{start.file}:{start.name}")
def test_what_an_example_starts_has_a_good_configuration_and_the_time_to_drain(
    start: Start, secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in start.environment.items():
        monkeypatch.setenv(name, secrets.here(value))
    here = str(configuration(start, tmp_path))
    ran = run(*(argument for argument in start.arguments if argument != "--once"), "--check", "--config", here)
    assert ran.code == 0, ran.err
    assert start.grace_seconds > value_at(loaded(start, secrets, tmp_path), f"{start.role}.drain_seconds")


@pytest.mark.parametrize("name", ["systemd/conf.d", "container", "kubernetes"])
def test_the_strict_check_has_nothing_against_it(name: str, tmp_path: Path) -> None:
    here = config_map(tmp_path) if name == "kubernetes" else EXAMPLES / name
    assert run("config", "check", "--strict", "--config", str(here)).code == 0


def test_each_example_starts_every_role_and_several_socket_servers_can_stand_side_by_side() -> None:
    for file in (".service", "compose.yaml", "kubernetes"):
        assert {start.role for start in STARTS if file in start.file} == {"api", "boxoffice", "socket", "router", "gc"}
    one, two = (start.environment for start in composed("compose.yaml") if start.role == "socket")
    assert one["PUSHCTL_SOCKET__ID"] != two["PUSHCTL_SOCKET__ID"]
    assert one["PUSHCTL_SOCKET__PUBLIC_URL"] != two["PUSHCTL_SOCKET__PUBLIC_URL"]
    [pod] = [start.environment for start in pods() if start.role == "socket"]
    assert pod["PUSHCTL_SOCKET__ID"] == "socket-0"
    assert pod["PUSHCTL_SOCKET__PUBLIC_URL"] == "wss://socket-0.push.example/"


def test_units_give_up_a_wrong_configuration_and_wait_for_redis(secrets: Secrets, tmp_path: Path) -> None:
    common = UNITS / "pushctl-.service.d" / "10-common.conf"
    unit = settings(common, section="Unit")
    within, starts = float(unit["StartLimitIntervalSec"][0]), int(unit["StartLimitBurst"][0])
    pause = float(settings(common)["RestartSec"][0])
    one_that_waits = loaded(STARTS[0], secrets, tmp_path).redis.connect_seconds + pause
    assert starts * (pause + 1) < within < starts * one_that_waits


# --- what is said of them ---------------------------------------------------------------------------------------------


def test_the_documents_say_of_every_file_how_it_was_tried() -> None:
    document = Document(EXAMPLES.parent / "docs" / "deployment.md")
    said: list[str] = []
    for files, *_ in document.rows("What there is, and how it was tried"):
        for text, target in re.findall(r"\[([^]]+)\]\(\.\./examples/([^)]+)\)", files):
            said.append(f"{target.split('/')[0]}/" if text.endswith("/") else target)
    there = [str(file.relative_to(EXAMPLES)) for file in EXAMPLES.rglob("*") if file.is_file()]
    kept = [name for name in there if "__" not in name and not name.startswith("secrets/")]
    assert [name for name in kept if not name.startswith(tuple(said))] == []


# --- compose ---------------------------------------------------------------------------------------------------------


def test_containers_ask_the_admin_listener_for_their_health_and_every_secret_is_there(secrets: Secrets) -> None:
    [content] = documents(EXAMPLES / "compose.yaml")
    for start in composed("compose.yaml"):
        service = content["services"][start.name]
        config = loaded(start, secrets, secrets.folder)
        asked = f"http://{value_at(config, f'{start.role}.admin_listen')}/readyz"
        assert f"'{asked}'" in service["healthcheck"]["test"][-1]
        files = [value for value in start.environment.values() if value.startswith("/run/secrets/")]
        assert {Path(file).name for file in files} == set(service["secrets"]) <= set(content["secrets"])
        for port in service.get("ports", []):
            assert int(port.rpartition(":")[2]) == split_address(value_at(config, f"{start.role}.listen"))[1]
    assert "noeviction" in content["services"]["redis"]["command"]


# --- Kubernetes ------------------------------------------------------------------------------------------------------


def test_services_policies_budgets_and_ingresses_lead_to_pods_and_ports_that_are_there() -> None:
    labels, ports = {}, {}
    for workload in of_kind("Deployment", "StatefulSet"):
        name, template = workload["metadata"]["name"], workload["spec"]["template"]
        labels[name] = dict(template["metadata"]["labels"])
        ports[name] = {each["name"]: each["containerPort"] for each in template["spec"]["containers"][0]["ports"]}
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
        labels[name]["statefulset.kubernetes.io/pod-name"] = f"{name}-0"
    offered: dict[str, set[str]] = {}
    for service in of_kind("Service"):
        chosen = dict(service["spec"]["selector"])
        pod_name = "statefulset.kubernetes.io/pod-name"
        if pod_name in chosen:  # of another pod of the same set
            chosen[pod_name] = f"{chosen[pod_name].rpartition('-')[0]}-0"
        [workload] = [name for name, has in labels.items() if chosen.items() <= has.items()]
        offered[service["metadata"]["name"]] = {each["name"] for each in service["spec"]["ports"]}
        for each in service["spec"]["ports"]:
            assert ports[workload][each["targetPort"]] == each["port"]
    for budget in of_kind("PodDisruptionBudget"):
        chosen = budget["spec"]["selector"]["matchLabels"]
        assert len([has for has in labels.values() if chosen.items() <= has.items()]) == 1
    for ingress in of_kind("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                target = path["backend"]["service"]
                assert target["port"]["name"] in offered[target["name"]]
    named = {number for each in ports.values() for number in each.values()}
    allowed = {
        number
        for policy in of_kind("NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for port in rule["ports"]
        for number in range(port["port"], port.get("endPort", port["port"]) + 1)
    }
    assert allowed == named


def test_probes_ask_the_admin_listener_and_redis_kills_nobody(tmp_path: Path) -> None:
    config = load([config_map(tmp_path)], [], {}).config
    for workload in of_kind("Deployment", "StatefulSet"):
        [container] = workload["spec"]["template"]["spec"]["containers"]
        role = container["args"][1]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert split_address(value_at(config, f"{role}.admin_listen")) == ("0.0.0.0", ports["admin"])
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
        assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_each_socket_server_of_the_set_has_a_service_and_a_host() -> None:
    [workload] = of_kind("StatefulSet")
    names = {f"socket-{number}" for number in range(workload["spec"]["replicas"])}
    assert names < {each["metadata"]["name"] for each in of_kind("Service")}
    hosts = {rule["host"] for ingress in of_kind("Ingress") for rule in ingress["spec"]["rules"]}
    assert {f"{name}.push.example" for name in names} < hosts
    assert len({(each["kind"], each["metadata"]["name"]) for each in manifests()}) == len(manifests())


# --- proxies ---------------------------------------------------------------------------------------------------------


def seconds(text: str, setting: str) -> Iterator[float]:
    for found in re.finditer(rf"^\s*{setting} (\d+)s;?", text, re.MULTILINE):
        yield float(found[1])


def test_proxies_wait_for_receipts_and_pings_and_close_idle_connections_first() -> None:
    http, sockets = ((EXAMPLES / "nginx" / name).read_text() for name in ("pushctl.conf", "sockets.conf"))
    haproxy = (EXAMPLES / "haproxy" / "haproxy.cfg").read_text()
    default = Config()
    of_haproxy = [*seconds(haproxy, "timeout server"), *seconds(haproxy, "timeout client")]
    waits = [*seconds(http, "proxy_read_timeout"), *of_haproxy]
    assert len(waits) == 3
    assert min(waits) > LONGEST_WAIT_SECONDS
    quiet = [*seconds(sockets, "proxy_read_timeout"), *seconds(haproxy, "timeout tunnel")]
    assert len(quiet) == 2
    assert min(quiet) > 2 * default.socket.ping_seconds
    kept = list(seconds(http.split("server {")[0], "    keepalive_timeout"))
    assert len(kept) == 2
    assert max(kept) < default.http.idle_seconds
