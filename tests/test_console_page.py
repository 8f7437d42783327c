"""The console's page in Chromium, before real bridges: what an operator sees, does, and is told.

With CONSOLE_SCREENSHOTS=1 the pictures of docs/console.md are taken on the way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TypeAlias

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, async_playwright, expect
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError

from bridge.core.errors import Reason, Refused
from tests.console_operator import (
    CHROMIUM,
    DESK,
    FORMS,
    LOOKED_AT,
    MILLISECONDS_MAX,
    PHONE,
    PHOTOGRAPH,
    SHIFTED,
    Operator,
    Scheme,
    before,
)
from tests.console_stage import TOKEN, Stage, now, on_stage
from tests.servers import SharedBroker

LIFE_SECONDS = 150.0  # Before pictures are taken, so that there is something in the charts.
VIEWS = {
    "Overview": "o",
    "Nodes": "n",
    "Domains": "d",
    "Dead letters": "l",
    "Live tail": "t",
    "Users": "u",
    "Explain": "e",
    "Event types": "y",
    "Publish": "p",
}
SHIFT_MAX = 0.05
EVENTS_MANY = 400  # More than the page keeps.
HOSTILE = '"><img src=x onerror="document.title=1">'

Open: TypeAlias = Callable[..., Awaitable[Operator]]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}; install chromium, or name another in CHROMIUM"
    ),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(rabbitmq: SharedBroker) -> AsyncIterator[Stage]:
    """Two bridges; where pictures are taken, with people and events."""
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(on_stage(rabbitmq))
        if PHOTOGRAPH:
            await stack.enter_async_context(stage.life())
            await asyncio.sleep(LIFE_SECONDS)
        yield stage


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all of these tests."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def operator(browser: Browser, stage: Stage) -> AsyncIterator[Open]:
    """A function that opens the console for somebody. In the end no browser may have complained."""
    async with AsyncExitStack() as stack:
        opened: list[Operator] = []

        async def open_console(
            *, scheme: Scheme = "light", size: tuple[int, int] = DESK, fragment: str = f"#token={TOKEN}"
        ) -> Operator:
            someone = await stack.enter_async_context(before(browser, stage, scheme=scheme, size=size))
            opened.append(someone)
            await someone.page.goto(stage.console + fragment)
            return someone

        yield open_console
        assert [complaint for someone in opened for complaint in someone.complaints] == []


async def test_signing_in(operator: Open) -> None:
    """A wrong token is told so; the right one opens the console, and no token stays in the address."""
    someone = await operator(fragment="#token=not-the-token-of-this-bridge")
    page = someone.page
    await expect(page.get_by_role("alert")).to_contain_text("not, or no longer")
    someone.forgive("status of 401")
    await someone.finds_nothing_bad("sign-in")

    await page.get_by_label("Operator token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()

    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert TOKEN not in page.url
    another = await operator()
    await expect(another.page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert TOKEN not in another.page.url
    await another.page.reload()
    await expect(another.page.get_by_role("heading", level=1)).to_have_text("Overview")


async def test_a_token_that_is_no_longer_right(operator: Open) -> None:
    """Who is signed out stays before the form, wherever the address leads, until they sign in."""
    someone = await operator()
    page, heading = someone.page, someone.page.get_by_role("heading", level=1)
    await expect(heading).to_have_text("Overview")

    await page.route("**/api/overview", partial(Route.fulfill, status=401, json={}))
    await page.evaluate(LOOKED_AT, True)  # noqa: FBT003 - an argument of a function in the page
    await expect(heading).to_have_text("Bridge console")
    await page.evaluate("location.hash = '#/nodes'")
    await page.evaluate("new Promise((resolve) => setTimeout(resolve))")  # Until the page has heard of it.

    await expect(heading).to_have_text("Bridge console")
    someone.forgive("status of 401")
    await page.unroute("**/api/overview")
    await page.get_by_label("Operator token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await expect(heading).to_have_text("Nodes")


async def test_an_answer_that_breaks_off(operator: Open) -> None:
    """A view whose question was half answered asks again."""
    someone = await operator()
    broken = partial(Route.fulfill, status=200, content_type="application/json", body='{"nodes": [')
    await someone.page.route("**/api/nodes", broken, times=1)

    await someone.go("Nodes")

    await expect(someone.rows("Nodes")).to_have_count(2)


async def test_every_view(operator: Open) -> None:
    """Every view is reached by its link, shows what it has, and is accessible."""
    someone = await operator()

    for view in VIEWS:
        await someone.go(view)
        await someone.finds_nothing_bad(view)
    await expect(someone.page.locator("#health")).to_have_text("Ready")
    await expect(someone.page.locator("#link")).to_have_text("Live")
    await someone.go("Nodes")
    await expect(someone.rows("Nodes")).to_have_count(2)
    await expect(someone.rows("Nodes").filter(has_text="this one")).to_have_count(1)
    await someone.go("Domains")
    await someone.page.get_by_role("button", name="Details of device").click()
    await expect(someone.page.get_by_text("device-service")).to_be_visible()
    await expect(someone.rows("Domains").first).to_contain_text("Attached")
    await someone.go("Event types")
    await someone.page.get_by_role("button", name="Details of device.started").click()
    await expect(someone.rows("Fields of device.started").first).to_contain_text("userId")
    await someone.finds_nothing_bad("an open row")


async def test_in_the_dark(operator: Open) -> None:
    """Every view can be read in the dark. What is not of colours is the same in both themes."""
    someone = await operator(scheme="dark")

    for view in VIEWS:
        await someone.go(view)
        await someone.finds_nothing_bad(view, rule="color-contrast")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_charts(operator: Open, scheme: Scheme) -> None:
    """Six charts move while the page stands still, each with its figures as a table."""
    someone = await operator(scheme=scheme)
    charts = someone.page.locator(".chart")

    async with someone.stage.socket("u-chart", node=0):
        await expect(charts.locator("canvas")).to_have_count(6)
        await expect(someone.card("Sockets").locator("tbody td").first).not_to_have_text("–")
        await expect(someone.page.locator(".figures .big").nth(0)).not_to_have_text("0")
    shifted = await someone.page.evaluate(SHIFTED)

    assert shifted < SHIFT_MAX
    await someone.picture(f"overview-{scheme}")


async def test_colours_can_be_chosen(operator: Open) -> None:
    """The theme that is chosen wins over the system's, also after a reload."""
    someone = await operator(scheme="light")
    await someone.page.get_by_label("Colours").select_option("Dark")
    await someone.page.reload()

    await expect(someone.page.locator("body")).to_have_css("background-color", "rgb(15, 18, 22)")


