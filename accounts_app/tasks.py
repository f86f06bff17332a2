"""Wake-ups for what concerns people."""

from celery import shared_task

from accounts_app.actions import forget_expired_logins as forget


@shared_task
def forget_expired_logins() -> str:
    forget()
    return "done"
