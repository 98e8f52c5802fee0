"""What the documents say is so: links, commands, codes, metrics, keys and names lead to what exists, and back."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families

import pushctl
import roles
from pushctl.checkup import CHECKS
from pushctl.cli.bench.run import BenchResult
from pushctl.cli.send.load import LoadResult
from pushctl.client.report import Report
from pushctl.config.render import toml_value
from pushctl.config.schema import keys
from pushctl.errors import Problem
from pushctl.http.problem import TYPE_URL
from pushctl.identity.refusal import LoginCode, LoginRefused, status_of
from pushctl.inspection import MessageReport, PushUrlReport, ServerReport, UserReport
from pushctl.overview import Overview
from pushctl.overview.prometheus import FAMILIES, PREFIX
from pushctl.reasons import Code
from tests.house.commands import every_command, groups, parse
from tests.house.markdown import Document, Link, code_in
from tests.metrics import helps, of_all_roles

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    str(file.relative_to(ROOT)): Document(file)
    for file in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
}
OPERATIONS = DOCUMENTS["docs/operations.md"]
PROBLEMS = DOCUMENTS["docs/problems.md"]
RUNBOOK = DOCUMENTS["docs/runbook.md"]

LINKS = [(name, link) for name, document in DOCUMENTS.items() for link in document.links()]
WRITTEN = [document for name, document in DOCUMENTS.items() if name != "docs/reference.md"]
"""By people: what the reference shows are the examples of help texts, which have tests of their own."""
COMMANDS = sorted({tuple(call) for document in WRITTEN for call in document.commands("pushctl")})


def sources(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from (ROOT / room).rglob("*.py")


# --- links -----------------------------------------------------------------------------------------------------------


@cache
def defined_in(file: Path) -> set[str]:
    """What a file defines: functions, classes and constants, members with their class in front."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".lua":
        return set(re.findall(r"^local function (\w+)", text, re.MULTILINE))
    names: set[str] = set()

    def walk(nodes: list[ast.stmt], prefix: str) -> None:
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    walk(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    walk(ast.parse(text).body, "")
    return names


def wrong_with(document: str, link: Link) -> str | None:
    here = DOCUMENTS[document].file
    target = (here.parent / link.path).resolve() if link.path else here
    if not target.is_relative_to(ROOT) or not target.is_file():
        return f"{document} links to {link.path}, which is no file of ours"
    if link.anchor and link.anchor not in anchors_of(target):
        return f"{document}: {link.path} has no heading #{link.anchor}"
    if link.name and not str(target).endswith(link.name) and link.name not in defined_in(target):
        return f"{document}: {link.path} does not define {link.name}"
    return None


@cache
def anchors_of(file: Path) -> Collection[str]:
    return Document(file).anchors()


def test_a_link_leads_to_what_it_says() -> None:
    assert LINKS
    assert not [wrong for name, link in LINKS if (wrong := wrong_with(name, link))]


def test_the_pictures_are_small_and_each_is_shown() -> None:
    pictures = set((ROOT / "docs").rglob("*.webp"))
    assert all(picture.stat().st_size < 60_000 for picture in pictures)
    documents = DOCUMENTS.values()
    shown = {(each.file.parent / link.path).resolve() for each in documents for link in each.links()}
    assert pictures <= shown


def test_the_readme_leads_to_every_document() -> None:
    linked = {(ROOT / link.path).resolve() for link in DOCUMENTS["README.md"].links()}
    assert {document.file for document in DOCUMENTS.values()} - {ROOT / "README.md"} <= linked


def test_what_comments_say_of_the_documents_is_there() -> None:
    wrong = []
    for file in sources("pushctl", "roles", "examples", "tests"):
        text = " ".join(file.read_text(encoding="utf-8").split())
        for found in re.finditer(r'docs/(\w+\.md)(?:, sections? (\d)(?: and (\d))?|, "([^"]+)")?', text):
            name, *sections, heading = found.groups()
            headings = DOCUMENTS[f"docs/{name}"].headings() if f"docs/{name}" in DOCUMENTS else None
            wanted = [f"{section}." for section in sections if section] + ([heading] if heading else [])
            if headings is None or not all(any(each.startswith(want) for each in headings) for want in wanted):
                wrong.append(f"{file.relative_to(ROOT)}: {found[0]}")
    assert not wrong


def test_the_protocol_has_the_sections_that_comments_count_on() -> None:
    numbered = [heading for heading in DOCUMENTS["docs/protocol.md"].headings() if heading[0].isdigit()]
    assert [heading.split(".")[0] for heading in numbered] == list("01234567")


# --- commands --------------------------------------------------------------------------------------------------------


def test_a_command_in_a_document_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "icon.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    wrong = {}
    for command in COMMANDS:
        try:
            parse(
                [*command, "--help"] if len(command) == 1 else list(command)
            )  # a group alone would show its help, too
        except typer.Exit:  # of --help
            pass
        except Exception as error:  # noqa: BLE001 - whatever a command line is refused with
            wrong[" ".join(command)] = repr(error)
    assert COMMANDS
    assert not wrong


@pytest.mark.parametrize("wrong", ["serve nobody", "send --nonsense", "nothing", "client listen --for ever"])
def test_a_command_that_is_none_would_be_noticed(wrong: str) -> None:
    with pytest.raises(Exception, match=r"nobody|nonsense|nothing|ever") as refused:
        parse(wrong.split())
    assert type(refused.value).__name__ in ("BadParameter", "NoSuchOption", "UsageError")


def test_the_documents_show_every_command() -> None:
    shown = {" ".join(command[:2] if command[0] in groups() else command[:1]) for command in COMMANDS}
    assert every_command().keys() <= shown


def test_the_verbs_of_make_that_documents_name_are_there() -> None:
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "".join(document.text for document in DOCUMENTS.values())
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= verbs


def test_the_checks_of_doctor_are_those_that_the_documents_name() -> None:
    rows = DOCUMENTS["docs/operations.md"].rows("Before it matters: `pushctl doctor`")
    assert [row[0].strip("`") for row in rows] == list(CHECKS)


# --- codes -----------------------------------------------------------------------------------------------------------


def problems() -> dict[str, int]:
    """Every code a peer may be told over HTTP, with its status."""
    for package in (pushctl, roles):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found: dict[str, int] = {code: status_of(code) for code in get_args(LoginCode)}
    classes = [Problem]
    while classes:
        each = classes.pop()
        classes += each.__subclasses__()
        if each is not LoginRefused and each.__module__.split(".")[0] in ("pushctl", "roles"):
            found[each.code] = each.status
    return found


def error_frames() -> set[str]:
    """Codes written into `error` frames that are no problem's."""
    found = set()
    for file in sources("pushctl", "roles"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "ErrorFrame":
                found |= {str(first.value) for first in node.args[:1] if isinstance(first, ast.Constant)}
    return found


def test_every_code_has_its_anchor_and_every_anchor_its_code() -> None:
    assert TYPE_URL.endswith("problems#")
    described = {heading.strip("`") for heading in PROBLEMS.headings() if heading.startswith("`")}
    assert described == problems().keys() | error_frames()
    assert described <= PROBLEMS.anchors()


def test_every_code_is_described_with_its_status() -> None:
    said = {code: PROBLEMS.section(f"`{code}`").strip()[:3] for code in problems()}
    assert said == {code: str(status) for code, status in problems().items()}


# --- metrics, names, keys --------------------------------------------------------------------------------------------


def attributes(*, but: str) -> set[str]:
    """Every attribute that the code asks for, outside a file or folder."""
    used = set()
    for file in sources("pushctl", "roles"):
        if not file.is_relative_to(ROOT / but):
            nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return used


def test_every_metric_is_listed_with_its_roles_and_help_and_every_listed_one_exists() -> None:
    there: dict[str, tuple[set[str], str]] = {}
    for metrics in of_all_roles():
        for name, text in helps(metrics).items():
            roles, said = there.setdefault(name, (set(), text))
            roles.add(metrics.role)
            assert said == text, f"{name} has two help texts"
    everybody = {metrics.role for metrics in of_all_roles()}
    listed = {
        row[0].strip("`"): (everybody if row[2] == "all" else everybody & set(re.findall(r"\w+", row[2])), row[3])
        for row in OPERATIONS.rows("Metrics")
    }
    assert listed == there


def test_the_labels_of_a_metric_are_those_that_are_listed() -> None:
    there = {}
    for metrics in of_all_roles():
        for family in text_string_to_metric_families(metrics.render().decode()):
            for sample in family.samples:
                there[family.name] = sample.labels.keys() - {"le"}
    listed = {row[0].strip("`").removesuffix("_total"): row[1] for row in OPERATIONS.rows("Metrics")}
    ours = {name: labels for name, labels in there.items() if name in listed}
    wrong = {name: labels for name, labels in ours.items() if not labels <= set(code_in(listed[name]))}
    assert not wrong


def test_every_metric_that_a_role_has_is_used_by_it() -> None:
    used = attributes(but="pushctl/metrics")
    had = {name for metrics in of_all_roles() for name in vars(metrics) if not name.startswith("_")}
    assert had <= used


def test_every_code_of_a_reason_is_documented_and_every_documented_one_exists() -> None:
    listed = [code for row in OPERATIONS.rows("Live, and ready") for code in code_in(row[0])]
    assert sorted(listed) == sorted(Code)


def test_the_runbook_says_what_to_do_about_every_code_of_a_role_that_is_not_ready() -> None:
    listed = [code for row in RUNBOOK.rows("A role is not ready") for code in code_in(row[0])]
    assert sorted(listed) == sorted(set(Code) - {Code.CERTIFICATE_ENDS})


def test_a_reason_keeps_its_code() -> None:
    """Alerts of operators hold on to them: one may be added, none may change."""
    assert {code.name.lower() for code in Code} == set(Code) >= {"redis_away", "task_stuck", "open_files_short"}


def names_of(shape: Any, prefix: str = "") -> Iterator[str]:
    for name, kind in get_type_hints(shape).items():
        inner = [each for each in (kind, *get_args(kind)) if hasattr(each, "__struct_fields__")]
        if inner:
            many = "[]" if getattr(kind, "__origin__", None) is list else ""
            yield from names_of(inner[0], f"{prefix}{name}{many}.")
        else:
            yield prefix + name


def test_every_name_of_stats_is_documented_and_every_documented_one_exists() -> None:
    listed = [name for row in OPERATIONS.rows("`pushctl stats`") for name in code_in(row[0])]
    assert sorted(listed) == sorted(names_of(Overview))


def test_every_metric_of_stats_is_listed_with_its_labels_and_help_and_every_listed_one_exists() -> None:
    listed = [tuple(row) for row in OPERATIONS.rows("`pushctl stats --prom`")]
    assert listed == [
        (f"`{PREFIX}{each.name}`", ", ".join(f"`{label}`" for label in each.labels), each.section or "all", each.help)
        for each in FAMILIES
    ]


@pytest.mark.parametrize(
    ("kind", "report"),
    [("user", UserReport), ("push-url", PushUrlReport), ("message", MessageReport), ("server", ServerReport)],
)
def test_every_name_of_inspect_is_documented_and_every_documented_one_exists(kind: str, report: Any) -> None:
    listed = [name for row in OPERATIONS.rows(f"`pushctl inspect {kind} ID`") for name in code_in(row[0])]
    assert sorted(listed) == sorted(names_of(report))


def test_every_name_of_a_swarms_report_is_documented_and_every_documented_one_exists() -> None:
    listed = [name for row in OPERATIONS.rows("Rehearsing a storm") for name in code_in(row[0])]
    assert sorted(listed) == sorted(names_of(Report))


@pytest.mark.parametrize(
    ("heading", "report", "elsewhere"),
    [
        ("Load: many messages", LoadResult, ()),
        ("Measuring: a swarm and a sender", BenchResult, ("run.", "bench.load.", "bench.swarm.", "wrong")),
    ],
    ids=["load", "bench"],
)
def test_every_name_of_a_measurement_is_documented_and_every_documented_one_exists(
    heading: str, report: Any, elsewhere: tuple[str, ...]
) -> None:
    listed = [name for row in OPERATIONS.rows(heading) for name in code_in(row[0])]
    assert sorted(listed) == sorted(name for name in names_of(report) if not name.startswith(elsewhere))


def test_every_key_is_listed_with_its_default_and_meaning() -> None:
    listed = {tuple(row) for row in OPERATIONS.rows("Configuration keys")}
    there = [each for key in keys().values() for each in (key, *key.item_keys().values())]
    right = {(f"`{key.path}`", f"`{toml_value(key.default)}`", key.doc) for key in there}
    assert listed == right, "docs/operations.md needs: " + "\n".join(f"| {' | '.join(row)} |" for row in right - listed)


def test_keys_without_effect_are_said_to_have_none() -> None:
    said = " ".join(re.findall(r"^No effect yet: (.*?)\.$", OPERATIONS.prose, re.MULTILINE | re.DOTALL))
    used = attributes(but="pushctl/config/model.py")
    assert set(code_in(said)) == {key.path for key in keys().values() if key.name not in used}


@pytest.mark.parametrize("name", ["docs/runbook.md", "docs/deployment.md"])
def test_what_operators_are_told_to_look_for_is_there(name: str) -> None:
    """Metrics, events of the log, reasons, keys: whatever has an underscore in it, in the code or in the tables of
    docs/operations.md, which are held to it."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in sources("pushctl", "roles"))
    text += OPERATIONS.text
    words = {word for code in code_in(DOCUMENTS[name].prose) for word in re.findall(r"[a-z]+(?:_[a-z]+)+", code)}
    assert {word for word in words if not re.search(rf"\b{word}\b", text)} - OF_OTHERS == set()


OF_OTHERS = {"net_core_somaxconn", "ip_unprivileged_port_start"}
"""Words of the kernel."""


# --- words -----------------------------------------------------------------------------------------------------------

HIDDEN = ("shared" + "/", "PROTOCOL" + ".md", "DESIGN" + ".md", "HOUSE" + ".md", "(PROTO" + "COL,", "issues" + " show")
TEXTS = ("*.py", "*.lua", "*.md", "*.toml", "*.html", "*.txt", "Makefile", "run")


def test_no_file_speaks_of_what_is_not_in_the_project() -> None:
    rooms = ("pushctl", "roles", "tests", "examples", "conf.d", "docs", ".ci")
    files = [file for room in rooms for pattern in TEXTS for file in (ROOT / room).rglob(pattern)]
    files += [file for pattern in TEXTS for file in ROOT.glob(pattern)]
    own = [file for file in files if "node_modules" not in file.parts]
    found = {f"{file.relative_to(ROOT)}: {word}" for file in own for word in HIDDEN if word in file.read_text("utf-8")}
    assert not found
