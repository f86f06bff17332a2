"""The pages of sessions."""

from django.urls import path

from sessions_app import views

app_name = "sessions"
urlpatterns = [
    path("", views.session_list, name="list"),
    path("<str:session_id>/", views.detail, name="detail"),
]
