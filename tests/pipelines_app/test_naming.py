"""What a place of an agent's document is called for people: as its form calls it."""

import pytest

from pipelines_app.naming import name_of


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", "The whole document"),
        ("system_prompt", "System prompt"),
        ("apology", "When no provider answers"),
        ("pipeline.name", "Pipeline: name"),
        ("pipeline.flow", "Pipeline: steps"),
        ("pipeline.flow[0].stream", "Step 1: carries"),
        ("pipeline.flow[2].from", "Step 3: from"),
        ("pipeline.flow[3]", "Step 4"),
        ("connectors.stt", "Hearing"),
        ("connectors.stt.primary", "Hearing: asked first"),
        ("connectors.stt.fallback", "Hearing: fallback"),
        ("connectors.llm.config.openai.temperature", "Thinking: OpenAI: Temperature"),
        ("connectors.llm.config.openai", "Thinking: OpenAI"),
        ("connectors.llm.config.openai.extra.my_key[0]", "Thinking: OpenAI: Extra: my key: no. 1"),
        ("connectors.tts.config", "Speaking: options"),
        ("connectors.tts.config.voice", "Speaking: Voice"),
        ("connectors.transport.primary", "Calls come by"),
        ("turn.stop_ms", "Taking turns: Pause that ends an utterance (ms)"),
        ("turn", "Taking turns"),
        ("credentials.deepgram", "Credentials: Deepgram"),
        ("some_thing.own", "Some thing: own"),
    ],
)
def test_a_place_is_called_as_in_the_form(path: str, name: str) -> None:
    assert name_of(path) == name
