"""The live sockets of sessions."""

from django.urls import path

from sessions_app.consumers import SessionConsumer

websocket_urlpatterns = [path("live/sessions/<str:session_id>/", SessionConsumer.as_asgi())]