async def test_on_a_phone(operator: Open) -> None:
    """No view is wider than a phone; the views are behind a button."""
    someone = await operator(size=PHONE)
    await expect(someone.page.locator(".chart canvas")).to_have_count(6)
    await someone.picture("phone")

    for view in VIEWS:
        await someone.page.get_by_role("button", name="Menu").click()
        await someone.go(view)
        await expect(someone.page.get_by_role("navigation")).to_be_hidden()
        width = await someone.page.evaluate("document.documentElement.scrollWidth")
        assert width == PHONE[0], view
    await someone.finds_nothing_bad("phone")


async def test_publish_and_tail(operator: Open) -> None:
    """What the form publishes is in the live tail, which filters, pauses and clears; a mistake is shown."""
    someone = await operator()
    page = someone.page
    await someone.go("Publish")
    await page.get_by_label("Event type").select_option("quota.updated")
    async with page.expect_request("**/publish") as request:
        await page.get_by_role("button", name="Publish", exact=True).click()
    sent = json.loads((await request.value).post_data or "")
    filled_in = await page.get_by_label("timestamp", exact=False).first.input_value()
    assert sent["data"]["timestamp"] > filled_in  # Nobody changed it: the time of publishing counts.
    await page.get_by_label("timestamp", exact=False).first.fill("yesterday")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("ISO 8601")
    await expect(page.locator("[aria-invalid]")).to_have_attribute("name", "timestamp")
    someone.forgive("status of 400")

    await page.get_by_role("button", name="Set timestamp to now").click()
    await page.get_by_label("userId").fill("u-published")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(someone.card("Published")).to_contain_text("user:u-published")
    await someone.picture("publish")
    await page.get_by_label("As JSON").check()
    body = json.loads(await page.get_by_label("Payload as JSON").input_value())
    await page.get_by_label("Payload as JSON").fill(
        json.dumps({**body, "userId": "u-raw", "quotaId": HOSTILE})
    )
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(someone.card("Published")).to_contain_text("user:u-raw")

    await someone.go("Live tail")
    events = someone.rows("Events")
    await expect(events.filter(has_text="user:u-published")).to_have_count(1)
    await someone.picture("tail")
    await page.get_by_label("User", exact=True).fill("u-raw")
    await expect(events).to_have_count(1)
    await page.get_by_role("button", name="Details of quota.updated").click()
    await expect(page.locator("pre")).to_contain_text(json.dumps(HOSTILE))
    await page.get_by_role("button", name="Pause").click()
    await someone.stage.publish("quota.updated", {**body, "userId": "u-raw", "quotaId": "q2"})
    await expect(page.get_by_role("status").filter(has_text="1 have come since")).to_be_visible()
    await expect(events).to_have_count(1)
    await page.get_by_role("button", name="Go on").click()
    await expect(events).to_have_count(2)
    await page.get_by_role("button", name="Clear").click()
    await expect(events).to_have_count(0)
    await page.reload()
    await expect(events).to_have_count(2)


