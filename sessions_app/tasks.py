"""Wake-ups for what is to be forgotten of sessions."""

from celery import shared_task
from django.utils import timezone

from sessions_app import retention


@shared_task
def delete_past_retention() -> str:
    return f"{retention.delete_past_retention(now=timezone.now())} sessions deleted"
