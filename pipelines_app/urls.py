"""The page of agents."""

from django.urls import path

from pipelines_app import views

app_name = "agents"
urlpatterns = [path("", views.agent_list, name="list")]
