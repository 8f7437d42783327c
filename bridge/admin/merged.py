"""The operator port of a group of nodes on one machine: their answers, asked for and put together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from bridge.core.errors import cause_of
from bridge.core.health import Health

ASK_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class WorkerAnswer:
    """What one worker said, or that it said nothing."""

    worker: str
    health: list[Health]
    metrics: str


class MergedCollector(Collector):
    """The metrics of every worker, told apart by the label `worker`."""

    def __init__(self) -> None:
        """Have asked nobody yet."""
        self.answers: list[WorkerAnswer] = []

    def collect(self) -> Iterator[Metric]:
        """Yield each family once, with the samples of every worker."""
        families: dict[str, Metric] = {}
        for answer in self.answers:
            for family in text_string_to_metric_families(answer.metrics):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    labels = {**sample.labels, "worker": answer.worker}
                    merged.add_sample(sample.name, labels, sample.value)
        yield from families.values()


async def ask(sockets: Mapping[str, Path]) -> list[WorkerAnswer]:
    """Ask every worker at once; one that does not answer in time is told as not well."""
    return list(await asyncio.gather(*(_ask_one(worker, path) for worker, path in sockets.items())))


async def _ask_one(worker: str, path: Path) -> WorkerAnswer:
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS_MAX)
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(path)), timeout=timeout
        ) as session:
            async with session.get("http://worker/readyz") as response:
                parts = json.loads(await response.text())["parts"]
            async with session.get("http://worker/metrics") as response:
                metrics = await response.text()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as exc:
        return WorkerAnswer(worker, [Health(f"worker {worker}", ok=False, detail=cause_of(exc))], "")
    return WorkerAnswer(worker, [_named(worker, part) for part in parts], metrics)


def _named(worker: str, part: Mapping[str, Any]) -> Health:
    return Health(
        f"worker {worker}: {part['part']}", bool(part["ok"]), str(part["detail"]), vital=bool(part["vital"])
    )
