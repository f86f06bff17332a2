"""Celery: work that can wait, on Valkey. A task is only the wake-up for rows that say what is to be done.

Nothing waits for a result, and nothing is lost when a wake-up is: the schedule sends the next one.
"""

import logging
import os
import time
from typing import Any

from celery import Celery, signals
from celery.beat import PersistentScheduler
from celery.schedules import schedule

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "meshag_site.settings")

from django.conf import settings  # noqa: E402 (it has to know where they are)
from redis import RedisError  # noqa: E402

from meshag_site import background  # noqa: E402
from meshag_site.background import BEAT, JOBS, SIGN_EVERY, WORKER, Run  # noqa: E402

log = logging.getLogger(__name__)

app = Celery("meshag")
app.conf.update(
    broker_url=settings.VALKEY_URL,
    broker_use_ssl={"ssl_cert_reqs": "required"} if settings.VALKEY_URL.startswith("rediss:") else None,
    broker_transport_options={"global_keyprefix": "celery:", "socket_timeout": 3, "socket_connect_timeout": 2},
    broker_connection_timeout=2,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_publish_retry=False,  # whoever asks for work is told at once that the broker is away
    task_ignore_result=True,
    task_serializer="json",
    event_serializer="json",
    accept_content=["json"],
    result_accept_content=["json"],
    result_expires=None,
    worker_prefetch_multiplier=1,
    worker_enable_prefetch_count_reduction=False,
    timezone="UTC",
    beat_schedule_filename=str(settings.DATA_DIR / "schedule"),
    beat_scheduler="meshag_site.celery:LivingScheduler",
    beat_max_loop_interval=SIGN_EVERY,
    beat_schedule={
        # A wake-up that nobody took until the next one is due says nothing new.
        job: {"task": job, "schedule": schedule(every), "options": {"expires": every}}
        for job, every in JOBS.items()
    },
)
app.autodiscover_tasks()


class LivingScheduler(PersistentScheduler):  # type: ignore[misc]
    """Says after each look at the schedule that it lives."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        pause: float = super().tick(*args, **kwargs)
        note_alive(BEAT)
        return pause


def note_alive(who: str) -> None:
    _note(background.note_alive, who)


def _note(write: Any, *what: object) -> None:
    """What cannot be noted now is noted the next time."""
    try:
        write(_valkey, *what)
    except (RedisError, OSError) as error:
        log.info("Valkey is away", extra={"error": str(error)})


_valkey = background.connect(settings.VALKEY_URL)
_begun: dict[str, float] = {}


@signals.setup_logging.connect
def _leave_logging_alone(**_: Any) -> None:
    """Whoever answers this signal has set up logging; Django's settings have."""


@signals.heartbeat_sent.connect
def _worker_lives(**_: Any) -> None:
    """From the loop that takes the messages, while it is connected."""
    note_alive(WORKER)


@signals.worker_shutdown.connect
def _worker_leaves(**_: Any) -> None:
    _note(background.note_gone, WORKER)


@signals.task_prerun.connect
def _note_begin(task_id: str, **_: Any) -> None:
    _begun[task_id] = time.monotonic()


@signals.task_postrun.connect
def _note_end(task_id: str, task: Any, retval: object, state: str, **_: Any) -> None:
    took = time.monotonic() - _begun.pop(task_id, time.monotonic())
    failed = state != "SUCCESS"
    text = f"{type(retval).__name__}: {retval}" if failed else str(retval or "")
    run = Run(job=task.name, at=time.time(), seconds=round(took, 3), **{"error" if failed else "result": text})
    _note(background.note_run, run)
