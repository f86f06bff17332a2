"""The live sockets of sessions."""

from django.urls import path

from sessions_app.consumers import SessionConsumer
from sessions_app.list_consumer import SessionListConsumer

websocket_urlpatterns = [
    path("live/sessions/", SessionListConsumer.as_asgi()),
    path("live/sessions/<str:session_id>/", SessionConsumer.as_asgi()),
]
