"""The doctor as a page: what the server sees, and by a script what this browser can do."""

from itertools import groupby

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from accounts_app.models import User
from meshag_site.doctor.examination import Doctor
from meshag_site.doctor.findings import Area, Finding, in_words
from meshag_site.middleware import DEVICES
from sessions_app.addresses import render_reaching, socket_origin

DOCTOR = Doctor()


@login_required
@require_safe
async def doctor(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    assert isinstance(user, User)
    if not (user.is_superuser or await user.memberships.aexists()):
        raise PermissionDenied
    shown, hidden = await DOCTOR.examine_for(user)
    transport = "http" + socket_origin(request).removeprefix("ws")
    words = {"words": in_words(shown), "hidden": hidden and in_words(hidden)}
    context = {"areas": _by_area(shown), "transport": transport, **words}
    page = sync_to_async(render_reaching)  # a template may ask the database
    response = await page(request, "meshag_site/doctor.html", context, reaches=transport)
    response["Permissions-Policy"] = DEVICES.format("self")  # else the browser says of the microphone that it is denied
    return response


def _by_area(findings: list[Finding]) -> list[tuple[Area, list[Finding]]]:
    order = list(Area)
    findings = sorted(findings, key=lambda finding: order.index(finding.area))
    return [(area, list(found)) for area, found in groupby(findings, key=lambda finding: finding.area)]
