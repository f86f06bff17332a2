"""Whose transcript counts, where more than one recogniser may have heard the same utterance."""

from collections.abc import Sequence

from connectors_app.base.recognizer import Transcript

DOUBTFUL_SECONDS = 1.0
"""Of voice in which a provider heard no words: when there is more, the next is asked, too."""
SURE = 0.5
"""How sure a second provider must be of its words, where it tells: some hear words in any noise."""


def is_doubtful(transcript: Transcript, voiced: float) -> bool:
    """Nothing, in so many seconds of a voice."""
    return not transcript.text and voiced >= DOUBTFUL_SECONDS


def is_sure(transcript: Transcript) -> bool:
    return bool(transcript.text) and (transcript.confidence is None or transcript.confidence >= SURE)


def chosen(answers: Sequence[Transcript | None], voiced: float) -> int | None:
    """The place of the transcript that counts; None: it may still come. Answers are in the order of the providers.

    The first one's counts as it is, unless it is doubtful. Before it has come, or against it, only words count of
    which another one is sure. When there are none and no more can come, the first one's is the right one after all.
    """
    first, *others = answers
    if first is not None and not is_doubtful(first, voiced):
        return 0
    for place, answer in enumerate(others, 1):
        if answer is not None and is_sure(answer):
            return place
    return None if None in answers else 0
