"""From a clone to the first spoken reply: clone, `make up`, open the page, press the button, speak, hear the answer.

    python -m bench.first_call            packages from this user's caches
    python -m bench.first_call --cold     everything from the index

The clone has a home and a data directory of its own and runs on free ports. A Chromium whose microphone is a file with
one sentence calls the demo agent; what counts is when the page has played the first samples of the answer.
"""

import argparse
import os
import re
import signal
import subprocess
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from meshag_site.ports import DOCUMENTED
from tests import speech

ROOT = Path(__file__).resolve().parent.parent
SAID = "I would like to book an appointment."
RATE = 48_000
LEAD = 0.5
"""Seconds of silence before the sentence."""
READY = "MeshAG is ready"
PATIENCE = 600


def environment(home: Path, cold: bool) -> dict[str, str]:
    """A newcomer's: nothing but a path and an empty home, and the caches unless everything is to be cold."""
    mine = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    index = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    cache = home / ".cache" if cold else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {**mine, **index, **dict.fromkeys(DOCUMENTED, "0"), "HOME": str(home), "XDG_CACHE_HOME": str(cache)}


@contextmanager
def running(clone: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = ["make", "up"]
    up = subprocess.Popen(command, cwd=clone, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield up
    finally:
        os.killpg(up.pid, signal.SIGINT)  # as Ctrl-C does
        up.communicate(timeout=60)


def until_ready(up: subprocess.Popen[str]) -> str:
    """The address of the pages."""
    assert up.stdout
    for line in up.stdout:
        if READY in line:
            found = re.search(r"http://\S+", line + up.stdout.readline() + up.stdout.readline())
            assert found, "the last lines name no address"
            return found[0].rstrip(".,")
    raise SystemExit("make up ended before it was ready; run it by hand to see why")


def microphone(path: Path) -> float:
    """Writes the sentence; returns the seconds until its end."""
    said = speech.speak(SAID, RATE)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(2 * round(LEAD * RATE)) + said + bytes(4 * RATE))
    return LEAD + len(said) / 2 / RATE


@contextmanager
def visitor(heard_by_microphone: Path) -> Iterator[Page]:
    flags = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard_by_microphone}%noloop",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-background-networking",
    ]
    chromium = os.environ.get("MESHAG_TEST_CHROMIUM", "/usr/bin/chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_context(permissions=["microphone"]).new_page()
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def heard(page: Page) -> int:
    return int(page.locator("#call").get_attribute("data-heard") or 0)


def converse(page: Page, url: str) -> dict[str, float]:
    """Press the button and let the microphone speak; the moments at which things were heard."""
    page.goto(url)
    moments = {"page open": time.monotonic()}
    page.get_by_role("button", name="Call Demo").click()
    moments["button pressed"] = time.monotonic()
    page.wait_for_function("() => Number(document.getElementById('call').dataset.heard) > 0")
    moments["greeting heard"] = time.monotonic()
    page.get_by_text(SAID.strip(".").lower(), exact=True).first.wait_for()
    moments["sentence understood"] = time.monotonic()
    page.locator("li.agent").last.get_by_text("Which day suits you").wait_for()
    page.wait_for_function(f"() => Number(document.getElementById('call').dataset.heard) > {heard(page)}")
    moments["reply heard"] = time.monotonic()
    return moments


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--cold", action="store_true", help="use no package cache")
    cold = arguments.parse_args().cold
    with tempfile.TemporaryDirectory(prefix="meshag-first-call-") as directory:
        clone, home, said = Path(directory, "clone"), Path(directory, "home"), Path(directory, "said.wav")
        home.mkdir()
        microphone(said)
        start = time.monotonic()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        moments = {"cloned": time.monotonic()}
        with running(clone, environment(home, cold)) as up:
            url = until_ready(up)
            moments["ready"] = time.monotonic()
            with visitor(said) as page:
                moments |= {"browser started": time.monotonic(), **converse(page, url)}
    for what, moment in moments.items():
        print(f"{moment - start:7.1f} s  {what}")


if __name__ == "__main__":
    main()
