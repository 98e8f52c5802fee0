"""Whatever a stranger makes of our OpenAPI documents, no answer is a 500, and none is one that they do not announce.

The requests are made by a program that is not ours (schemathesis), from the documents alone.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
import trio

from tests.scenario.people import Person, Town

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "missing_required_header",
)
ENDS_THE_SESSION = ("DELETE /v1/login", "DELETE /v1/account", "DELETE /v1/devices/{device_id}")


async def examine(folder: Path, url: str, person: Person, token: str, *options: str) -> None:
    """Run it against every operation of the service at `url`, with this session and this push URL's token."""
    settings = folder / "schemathesis.toml"
    settings.write_text(
        tomli_w.dumps(
            {
                "operations": [
                    {"include-path-regex": "^/v1/", "headers": {"Authorization": f"Bearer {person.token}"}},
                    {"include-path-regex": "^/dev/", "headers": {"X-Pushctl-Dev": "1"}},
                    {"include-path-regex": "^/push/", "parameters": {"token": token}},
                ]
            }
        )
    )
    command = [SCHEMATHESIS, "--config-file", str(settings), "run", f"{url}/openapi.json", "--no-color"]
    command += ["--checks", ",".join(CHECKS), "--max-examples", "30", "--generation-database", "none", *options]
    done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout.decode()[-8000:]


@pytest.mark.slow
async def test_no_answer_of_the_api_is_a_fault_or_a_status_that_its_document_does_not_know(
    office: Town, tmp_path: Path
) -> None:
    person = await office.login("alice")
    token = (await person.allow())["url"].rpartition("/")[2]
    kept = [option for name in ENDS_THE_SESSION for option in ("--exclude-name", name)]
    await examine(tmp_path, office.service.api, person, token, *kept)
    assert (await person.ask("GET", "/v1/devices")).status_code == 200, "the session was good to the end"
    ended = [option for name in ENDS_THE_SESSION for option in ("--include-name", name)]
    await examine(tmp_path, office.service.api, person, token, *ended)


@pytest.mark.slow
async def test_no_answer_of_the_box_office_is_a_fault_or_a_status_that_its_document_does_not_know(
    town: Town, tmp_path: Path
) -> None:
    await examine(tmp_path, town.service.boxoffice, await town.login("alice"), "none")
