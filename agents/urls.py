"""Routes of the pages for people."""

from __future__ import annotations

from django.urls import path, re_path

from agents import link_views, views

INCIDENT = r"^incidents/(?P<pk>[0-9]{1,18})"
urlpatterns = [
    path("", views.overview, name="overview"),
    re_path(
        r"^autonomy/(?P<pk>[0-9]{1,18})/(?P<decision>raise|lower|decline)/?$",
        views.autonomy,
        name="autonomy",
    ),
    re_path(r"^q/(?P<token>[A-Za-z0-9_.-]{1,200})/?$", link_views.question, name="link"),
    re_path(r"^slo/?$", views.service_levels, name="slo"),
    re_path(r"^pause/?$", views.pause, name="pause"),
    re_path(r"^pauses/(?P<pk>[0-9]{1,18})/lift/?$", views.lift, name="pause-lift"),
    re_path(rf"{INCIDENT}/?$", views.incident, name="incident"),
    re_path(rf"{INCIDENT}/acknowledge/?$", views.acknowledge, name="incident-acknowledge"),
    re_path(rf"{INCIDENT}/(?P<whose>take-over|give-back)/?$", views.hand, name="incident-hand"),
    re_path(rf"{INCIDENT}/annotate/?$", views.annotate, name="incident-annotate"),
    re_path(
        rf"{INCIDENT}/actions/(?P<action_id>[0-9]{{1,18}})/(?P<decision>approve|reject|ask-again)/?$",
        views.decide,
        name="action-decide",
    ),
]
