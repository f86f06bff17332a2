"""The call page: of the default agent, and of each."""

from django.urls import path

from sessions_app import calls

app_name = "calls"
urlpatterns = [
    path("", calls.default, name="default"),
    path("<slug:workspace>/<slug:slug>/", calls.page, name="page"),
    path("<slug:workspace>/<slug:slug>/start/", calls.start, name="start"),
]
