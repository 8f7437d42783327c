"""Which trace an event belongs to, from the delivery to the frame."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random

import pytest

from bridge.core.catalogue import Catalogue
from bridge.core.delivery import Delivery
from bridge.core.entry import Logged
from bridge.core.intake import Intake
from bridge.core.revocation import change_of
from bridge.core.tracecontext import TraceStarter, read_traceparent
from bridge.core.verdict import Fate, Verdict
from bridge.ws.dialects.bridge_v1 import encode_event, encode_traced_event
from consumers import domains

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
TIME = "2026-11-21T10:00:00.000Z"
DEVICE = {"userId": "u1", "deviceId": "d7", "timestamp": TIME}
CATALOGUE = Catalogue(domains())


def judge(
    key: str, body: object, headers: Mapping[str, str] | None = None, *, begin: float | None = None
) -> Verdict:
    """Judge a delivery, beginning traces for this share of those that have none."""
    traces = None if begin is None else TraceStarter(begin, Random(1))  # noqa: S311 - the same every time
    domain = CATALOGUE.domains[key.partition(".")[0].replace("user", "access")]
    intake = Intake(CATALOGUE, domain, body_bytes_max=1_000, traces=traces)
    return intake.judge(Delivery(key, json.dumps(body).encode(), 0.0, headers=headers or {}))


def test_an_event_and_what_derives_from_it() -> None:
    """The publisher's trace is the event's, and that of the events that derive from it."""
    verdict = judge("device.started", DEVICE, {"traceparent": TRACE}, begin=1.0)

    assert (verdict.traceparent, verdict.trace_begun) == (TRACE, False)
    assert [entry.trace for entry in verdict.entries] == [TRACE, TRACE]


@pytest.mark.parametrize(("body", "fate"), [(DEVICE, Fate.LOGGED), ({}, Fate.DEAD)])
def test_a_trace_that_is_begun(body: object, fate: Fate) -> None:
    """An event that comes without a trace gets one if the settings say so, also if it is refused."""
    verdict = judge("device.started", body, begin=1.0)

    assert (verdict.fate, verdict.trace_begun) == (fate, True)
    assert read_traceparent(verdict.traceparent)
    assert {entry.trace for entry in verdict.entries} <= {verdict.traceparent}


@pytest.mark.parametrize("begin", [None, 0.0])
def test_no_trace(begin: float | None) -> None:
    """Else it has none."""
    verdict = judge("device.started", DEVICE, begin=begin)

    assert (verdict.traceparent, verdict.trace_begun, verdict.entries[0].trace) == ("", False, "")


def test_a_refused_event() -> None:
    """A dead letter is told by its publisher's trace."""
    verdict = judge("device.started", {}, {"traceparent": TRACE}, begin=1.0)

    assert (verdict.fate, verdict.traceparent, verdict.trace_begun) == (Fate.DEAD, TRACE, False)


def test_a_revocation() -> None:
    """A change of who may what knows the trace of the event that it came by."""
    (entry,) = judge("user.disabled", {"userId": "u1", "timestamp": TIME}, {"traceparent": TRACE}).entries

    change = change_of(entry)

    assert change is not None
    assert change.trace == TRACE


@pytest.mark.parametrize("headers", [{"traceparent": TRACE}, {}])
def test_a_frame(headers: Mapping[str, str]) -> None:
    """A frame that shows traces is the plain one, with the trace of an event that has one."""
    logged = Logged(5, judge("device.started", DEVICE, headers).entries[0])
    plain, traced = (json.loads(encode(logged, "user:u1")) for encode in (encode_event, encode_traced_event))

    assert "trace" not in plain
    assert traced == plain | ({"trace": TRACE} if headers else {})
