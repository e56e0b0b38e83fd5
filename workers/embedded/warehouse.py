"""The warehouse: fakesnow, which speaks Snowflake's protocol over DuckDB files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping

from workers.embedded.child import Program
from workers.embedded.directory import HOST, DataDirectory, python_program
from workers.embedded.server import Server, http_status

USER = "caregraph"
PASSWORD_VARIABLE = "EMBEDDED_WAREHOUSE_PASSWORD"  # noqa: S105 - the name of a variable
DATABASE = "CAREGRAPH"
SCHEMA = "RESEARCH"


class Warehouse(Server):
    """Databases are files of this folder; stages live in its `tmp` until the next start."""

    def __init__(self, directory: DataDirectory) -> None:
        super().__init__("warehouse", directory)
        self._password = directory.secret("warehouse")

    def prepare(self) -> None:
        """Makes the folder; empties the place of stages and spilled data."""
        super().prepare()
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        (self.folder / "tmp").mkdir()

    def program(self, port: int) -> Program:
        """The launcher of this package: fakesnow's own ignores the folder."""
        environ = {PASSWORD_VARIABLE: self._password, "TMPDIR": str(self.folder / "tmp")}
        return python_program("workers.embedded.warehouse_server", str(port), str(self.folder), **environ)

    def answers(self, port: int) -> bool:
        """Whether a login succeeds."""
        login: dict[str, object] = {"LOGIN_NAME": USER, "PASSWORD": self._password, "SESSION_PARAMETERS": {}}
        path = f"/session/v1/login-request?databaseName={DATABASE}&schemaName={SCHEMA}"
        return http_status(port, "POST", path, json.dumps({"data": login}).encode()) == 200

    def env(self) -> Mapping[str, str]:
        """Snowflake's parameters in one URL."""
        address = f"{USER}:{self._password}@{HOST}:{self.port}"
        query = "account=embedded&warehouse=EMBEDDED&protocol=http"
        return {"CAREGRAPH_WAREHOUSE_URL": f"snowflake://{address}/{DATABASE}/{SCHEMA}?{query}"}
