"""Pictures of a page in both themes and at the width of a telephone, for people to look at."""

from pathlib import Path
from typing import Literal

from playwright.async_api import Page

FOLDER = Path(__file__).with_name("screenshots")
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
WIDTHS = {"desk": 1280, "phone": 360}
HEIGHT = 800
ADMIN_THEME = (
    """(theme) => document.querySelector("[x-bind=themeBindings]")?.classList.toggle("dark", theme === "dark")"""
)
"""The admin looks at the browser's theme once, when it is loaded; loading it again would lose what was typed there."""


TOO_WIDE = "() => document.documentElement.scrollWidth > innerWidth"


async def screenshot(page: Page, name: str, *, whole: bool = True) -> bool:
    """Four pictures in a folder that git ignores; the page is as wide as before afterwards. False: it is too wide.

    `whole`: the page to its end, not only what a window shows of it.
    """
    FOLDER.mkdir(exist_ok=True)
    before = page.viewport_size
    for where, width in WIDTHS.items():
        await page.set_viewport_size({"width": width, "height": HEIGHT})
        for theme in THEMES:
            await page.emulate_media(color_scheme=theme)
            await page.evaluate(ADMIN_THEME, theme)
            await page.screenshot(path=FOLDER / f"{name}-{where}-{theme}.png", full_page=whole)
    fits = not await page.evaluate(TOO_WIDE)
    await page.emulate_media(color_scheme=None)
    await page.evaluate(ADMIN_THEME, THEMES[0])
    if before:
        await page.set_viewport_size(before)
    return fits
