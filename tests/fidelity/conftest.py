"""The sample bundles and generated files, each imported once into databases of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from db.settings import Settings
from tests.fidelity.files import Files
from tests.fidelity.generated import write_network
from tests.fidelity.imported import SHARED, Imported, imported

SEED = 20260811


@pytest_asyncio.fixture(scope="session")
async def shared(configured: Settings) -> AsyncIterator[Imported]:
    """The sample bundles, imported."""
    if not SHARED.exists():
        pytest.skip("the sample bundles are not beside this checkout")
    files = Files(sorted(SHARED.rglob("*.gz")))
    async with imported(configured, "shared_files", [SHARED], files) as found:
        yield found


@pytest_asyncio.fixture(scope="session")
async def generated(configured: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Imported]:
    """Bundles made from a seed, imported."""
    paths = write_network(tmp_path_factory.mktemp("generated"), SEED)
    async with imported(configured, "generated_files", paths, Files(paths)) as found:
        yield found