async def test_every_form(operator: Open) -> None:
    """The form of every event type, filled in with its example, sends what the bridge takes."""
    someone = await operator()

    refused = await someone.page.evaluate(FORMS)

    assert refused == []


async def test_tail_is_bounded(operator: Open) -> None:
    """However much comes, the tail keeps 300 rows, and counts what the bridge left out."""
    someone = await operator()
    # How much a bridge leaves out depends on the machine, so here the answer is ours.
    await someone.page.route("**/api/tail*", _too_much)
    await someone.go("Live tail")

    status = someone.page.locator("main [role=status]")
    await expect(status).to_contain_text("the newest 300 are shown")
    await expect(status).to_contain_text("were left out")
    await expect(someone.rows("Events")).to_have_count(300)


async def _too_much(route: Route) -> None:
    rest = {"id": "e", "type": "t", "version": 1, "domain": "d", "rooms": [], "timestamp": now(), "data": {}}
    entries = [
        f"event: entry\ndata: {json.dumps({'offset': offset, **rest})}\n\n" for offset in range(EVENTS_MANY)
    ]
    body = "".join(entries) + 'event: gap\ndata: {"missed":7}\n\n'
    await route.fulfill(status=200, content_type="text/event-stream", body=body)


async def test_resting(operator: Open) -> None:
    """A page that nobody looks at gives its stream back, and takes it up when somebody does."""
    someone = await operator()
    page, link = someone.page, someone.page.locator("#link")
    await expect(link).to_have_text("Live")

    await page.clock.install()
    await page.evaluate(LOOKED_AT, False)  # noqa: FBT003 - an argument of a function in the page
    await page.clock.fast_forward(31_000)
    await expect(link).to_have_text("Resting")
    await page.evaluate(LOOKED_AT, True)  # noqa: FBT003
    await expect(link).to_have_text("Live")


