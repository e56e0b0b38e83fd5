"""The archive: nanio, which speaks S3, behind the allow-list of `workers.embedded.archive_server`."""

from __future__ import annotations

from collections.abc import Mapping

from workers.embedded.child import Program
from workers.embedded.directory import HOST, DataDirectory, python_program
from workers.embedded.server import Server, http_status

ACCESS_KEY = "caregraph"
BUCKET = "caregraph"


class Archive(Server):
    """S3 server whose buckets are folders and whose objects are files."""

    def __init__(self, directory: DataDirectory) -> None:
        super().__init__("archive", directory)
        self._secret_key = directory.secret("archive")

    def prepare(self) -> None:
        """Makes the folder and, in it, the bucket."""
        super().prepare()
        (self.folder / BUCKET).mkdir(exist_ok=True)

    def program(self, port: int) -> Program:
        """The server of this package around nanio."""
        keys = {"NANIO_ACCESS_KEY": ACCESS_KEY, "NANIO_SECRET_KEY": self._secret_key}
        return python_program("workers.embedded.archive_server", str(port), str(self.folder), **keys)

    def answers(self, port: int) -> bool:
        """Whether a listing without a signature is refused, which takes all of the server."""
        return http_status(port, "GET", f"/{BUCKET}?list-type=2") == 403

    def env(self) -> Mapping[str, str]:
        """Keys, address, bucket and region in one URL."""
        address = f"{ACCESS_KEY}:{self._secret_key}@{HOST}:{self.port}"
        return {"CAREGRAPH_ARCHIVE_URL": f"http://{address}/{BUCKET}?region=us-east-1"}
