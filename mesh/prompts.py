"""What a language model is told: the agent's prompts with their names filled in, and the conversation. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pydantic import JsonValue

from mesh.config.document import AgentConfig
from mesh.config.templates import INPUT, SESSION, fill, placeholders
from mesh.history import Line


def prompt(config: AgentConfig, session: str, lines: Sequence[Line]) -> Iterator[Line]:
    """The system's line where there is one, then the conversation, in which the agent's template puts the caller's.

    In the context instructions, what the caller said is the newest of it.
    """
    newest = next((line.text for line in reversed(lines) if line.role == "user"), "")
    context = fill(config.context_instructions, _values(config, session, newest))
    if system := "\n\n".join(part for part in (config.system_prompt, context) if part):
        yield Line("system", system)
    for line in lines:
        yield replace(line, text=_said(config, session, line.text)) if line.role == "user" else line


def _said(config: AgentConfig, session: str, words: str) -> str:
    template = config.user_template
    if not template:
        return words
    filled = fill(template, _values(config, session, words))
    return filled if INPUT in placeholders(template) else f"{filled}\n\n{words}"


def _values(config: AgentConfig, session: str, words: str) -> dict[str, JsonValue]:
    return {**config.variables, INPUT: words, SESSION: session}