async def test_dead_letters(operator: Open) -> None:
    """A letter shows its reason, field and body; replayed it is judged anew, purged it is gone."""
    someone = await operator()
    page, stage = someone.page, someone.stage
    body = {"userId": "u-dead", "timestamp": now(), "quotaId": "q1", "limits": {}, "usage": {}}
    await stage.publish("quota.updated", {**body, "timestamp": "yesterday"})
    await stage.publish("app.installed", HOSTILE.encode())
    await stage.publish(
        "billing.payment_success", {"userId": "u7", "paymentId": "payment-881", "amount": "29,90"}
    )
    unknown = Refused(Reason.UNKNOWN_TYPE, "there is no event type device.started")
    await stage.bury("device.started", {**body, "deviceId": "d7"}, unknown)
    await someone.go("Dead letters")
    letters = someone.rows("Dead letters")
    await expect(letters).to_have_count(4)

    await page.get_by_role("button", name="Details of quota.updated").click()
    await expect(page.locator(".letter mark")).to_have_text('"timestamp": "yesterday",')
    await expect(page.locator(".letter pre")).to_contain_text('"quotaId": "q1"')
    await page.get_by_role("checkbox", name="Choose billing.payment_success").check()
    await someone.finds_nothing_bad("dead letters")
    await someone.picture("dead-letters")
    await page.get_by_role("checkbox", name="Choose billing.payment_success").uncheck()

    await page.get_by_role("checkbox", name="Choose device.started").check()
    await page.get_by_role("button", name="Replay 1 letter").click()
    await someone.finds_nothing_bad("a dialog")
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(letters).to_have_count(4)
    await page.get_by_role("button", name="Replay 1 letter").click()
    await page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    await expect(page.get_by_role("status").filter(has_text="Replayed 1 letter.")).to_be_visible()
    await expect(letters).to_have_count(3)
    await page.get_by_label("Filter").fill("app.installed")
    await expect(letters).to_have_count(1)
    await page.get_by_role("button", name="Details of app.installed").click()
    await expect(page.get_by_label("Body", exact=True).last).to_have_text(HOSTILE)
    await page.get_by_label("Filter").fill("")
    await page.get_by_role("checkbox", name="Choose all").check()
    await page.get_by_role("button", name="Purge 3 letters").click()
    await page.get_by_role("dialog").get_by_role("button", name="Purge").click()
    await expect(page.get_by_text("No dead letters.")).to_be_visible()

    await someone.go("Live tail", "tail?user=u-dead&type=device.started")
    await expect(someone.rows("Events")).to_have_count(1)
    assert await page.title() == "Live tail · Bridge console"


async def test_a_letter_that_is_nested_deep(operator: Open) -> None:
    """64 KiB of brackets are shown, and do not become gigabytes of indentation."""
    someone = await operator()
    deep = b"[" * 32_000 + b"]" * 32_000
    await someone.stage.publish("quota.updated", deep)

    await someone.go("Dead letters")
    await someone.page.get_by_placeholder("reason, domain, text").fill("[[[[")
    await someone.page.get_by_role("button", name="Details of quota.updated").click()
    text = await someone.page.get_by_label("Body", exact=True).inner_text()

    assert text.count("[") == text.count("]") == 32_000
    assert len(text) < 10_000_000


async def test_user(operator: Open) -> None:
    """A user's sockets on every node are found, with their rooms; disconnecting closes them with 4403."""
    someone = await operator()
    page, stage = someone.page, someone.stage
    await stage.publish("device.started", {"userId": "u-wanted", "deviceId": "d7"})

    async with (
        stage.socket("u-wanted", node=0) as here,
        stage.socket("u-wanted", node=1, rooms=("device:d7",)) as there,
    ):
        await someone.go("Users")
        await page.get_by_label("User id").fill("u-wanted")
        await page.get_by_role("button", name="Look up").click()
        sockets = someone.rows("Sockets")
        await expect(sockets).to_have_count(2)
        await expect(sockets.filter(has_text="device:d7")).to_contain_text("in 1 h")
        await expect(someone.rows("Recent events").filter(has_text="device.started")).to_have_count(1)
        await someone.finds_nothing_bad("a user")
        await someone.picture("user")
        await page.get_by_role("button", name="Disconnect …").click()
        await page.get_by_label("Reason").fill("tested")
        await page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()

        for socket in (here, there):
            assert await _closed(socket) == (4403, "revoked: tested")
    await expect(sockets).to_have_count(0)


