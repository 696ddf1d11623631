"""The OpenAPI document: it is one, it is of what is served, and a judge finds nothing else."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31
from twisted.internet.utils import getProcessOutputAndValue

from lispmsrt.services import operations
from lispmsrt.views.values import RegistrationFilter, SessionView
from lispmsrt.web.connections import IDLE_TIMEOUT, MAX_BODY, MAX_CONNECTIONS
from lispmsrt.web.descriptions import field_descriptions
from lispmsrt.web.stream import MAX_LINES, MAX_STREAMS, PATIENCE
from tests.management_ground import TOKEN, ManagementGround, http
from tests.rim import site_text
from tests.running import CHECKOUT

_EXAMPLES = 300 if os.environ.get("LISPMSRT_LONG") else 5
"""Requests for each operation, beside those that schemathesis makes of the schema's corners."""

_NOT_FOR_THE_JUDGE = "/api/v1/stream"  # it never ends


class DocumentTests(ManagementGround):
    """The document itself."""

    async def document(self) -> dict[str, Any]:
        """Return it."""
        self.start()
        document: dict[str, Any] = (await self.get("/api/v1/openapi.json")).json
        return document

    async def test_it_is_an_openapi_3_1_document(self) -> None:
        """By the schema of the specification; and all its schemas are some."""
        document = await self.document()
        Draft202012Validator(OPENAPI_31).validate(document)
        for schema in document["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)

    async def test_every_operation_says_what_may_come(self) -> None:
        """With a name of its own, a summary, and refusals that all look the same."""
        document = await self.document()
        names = []
        for path, item in document["paths"].items():
            for operation in item.values():
                names.append(operation["operationId"])
                self.assertTrue(operation["summary"])
                codes = set(operation["responses"])
                self.assertGreaterEqual(codes, {"200", "400", "401", "421", "500"}, path)
                for code in codes - {"200"}:
                    content = operation["responses"][code]["content"]["application/json"]
                    self.assertEqual(content["schema"], {"$ref": "#/components/schemas/Error"})
                for parameter in operation.get("parameters", ()):
                    self.assertTrue(parameter["description"], (path, parameter["name"]))
        self.assertEqual(len(names), len(set(names)))

    async def test_what_the_code_says_of_a_field_is_in_it(self) -> None:
        """Nothing is written twice."""
        document = await self.document()
        shown = document["components"]["schemas"]["SessionView"]["properties"]
        said = field_descriptions(SessionView)
        self.assertGreater(len(said), 5)
        for name, text in said.items():
            self.assertEqual(shown[name].get("description"), text)
        parameters = document["paths"]["/api/v1/registrations"]["get"]["parameters"]
        names = [parameter["name"] for parameter in parameters]
        self.assertEqual(names, ["limit", "cursor", *RegistrationFilter.__dataclass_fields__])

    async def test_nothing_in_it_goes_without_the_token(self) -> None:
        """Over an address; 401 and nothing else, whatever the method."""
        self.token = TOKEN
        self.listen = ("tcp:0:interface=127.0.0.1",)
        document = await self.document()
        for path in document["paths"]:
            for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE"):
                answer = await http(self.reactor, self.endpoint_of(1), path, method)
                self.assertEqual(answer.status, 401, (method, path))


class PageTests(ManagementGround):
    """docs/management.rst and the document."""

    def setUp(self) -> None:
        super().setUp()
        self.page = (CHECKOUT / "docs" / "management.rst").read_text()

    async def test_every_path_has_its_row_and_every_row_its_path(self) -> None:
        """With its parameters, but for those of paging."""
        self.start()
        document = (await self.get("/api/v1/openapi.json")).json
        served = {
            path: [
                parameter["name"]
                for parameter in operation.get("parameters", ())
                if parameter["in"] == "query" and parameter["name"] not in ("limit", "cursor")
            ]
            for path, item in document["paths"].items()
            for operation in item.values()
        }
        rows = re.findall(r"\* - ``(/(?:api|metrics)\S*)``\n +-(.*)\n", self.page)
        self.assertEqual({path for path, _cell in rows}, set(served))
        for path, cell in rows:
            if "/actions/" not in path:
                self.assertEqual(re.findall("``(.+?)``", cell), served[path], path)

    def test_limits_are_those_of_the_code(self) -> None:
        """In the units of the page."""
        for part in (
            f"{MAX_CONNECTIONS} on each endpoint",
            f"closed after {IDLE_TIMEOUT:g} seconds",
            f"{MAX_BODY // 1024} kB",
            f"{MAX_STREAMS} at a time; who does not read for {PATIENCE:g} seconds is dropped",
            f"{MAX_LINES} lines at most",
        ):
            self.assertIn(part, self.page)


class JudgeTests(ManagementGround):
    """schemathesis against a live endpoint."""

    timeout = 600
    token = TOKEN
    listen = ("tcp:0:interface=127.0.0.1",)
    sites = site_text("campus", "10.1.0.0/16", "::/0") + site_text("branch", "10.2.0.0/16")
    eids = ("10.1.1.0/24", "10.1.2.0/24", "10.9.9.0/24")

    async def test_no_server_error_and_no_undocumented_answer(self) -> None:
        """The same requests in every run."""
        # It clears sessions, too, and then nobody acknowledges what it registers.
        self.patch(operations, "PATIENCE", 0.2)
        self.start()
        await self.until(lambda: len(self.map_server.database) == 2)
        port = self.management.addresses[1].port
        directory = Path(self.mktemp())
        directory.mkdir()
        output, errors, code = await getProcessOutputAndValue(
            sys.executable,
            [
                "-c",
                "from schemathesis.cli import schemathesis; schemathesis()",
                "run",
                f"http://127.0.0.1:{port}/api/v1/openapi.json",
                f"--header=Authorization: Bearer {TOKEN}",
                f"--exclude-path={_NOT_FOR_THE_JUDGE}",
                # A schema can't say what an EID-prefix is: some of what fits it is refused.
                "--exclude-checks=positive_data_acceptance",
                "--phases=examples,coverage,fuzzing",
                f"--max-examples={_EXAMPLES}",
                "--seed=1",
                "--generation-deterministic",
                "--no-shrink",
                "--warnings=off",
                "--no-color",
            ],
            env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(directory)},
            path=str(directory),
            reactor=self.reactor,
        )
        self.assertEqual(code, 0, (output + errors).decode())
        self.assertIn(b"No issues found", output)
