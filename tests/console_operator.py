"""Somebody before the console's page in Chromium: where they click, and what the browser complains of."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias

from playwright.async_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.console_stage import Stage
from tests.doc_reading import ROOT

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
PICTURES = ROOT / "docs" / "images"
PHOTOGRAPH = bool(os.environ.get("CONSOLE_SCREENSHOTS"))
PICTURE_BYTES_MAX = 200_000
MILLISECONDS_MAX = 15_000
DESK, PHONE = (1280, 860), (390, 844)
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
# Returns how far things have moved by themselves (https://web.dev/articles/cls).
SHIFTED = """() => new Promise((resolve) => new PerformanceObserver((list) => resolve(
    list.getEntries().filter((each) => !each.hadRecentInput).reduce((sum, { value }) => sum + value, 0)
)).observe({ type: "layout-shift", buffered: true }) ?? setTimeout(() => resolve(0), 300))"""
# Makes the page believe that somebody looks at it, or nobody.
LOOKED_AT = """(visible) => {
    Object.defineProperty(document, "hidden", { value: !visible, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
# Publishes what the form of every event type sends; returns what was refused.
FORMS = """async () => {
    const [{ get, post }, { formOf }] = await Promise.all([import("./api.js"), import("./schema.js")]);
    const refused = [];
    for (const { name, schema, example } of (await get("types")).types) {
        const filled = { userId: "u-form", timestamp: new Date().toISOString(), ...example };
        const data = formOf(schema, filled).read();
        await post("publish", { type: name, data }).catch(({ message }) => refused.push([name, message]));
    }
    return refused;
}"""

Scheme: TypeAlias = Literal["dark", "light"]

expect.set_options(timeout=MILLISECONDS_MAX)


@dataclass
class Operator:
    """Somebody before a page, who notes what the browser complains about."""

    page: Page
    stage: Stage
    complaints: list[str] = field(default_factory=list)

    async def go(self, view: str, query: str = "") -> None:
        """Show a view by its link; or by its address, with a query."""
        if query:
            await self.page.evaluate("address => location.hash = address", f"#/{query}")
        else:
            await self.page.get_by_role("navigation").get_by_role("link", name=view).click()
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(view)

    def card(self, name: str) -> Locator:
        """Return the part of the page with this name."""
        return self.page.locator(f'[aria-label="{name}"]')

    def forgive(self, note: str) -> None:
        """Strike out what the browser notes by itself of an answer that was to come; it must have."""
        assert any(note in complaint for complaint in self.complaints)
        self.complaints = [complaint for complaint in self.complaints if note not in complaint]

    def rows(self, table: str) -> Locator:
        """Return the rows of a table."""
        return self.page.get_by_role("table", name=table, exact=True).locator("tbody > tr:not(.details)")

    async def finds_nothing_bad(self, where: str, *, rule: str = "") -> None:
        """Fail if axe finds something serious in what is shown, by one of its rules or by all."""
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE)
        found = await self.page.evaluate(
            "rule => axe.run({resultTypes: ['violations'], ...(rule && {runOnly: [rule]})})", rule
        )
        assert [
            (where, one["id"], one["help"], [node["html"] for node in one["nodes"]])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ] == []

    async def picture(self, name: str) -> None:
        """Take a picture, if pictures are taken."""
        if PHOTOGRAPH:
            PICTURES.mkdir(exist_ok=True)
            path = PICTURES / f"console-{name}.png"
            await self.page.screenshot(path=path, animations="disabled", caret="hide")
            assert path.stat().st_size <= PICTURE_BYTES_MAX

    def note(self, message: ConsoleMessage) -> None:
        """Note what the browser writes on its console."""
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} {message.location}")


@asynccontextmanager
async def before(
    browser: Browser, stage: Stage, *, scheme: Scheme, size: tuple[int, int]
) -> AsyncIterator[Operator]:
    """Yield somebody before an empty page."""
    context = await browser.new_context(
        color_scheme=scheme,
        viewport={"width": size[0], "height": size[1]},
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    context.set_default_timeout(MILLISECONDS_MAX)
    try:
        someone = Operator(await context.new_page(), stage)
        someone.page.on("pageerror", lambda error: someone.complaints.append(str(error)))
        someone.page.on("console", someone.note)
        yield someone
    finally:
        await context.close()
