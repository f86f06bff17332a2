"""The pages of sessions."""

from django.urls import path

from sessions_app import controls, starting, views

app_name = "sessions"
urlpatterns = [
    path("", views.session_list, name="list"),
    path("new/", starting.new, name="new"),
    path("<str:session_id>/", views.detail, name="detail"),
    path("<str:session_id>/invitation/", starting.invitation, name="invitation"),
    path("<str:session_id>/presence/", views.presence, name="presence"),
    path("<str:session_id>/say/", controls.say, name="say"),
    path("<str:session_id>/end/", controls.end, name="end"),
    path("<str:session_id>/config/", controls.config, name="config"),
]
