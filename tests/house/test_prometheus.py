"""The rules for Prometheus and the dashboard for Grafana: each asks for what there is, and each alert can fire."""

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from pushctl.config.model import Config
from tests.house.markdown import Document
from tests.house.promql import selectors
from tests.metrics import of_all_roles, values

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "examples" / "prometheus"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "examples" / "grafana.json").read_text(encoding="utf-8"))
OWN_LABELS = {"job", "instance", "le"}
"""That Prometheus gives to whatever it scrapes, and buckets."""

FROM_ELSEWHERE = {"up", "ALERTS"}


def read(name: str) -> Any:
    return yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in read("rules.yml")["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return list(DASHBOARD["panels"])


def of_dashboard() -> Iterator[str]:
    """Its expressions, as they are when everything is shown."""
    found = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    found += [each["expr"] for each in DASHBOARD["annotations"]["list"]]
    for expression in found:
        yield expression.replace("$__rate_interval", "5m").replace("$instance", ".*")


def series_there() -> dict[str, dict[str, set[str]]]:
    """Every series that roles show, and recording rules make: its labels, with the values that are there from the
    start."""
    there: dict[str, dict[str, set[str]]] = {rule["record"]: {} for rule in rules() if "record" in rule}
    for metrics in of_all_roles():
        text = metrics.render().decode()
        for line in text.splitlines():
            if found := re.match(r"# HELP (\w+)", line):
                there.setdefault(found[1], {})
            elif found := re.match(r"(\w+)\{(.*)\} ", line):
                for label, value in re.findall(r'(\w+)="([^"]*)"', found[2]):
                    there.setdefault(found[1], {}).setdefault(label, set()).add(value)
    return there


SERIES = series_there()
FEW_WORDS = {"stage", "way", "kind", "word", "outcome", "what", "state", "reason"}
"""Labels whose values are known beforehand."""


def check(expression: str) -> None:
    """That it asks for metrics, labels and words that there are."""
    asked = [each for each in selectors(expression) if each.name not in FROM_ELSEWHERE]
    for each in asked:
        assert each.families() & SERIES.keys(), f"no role shows {each.name}"
        known = {label: words for name in each.families() for label, words in SERIES.get(name, {}).items()}
        if known:
            assert each.matchers.keys() <= known.keys() | OWN_LABELS, each
        for label in each.matchers.keys() & known.keys() & FEW_WORDS:
            for word in each.matchers[label]:
                assert any(re.fullmatch(word, value) for value in known[label]), f"{each.name}: no {label} {word}"
    assert asked or {each.name for each in selectors(expression)} <= FROM_ELSEWHERE


@pytest.mark.parametrize(
    "expressions", [[rule["expr"] for rule in rules()], list(of_dashboard())], ids=["rules", "dashboard"]
)
def test_expressions_ask_for_metrics_that_there_are(expressions: list[str]) -> None:
    for expression in expressions:
        check(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "rate(pushctl_nonsense_total[5m])",
        'sum by (job) (pushctl_messages_total{stag="read"})',
        'pushctl_messages_total{stage=~"read|red"}',
        'x{a="pushctl_ready"} > 1',
    ],
    ids=["name", "label", "word", "text"],
)
def test_one_that_asks_for_something_else_would_be_noticed(expression: str) -> None:
    with pytest.raises(AssertionError):
        check(expression)


def test_each_metric_is_on_the_dashboard() -> None:
    asked = {name for expression in of_dashboard() for each in selectors(expression) for name in each.families()}
    ours = {name for name in SERIES if name.startswith("pushctl_") and not re.search("_(bucket|count|sum)$", name)}
    assert ours - asked == {"pushctl_role", "pushctl_build_info", "pushctl_dev_idp"}  # variables and alerts


# --- alerts ----------------------------------------------------------------------------------------------------------


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def test_each_alert_says_what_it_is_how_bad_and_what_to_do() -> None:
    anchors = {
        name: Document(ROOT / "docs" / f"{name}.md").anchors() for name in ("runbook", "operations", "deployment")
    }
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning"), alert["alert"]
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}, alert["alert"]
        found = re.fullmatch(r"https://pushctl\.dev/(\w+)#(\S+)", alert["annotations"]["runbook_url"])
        assert found, alert["alert"]
        assert found[2] in anchors[found[1]], f"{alert['alert']}: docs/{found[1]}.md has no heading #{found[2]}"


def test_each_alert_has_a_test_in_which_it_fires() -> None:
    text = (PROMETHEUS / "rules.test.yml").read_text(encoding="utf-8")
    fired = re.findall(r'alertname="(\w+)", alertstate="firing"', text)
    assert sorted(fired) == sorted(alert["alert"] for alert in alerts())


def test_prometheus_is_sent_to_the_ports_of_serve_all() -> None:
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in read("prometheus.yml")["scrape_configs"]}
    assert jobs == {
        "pushctl-api": [Config().api.admin_listen],
        "pushctl-boxoffice": [Config().boxoffice.admin_listen],
        "pushctl-socket": ["127.0.0.1:9090", "127.0.0.1:9091"],
        "pushctl-router": [Config().router.admin_listen],
        "pushctl-gc": [Config().gc.admin_listen],
    }


# --- promtool --------------------------------------------------------------------------------------------------------


def promtool(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.debian
def test_promtool_takes_configuration_and_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml")


@pytest.mark.debian
def test_each_alert_fires_when_it_should_and_none_in_a_healthy_service() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules.test.yml")


@pytest.mark.debian
def test_the_dashboard_speaks_promql(tmp_path: Path) -> None:
    named = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(of_dashboard())]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": named}]}), encoding="utf-8")
    assert f"{len(named)} rules found" in promtool("check", "rules", str(file))


@pytest.mark.debian
@pytest.mark.parametrize("metrics", of_all_roles(), ids=lambda metrics: f"{metrics.role}")
def test_promtool_has_nothing_to_say_of_a_roles_metrics(metrics: Any) -> None:
    assert values(metrics)
    assert promtool("check", "metrics", text=metrics.render().decode()) == ""


# --- Grafana ---------------------------------------------------------------------------------------------------------


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    assert isinstance(DASHBOARD["schemaVersion"], int)
    assert (DASHBOARD["title"], DASHBOARD["uid"], "id" in DASHBOARD) == ("pushctl", "pushctl", False)
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    assert {panel["type"] for panel in panels()} == {"row", "stat", "timeseries", "heatmap"}
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    for panel in panels():
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
            assert panel["title"], panel["id"]
            assert panel["description"], panel["title"]
            assert panel["targets"], panel["title"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), panel["title"]
            used = {name for target in panel["targets"] for name in re.findall(r"\$(\w+)", target["expr"])}
            assert used <= {*variables, "__rate_interval"}, panel["title"]


def test_no_panel_covers_another_or_leaves_the_grid() -> None:
    def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
        at = panel["gridPos"]
        return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}

    for panel in panels():
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
    for one, other in combinations(panels(), 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
