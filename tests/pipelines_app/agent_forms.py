"""The agent's form as a browser would send it, read from the page that the admin shows."""

from typing import Any

from django.forms import BaseForm
from django.test import Client
from django.urls import reverse

from accounts_app.models import User
from pipelines_app.forms import AgentForm
from pipelines_app.models import Agent
from tests.world import signed_in


def as_staff(user: User) -> Client:
    """Signed in, and let into the admin: what may be done there is up to the user's role."""
    user.is_staff = True
    user.save(update_fields=["is_staff"])
    return signed_in(user)


def change_address(agent: Agent) -> str:
    return reverse("admin:pipelines_app_agent_change", args=[agent.pk])


def shown_form(client: Client, agent: Agent) -> AgentForm:
    form = client.get(change_address(agent)).context["adminform"].form
    assert isinstance(form, AgentForm)
    return form


def sent(form: AgentForm, **changes: Any) -> dict[str, Any]:
    """What the form holds, with these changes. `stt_order=["openai"]` is the new order of a role."""
    values = _values(form)
    for section in (*form.sections.values(), form.credentials):
        values |= _values(section)
    for part in form.providers:
        if part.is_used:
            order = changes.pop(f"{part.role}_order", list(part.order))
            values |= {f"{part.role}-shown": "1", f"{part.role}-order": order}
            for card in part.cards:
                if card.slug in order and card.form:
                    values |= _values(card.form)
    return values | changes


def save(client: Client, agent: Agent, **changes: Any) -> Any:
    """Send the form of this agent, and follow to the page that tells how it went."""
    response = client.post(change_address(agent), sent(shown_form(client, agent), **changes), follow=True)
    agent.refresh_from_db()
    return response


def _values(form: BaseForm) -> dict[str, Any]:
    values = {field.html_name: field.value() for field in form}
    filled = {name: value for name, value in values.items() if value is not None and value is not False}
    return {name: "on" if value is True else value for name, value in filled.items()}