async def _closed(socket: ClientConnection) -> tuple[int, str]:
    """Read a socket to its end; return the close code and the reason."""
    async with asyncio.timeout(MILLISECONDS_MAX / 1000):
        with suppress(ConnectionClosedError):
            async for _ in socket:
                pass  # Events that came before.
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


async def test_explain(operator: Open) -> None:
    """The form says whether an event would be delivered, or what stops it; its address says it again."""
    someone = await operator()
    page = someone.page
    await someone.go("Explain")
    await page.get_by_label("User id").fill("u1")
    await page.get_by_label("Room", exact=True).fill("device:d7")
    await page.get_by_label("Event type").fill("device.started")
    await page.get_by_role("button", name="Explain").click()
    verdict = someone.card("Verdict")
    await expect(verdict).to_contain_text("not delivered")
    await expect(verdict.locator("[data-ok=false]")).to_contain_text("may not join")

    await page.get_by_label("Rooms of the token").fill("device:*")
    await page.get_by_role("button", name="Explain").click()

    await expect(verdict).not_to_contain_text("not delivered")
    await someone.finds_nothing_bad("a verdict")
    await someone.picture("explain")
    await page.reload()
    await expect(verdict).to_contain_text("delivered")
    await page.get_by_label("Event type").fill("device.exploded")
    await page.get_by_role("button", name="Explain").click()
    await expect(page.get_by_role("alert")).to_contain_text("device.exploded")
    someone.forgive("status of 404")


async def test_with_keys_alone(operator: Open) -> None:
    """Everything is reached without a pointer, and it is seen where one is."""
    someone = await operator()
    page, keys = someone.page, someone.page.keyboard
    heading = page.get_by_role("heading", level=1)
    await expect(heading).to_have_text("Overview")

    await keys.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    await keys.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    for view, letter in VIEWS.items():
        await keys.press("g")
        await keys.press(letter)
        await expect(heading).to_have_text(view)
    await keys.press("g")
    await keys.press("e")
    await expect(page.get_by_label("User id")).to_be_visible()
    await keys.press("/")
    await expect(page.get_by_label("User id")).to_be_focused()
    await keys.type("g n?")
    await expect(page.get_by_label("User id")).to_have_value("g n?")
    await keys.press("Tab")
    await expect(page.get_by_label("Room", exact=True)).to_be_focused()
    await expect(page.get_by_label("Room", exact=True)).to_have_css("outline-style", "solid")
    await keys.press("Shift+Tab")
    await keys.press("Shift+Tab")
    await keys.press("?")
    await expect(page.get_by_role("dialog")).to_contain_text("Live tail")
    await someone.finds_nothing_bad("the keys")
    await keys.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await keys.press("?")
    await page.get_by_label("Switch keys of one letter off").check()
    await keys.press("Escape")
    await keys.press("g")
    await keys.press("o")
    await expect(heading).to_have_text("Explain")


async def test_lost_connection(operator: Open) -> None:
    """When the node dies the page says so; it goes on by itself when there is one again."""
    someone = await operator()
    page, node = someone.page, someone.stage.cluster.nodes[0]
    await someone.go("Live tail")
    await expect(page.locator("#link")).to_have_text("Live")

    await node.kill()
    banner = page.get_by_role("status").filter(has_text="connection to the bridge is lost")
    await expect(banner).to_be_visible()
    await expect(page.locator("#link")).to_have_text("Lost")
    await someone.finds_nothing_bad("the banner")
    await node.start()

    await expect(banner).to_be_hidden()
    await expect(page.locator("#link")).to_have_text("Live")
    await someone.stage.publish("device.stopped", {"userId": "u-back", "deviceId": "d7"})
    await expect(someone.rows("Events").filter(has_text="u-back").first).to_be_visible()
    someone.forgive("net::ERR_")
