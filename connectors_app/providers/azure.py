"""Azure Speech: text to speech by its REST API, one request a sentence, streamed as it is spoken."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from xml.sax.saxutils import escape, quoteattr

from pydantic import Field

from connectors_app.base import Credentials, ErrorKind, Options, ProviderError, Setting, Speech, Voice
from connectors_app.clients import HTTP
from connectors_app.failures import expect_ok, told_by_http
from connectors_app.samples import whole_samples

FORMATS = {8000: "raw-8khz-16bit-mono-pcm", 16000: "raw-16khz-16bit-mono-pcm", 24000: "raw-24khz-16bit-mono-pcm"}


class AzureOptions(Options):
    voice: str = Field("en-US-JennyNeural", pattern=r"^[A-Za-z]{2,3}-[\w:-]+$", description="Full name of the voice")
    speed: float | None = Field(None, ge=0.5, le=2, description="1 is the usual speed")
    pitch: int | None = Field(None, ge=-50, le=50, description="Per cent higher or lower than usual")
    style: str | None = Field(None, pattern=r"^[a-z-]+$", description="Speaking style, for voices that have some")

    def ssml(self, text: str) -> str:
        said = escape(text)
        if self.speed is not None or self.pitch is not None:
            rate, pitch = self.speed or 1, self.pitch or 0
            said = f'<prosody rate="{rate:g}" pitch="{pitch:+d}%">{said}</prosody>'
        if self.style:
            said = f"<mstts:express-as style={quoteattr(self.style)}>{said}</mstts:express-as>"
        language = "-".join(self.voice.split("-")[:2])
        return (
            '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
            f'xmlns:mstts="https://www.w3.org/2001/mstts" xml:lang={quoteattr(language)}>'
            f"<voice name={quoteattr(self.voice)}>{said}</voice></speak>"
        )


class AzureVoice(Voice):
    slug = "azure"
    label = "Azure Speech"
    key_setting = "AZURE_SPEECH_KEY"
    base_url_setting = "AZURE_SPEECH_BASE_URL"
    more_settings = (Setting("AZURE_SPEECH_REGION", "Region", "[a-z0-9]{2,40}", "Such as westeurope."),)
    Options = AzureOptions
    options: AzureOptions

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        found = cls.credentials_from(environ)
        wanted = {"AZURE_SPEECH_KEY": found.api_key, "AZURE_SPEECH_REGION": found.base_url}
        return tuple(name for name, value in wanted.items() if not value)

    @classmethod
    def credentials_from(cls, environ: Mapping[str, str]) -> Credentials:
        """`AZURE_API_KEY` and `AZURE_REGION` are older names of the same settings."""
        key = environ.get("AZURE_SPEECH_KEY") or environ.get("AZURE_API_KEY", "")
        region = environ.get("AZURE_SPEECH_REGION") or environ.get("AZURE_REGION", "")
        base_url = environ.get("AZURE_SPEECH_BASE_URL") or _address(region.strip())
        return Credentials(key.strip(), base_url.strip().rstrip("/"))

    @property
    def model(self) -> str:
        return self.options.voice

    async def warm(self) -> None:
        await self.check()

    async def check(self) -> None:
        client = await HTTP.take(self)
        url = f"{self.credentials.base_url}/cognitiveservices/voices/list"
        with told_by_http(self):
            async with client.get(url, headers=self._headers()) as response:
                await expect_ok(self, response)

    async def close(self) -> None:
        await HTTP.leave(self)

    def open(self, rate: int) -> Speech:
        return _HttpSpeech(self, min((r for r in FORMATS if r >= rate), default=max(FORMATS)))

    async def stream(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        client = await HTTP.take(self)
        url = f"{self.credentials.base_url}/cognitiveservices/v1"
        headers = {**self._headers(), "Content-Type": "application/ssml+xml", "X-Microsoft-OutputFormat": FORMATS[rate]}
        with told_by_http(self):
            async with client.post(url, data=self.options.ssml(text).encode(), headers=headers) as response:
                await expect_ok(self, response)
                async for piece in response.content.iter_any():
                    yield piece

    def _headers(self) -> dict[str, str]:
        return {"Ocp-Apim-Subscription-Key": self.credentials.api_key, "User-Agent": "MeshAG"}


def _address(region: str) -> str:
    return f"https://{region}.tts.speech.microsoft.com" if region else ""


class _HttpSpeech(Speech):
    def __init__(self, by: AzureVoice, rate: int) -> None:
        self._by = by
        self.rate = rate

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        rest = b""
        empty = True
        async with aclosing(self._by.stream(text, self.rate)) as pieces:
            async for piece in pieces:
                piece, rest = whole_samples(rest + piece)
                if piece:
                    empty = False
                    yield piece
        if empty:
            raise ProviderError(ErrorKind.EMPTY, "Azure Speech sent no audio")
