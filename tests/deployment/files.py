"""What the files of examples/ start, read as systemd, compose and Kubernetes read them.

Owns: from each file to (who, arguments, variables, grace) of every pushctl it starts. Secrets and certificates, which
examples do not hold, are those of a test. Must not know: what a configuration may say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from yaml import CSafeLoader

from pushctl.identity.keys import Keys
from tests.certificates import write_certificates

EXAMPLES = Path(__file__).parents[2] / "examples"
UNITS = EXAMPLES / "systemd"
MANIFESTS = EXAMPLES / "kubernetes"
COMMON = UNITS / "pushctl-.service.d" / "10-common.conf"


@cache
def documents(file: Path) -> list[dict[str, Any]]:
    """Of a YAML file; nobody may change them."""
    return list(yaml.load_all(file.read_text(), CSafeLoader))


@dataclass(frozen=True)
class Start:
    """One process that an example starts."""

    file: str
    name: str
    arguments: list[str]
    """behind `pushctl`"""
    environment: dict[str, str]
    grace_seconds: float
    """from SIGTERM to SIGKILL"""

    @property
    def role(self) -> str:
        return self.arguments[1]


@dataclass(frozen=True)
class Secrets:
    """Stand-ins for what the examples leave to their reader."""

    folder: Path

    @classmethod
    def write(cls, folder: Path) -> "Secrets":
        Keys.generate().write(folder / "keys.toml")
        (folder / "redis-url").write_text("redis://:secret@redis.example:6379/0\n")
        write_certificates(folder / "tls")
        return cls(folder)

    def here(self, value: str) -> str:
        """The same value with the places of secrets replaced by ours."""
        if value.endswith(("/url", "/redis-url")):
            return str(self.folder / "redis-url")
        ours = {"keys.toml": "keys.toml", "fullchain.pem": "tls/server.pem", "privkey.pem": "tls/server.key"}
        name = value.rpartition("/")[2] if "/" in value else ""
        return str(self.folder / ours[name]) if name in ours else value


# --- systemd ---------------------------------------------------------------------------------------------------------


def settings(*files: Path, section: str = "Service") -> dict[str, list[str]]:
    """A section of a unit and its drop-ins: every key with all its values in order."""
    found: dict[str, list[str]] = {}
    for file in files:
        at = ""
        for line in file.read_text().splitlines():
            if line.startswith("["):
                at = line.strip("[]")
            elif at == section and "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                found.setdefault(key, []).append(value)
    return found


def units() -> Iterator[Start]:
    """Every service, the template as its instance s1."""
    for file in sorted(UNITS.glob("*.service")):
        service = settings(COMMON, file)
        environment = dict(pair.split("=", 1) for pair in service.get("Environment", []))
        if "EnvironmentFile" in service:
            assert service["EnvironmentFile"] == ["/etc/pushctl/sockets/%i.env"]
            environment |= variables(UNITS / "s1.env")
        loaded = {credential.split(":")[0] for credential in service["LoadCredential"]}
        asked = {value.removeprefix("%d/") for value in environment.values() if value.startswith("%d/")}
        assert asked == loaded, f"{file.name}: credentials loaded and asked for differ"
        program, *arguments = service["ExecStart"][-1].split()
        assert program == "/opt/pushctl/bin/pushctl"
        yield Start(
            file.name,
            file.stem,
            arguments,
            {name: value.replace("%i", "s1") for name, value in environment.items()},
            float(service["TimeoutStopSec"][-1]),
        )


def variables(file: Path) -> dict[str, str]:
    """An environment file."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


# --- compose ---------------------------------------------------------------------------------------------------------


def compose(*names: str) -> dict[str, Any]:
    """The services of compose files, the later added to the earlier."""
    services: dict[str, Any] = {}
    for name in names:
        for service, content in documents(EXAMPLES / name)[0]["services"].items():
            before = services.setdefault(service, {})
            environment = before.get("environment", {}) | content.get("environment", {})
            before.update(content)
            before["environment"] = environment
    return services


def composed(*names: str) -> Iterator[Start]:
    for name, service in compose(*names).items():
        if name != "redis":
            grace = float(service["stop_grace_period"].removesuffix("s"))
            yield Start(names[-1], name, service["command"], service["environment"], grace)


# --- Kubernetes ------------------------------------------------------------------------------------------------------


def manifests() -> list[dict[str, Any]]:
    [kustomization] = documents(MANIFESTS / "kustomization.yaml")
    return [document for name in kustomization["resources"] for document in documents(MANIFESTS / name)]


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [each for each in manifests() if each["kind"] in kinds]


def pods() -> Iterator[Start]:
    """Every container, as the first pod of its kind."""
    for workload in of_kind("Deployment", "StatefulSet"):
        spec = workload["spec"]["template"]["spec"]
        [container] = spec["containers"]
        environment: dict[str, str] = {}
        for variable in container["env"]:  # what has no value is the pod's name
            value = variable.get("value", f"{workload['metadata']['name']}-0")
            environment[variable["name"]] = _expanded(value, environment)
        grace = spec["terminationGracePeriodSeconds"] - pause(container)
        yield Start(f"kubernetes, {workload['kind']}", container["name"], container["args"], environment, grace)


def _expanded(value: str, environment: dict[str, str]) -> str:
    """With $(NAME) replaced by what was said of it before."""
    return re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], value)


def pause(container: dict[str, Any]) -> float:
    """What a preStop hook takes of the grace."""
    return float(container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))


def config_map(folder: Path) -> Path:
    [content] = [each["data"] for each in of_kind("ConfigMap")]
    for name, text in content.items():
        (folder / name).write_text(text)
    return folder
