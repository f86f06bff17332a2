"""What may be wished for a session's room, and what becomes of it on each transport."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

DAILY: Final = "daily"

NO_RECORDING = "enable_recording: the websocket transport makes no recording"
ONE_CALLER = "max_participants: a session of the websocket transport has one caller"
NO_AGENT = "daily: people can meet in the room; the agent does not come into it in this version"


@dataclass(frozen=True, slots=True)
class Wishes:
    max_participants: int | None = None
    recording: bool = False
    captions: bool = True
    """Whether transcripts may be shown to the caller."""
    transcription: bool = False
    """Whether the room's provider shall transcribe, which it is paid for."""

    def granted(self, transport: str) -> dict[str, Any]:
        """For the session and for its history."""
        is_room = transport == DAILY
        notices = tuple(self._notices(is_room))
        recording, transcription = is_room and self.recording, is_room and self.transcription
        told = {"recording": recording, "transcription": transcription if is_room else self.captions}
        return {
            "max_participants": self.max_participants,
            "captions": self.captions,
            "recording": recording,
            "transcription": transcription,
            "notices": notices,
            "details": {**told, "notices": list(notices)},
        }

    def _notices(self, is_room: bool) -> Iterator[str]:
        if is_room:
            yield NO_AGENT
            return
        if self.recording:
            yield NO_RECORDING
        if (self.max_participants or 1) > 1:
            yield ONE_CALLER
