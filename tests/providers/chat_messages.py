"""What OpenAI's chat accepts of messages and tools, and what it refuses."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.providers.brain import Function, Messages
from tests.providers.refusals import refusal
from tests.providers.routes import Provider

ROLES = {"system", "developer", "user", "assistant", "tool"}
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def check_messages(provider: Provider, messages: Messages) -> None:
    """Every call is answered by the messages right after it, and nothing else is."""
    waiting: list[str] = []
    for place, message in enumerate(messages):
        where, role = f"messages.[{place}]", message.get("role")
        if role not in ROLES:
            raise refusal(provider, 400, message=f"Invalid value: '{role}'.", param=f"{where}.role")
        if role == "tool":
            _check_result(provider, message, waiting, where)
            continue
        if waiting:
            raise _unanswered(provider, waiting, where)
        waiting = [_check_call(provider, call, where) for call in message.get("tool_calls") or ()]
        if message.get("content") is None and not waiting:
            text = f"Invalid value for 'content': expected a string, got null. ({where}.content)"
            raise refusal(provider, 400, message=text, param=f"{where}.content")
    if waiting:
        raise _unanswered(provider, waiting, f"messages.[{len(messages)}]")


def _check_result(provider: Provider, message: Mapping[str, Any], waiting: list[str], where: str) -> None:
    if message.get("tool_call_id") not in waiting:
        text = (
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
        )
        raise refusal(provider, 400, message=text, param=f"{where}.role")
    if not isinstance(message.get("content"), str | list):
        raise refusal(provider, 400, message="Invalid type for 'content'.", param=f"{where}.content")
    waiting.remove(message["tool_call_id"])


def _unanswered(provider: Provider, waiting: Sequence[str], where: str) -> Exception:
    text = (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(waiting)}"
    )
    return refusal(provider, 400, message=text, param=f"{where}.role")


def _check_call(provider: Provider, call: Mapping[str, Any], where: str) -> str:
    """Its id."""
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if call.get("type") != "function" or not call.get("id") or not NAME.fullmatch(function.get("name") or ""):
        raise refusal(provider, 400, message="Invalid tool call.", param=f"{where}.tool_calls")
    if not isinstance(arguments, str) or not _is_object(arguments):
        text = "Invalid type for 'function.arguments': expected a string of JSON."
        raise refusal(provider, 400, message=text, param=f"{where}.tool_calls")
    return str(call["id"])


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except json.JSONDecodeError:
        return False


def functions_of(provider: Provider, tools: Sequence[Mapping[str, Any]]) -> list[Function]:
    """The tools of a request."""
    found = []
    for place, tool in enumerate(tools):
        function = tool.get("function") or {}
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        if tool.get("type") != "function" or not NAME.fullmatch(function.get("name") or ""):
            raise refusal(provider, 400, message="Invalid tool.", param=f"tools[{place}].function.name")
        if parameters.get("type") != "object":
            text = f"Invalid schema for function '{function['name']}': schema must be of type 'object'."
            raise refusal(provider, 400, message=text, param=f"tools[{place}].function.parameters")
        found.append(Function(function["name"], parameters))
    return found
