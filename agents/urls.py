"""Routes of the pages for people."""

from __future__ import annotations

from django.urls import path, re_path

from agents import connect_views, incident_views, link_views, postmortem_views, views

INCIDENT = r"^incidents/(?P<pk>[0-9]{1,18})"
urlpatterns = [
    path("", views.overview, name="overview"),
    re_path(
        r"^autonomy/(?P<pk>[0-9]{1,18})/(?P<decision>raise|lower|decline)/?$",
        views.autonomy,
        name="autonomy",
    ),
    re_path(r"^q/(?P<token>[A-Za-z0-9_.-]{1,200})/?$", link_views.question, name="link"),
    re_path(r"^connect/?$", connect_views.show, name="connect"),
    re_path(r"^connect/token/?$", connect_views.make_token, name="connect-token"),
    re_path(r"^connect/test-alert/?$", connect_views.send_test, name="connect-test"),
    re_path(r"^slo/?$", views.service_levels, name="slo"),
    re_path(r"^pause/?$", views.pause, name="pause"),
    re_path(r"^pauses/(?P<pk>[0-9]{1,18})/lift/?$", views.lift, name="pause-lift"),
    re_path(rf"{INCIDENT}/?$", incident_views.incident, name="incident"),
    re_path(rf"{INCIDENT}/postmortem/?$", postmortem_views.page, name="postmortem"),
    re_path(rf"{INCIDENT}/postmortem\.md$", postmortem_views.file, name="postmortem-md"),
    re_path(rf"{INCIDENT}/postmortem/summary/?$", postmortem_views.summarize, name="postmortem-summary"),
    re_path(rf"{INCIDENT}/chart/?$", incident_views.chart, name="incident-chart"),
    re_path(rf"{INCIDENT}/record/?$", incident_views.record, name="incident-record"),
    re_path(rf"{INCIDENT}/acknowledge/?$", incident_views.acknowledge, name="incident-acknowledge"),
    re_path(rf"{INCIDENT}/(?P<whose>take-over|give-back)/?$", incident_views.hand, name="incident-hand"),
    re_path(rf"{INCIDENT}/annotate/?$", incident_views.annotate, name="incident-annotate"),
    re_path(rf"{INCIDENT}/rate/?$", incident_views.rate, name="incident-rate"),
    re_path(rf"{INCIDENT}/note/?$", incident_views.note, name="incident-note"),
    re_path(rf"{INCIDENT}/escalate/?$", incident_views.escalate, name="incident-escalate"),
    re_path(rf"{INCIDENT}/investigate/?$", incident_views.investigate, name="incident-investigate"),
    re_path(
        rf"{INCIDENT}/actions/(?P<action_id>[0-9]{{1,18}})/(?P<decision>approve|reject|ask-again)/?$",
        incident_views.decide,
        name="action-decide",
    ),
]
