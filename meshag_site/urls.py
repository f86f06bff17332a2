"""The web's addresses."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from meshag_site import health
from meshag_site.api_pages import RedocPage, SwaggerPage
from meshag_site.doctor.page import doctor
from sessions_app.home import home, now

urlpatterns = [
    path("", home, name="home"),
    path("now/", now, name="home-now"),
    path("login", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout", auth.LogoutView.as_view(), name="logout"),
    path("call/", include("sessions_app.call_urls")),
    path("agents/", include("pipelines_app.urls")),
    path("sessions/", include("sessions_app.urls")),
    path("api/v1/", include("meshag_site.api")),
    path("api/docs/", SwaggerPage.as_view(url_name="schema"), name="api-docs"),
    path("api/redoc/", RedocPage.as_view(url_name="schema"), name="api-redoc"),
    path("admin/", admin.site.urls),
    path("favicon.ico", RedirectView.as_view(url=static("icon.svg"))),
    path("doctor/", doctor, name="doctor"),
    path("health", health.health, name="health"),
    path("ready", health.ready, name="ready"),
    path("metrics", health.metrics, name="metrics"),
    path("metrics/targets", health.targets, name="targets"),
]
