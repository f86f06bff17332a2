"""The call page's resampler, in Chromium, without the rest of the site."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

SCRIPT = Path("sessions_app/static/sessions_app/call/resampler.js")
RATES = [(48_000, 24_000), (44_100, 24_000), (24_000, 48_000), (24_000, 44_100), (96_000, 16_000)]
RUN = """async ([from, to, samples, piece]) => {
    const { Resampler } = await import("/resampler.js");
    const resampler = new Resampler(from, to), output = [];
    for (let i = 0; i < samples.length; i += piece)
        output.push(...resampler.push(Float32Array.from(samples.slice(i, i + piece))));
    return output;
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def bench(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    await context.route(
        "http://localhost/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html")
    )
    await context.route("**/resampler.js", lambda route: route.fulfill(path=SCRIPT, content_type="text/javascript"))
    page = await context.new_page()
    await page.goto("http://localhost/")
    yield page
    await context.close()


def sine(hertz: float, rate: int, seconds: float = 0.1) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


async def resampled(bench: Page, source: int, target: int, samples: np.ndarray, piece: int = 128) -> np.ndarray:
    return np.array(await bench.evaluate(RUN, [source, target, samples.tolist(), piece]))


def decibels(samples: np.ndarray) -> float:
    """Of a full sine, without the edges where the filter is not filled."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    return float(10 * np.log10(2 * np.mean(middle**2)))


def impurity(samples: np.ndarray, hertz: float, rate: int) -> float:
    """What is left beside the sine of that frequency, in decibels."""
    angle = 2 * np.pi * hertz * np.arange(len(samples)) / rate
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    middle = slice(len(samples) // 4, -len(samples) // 4)
    amplitudes = np.linalg.lstsq(basis[middle], samples[middle], rcond=None)[0]
    return decibels(samples - basis @ amplitudes)


@pytest.mark.parametrize(("source", "target"), RATES)
async def test_a_tone_keeps_its_level_and_purity(bench: Page, source: int, target: int) -> None:
    tone = await resampled(bench, source, target, sine(1000, source))
    assert decibels(tone) == pytest.approx(0, abs=0.05)
    assert impurity(tone, 1000, target) < -70


@pytest.mark.parametrize(("source", "target"), [(48_000, 24_000), (44_100, 24_000), (48_000, 16_000)])
async def test_what_the_lower_rate_cannot_carry_is_gone(bench: Page, source: int, target: int) -> None:
    assert decibels(await resampled(bench, source, target, sine(0.51 * target, source))) < -60
    assert decibels(await resampled(bench, source, target, sine(0.7 * target, source))) < -70


async def test_as_many_samples_leave_as_come_in(bench: Page) -> None:
    assert len(await resampled(bench, 44_100, 24_000, sine(500, 44_100, 1.0))) == pytest.approx(24_000, abs=40)


async def test_pieces_make_no_difference(bench: Page) -> None:
    tone = sine(700, 48_000)
    small, large = [await resampled(bench, 48_000, 24_000, tone, piece) for piece in (128, 4800)]
    assert np.array_equal(small, large)
