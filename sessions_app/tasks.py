"""Wake-ups for what is to be forgotten of sessions."""

import asyncio

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from sessions_app import retention


@shared_task
def sweep_valkey() -> str:
    return f"{asyncio.run(retention.sweep_valkey(settings.VALKEY_URL))} expired keys forgotten"


@shared_task
def delete_past_retention() -> str:
    return f"{retention.delete_past_retention(now=timezone.now())} sessions deleted"
