"""Routes of the pages for people."""

from __future__ import annotations

from django.urls import path, re_path

from agents import views

INCIDENT = r"^incidents/(?P<pk>[0-9]{1,18})"
urlpatterns = [
    path("", views.overview, name="overview"),
    re_path(rf"{INCIDENT}/?$", views.incident, name="incident"),
    re_path(rf"{INCIDENT}/acknowledge/?$", views.acknowledge, name="incident-acknowledge"),
    re_path(rf"{INCIDENT}/annotate/?$", views.annotate, name="incident-annotate"),
    re_path(
        rf"{INCIDENT}/actions/(?P<action_id>[0-9]{{1,18}})/(?P<decision>approve|reject|ask-again)/?$",
        views.decide,
        name="action-decide",
    ),
]
