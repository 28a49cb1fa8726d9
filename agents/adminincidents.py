"""Incidents in the admin: found among a million, decided many at a time, annotated one by one.

It is the crew's page, not the records': it shows what an incident cost, and sends the crew to it again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet, TextField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents import again, costs
from agents.adminforms import IncidentForm
from agents.adminparts import (
    ActionInline,
    EpisodeInline,
    EventInline,
    NotificationInline,
    RunInline,
    SeverityFilter,
    SourceFilter,
)
from incidents import finding, wording
from incidents import services as incident_services
from incidents.adminbase import (
    AutocompleteFilter,
    ModelForm,
    RecordAdmin,
    RecordInline,
    RecordList,
    Textarea,
    Work,
    label,
)
from incidents.adminforms import Prose
from incidents.models import Incident, Rating, Verdict

SEVERITY_TONES = {"critical": "bad", "warning": "warn", "info": "info"}
VERDICT_TONES: dict[str, str] = {
    Verdict.VERIFIED: "good",
    Verdict.CLEARED_BEFORE_ACTION: "good",
    Verdict.RESOLVED_BY_HUMAN: "good",
    Verdict.NOT_FIXED: "bad",
    Verdict.RELAPSED: "bad",
    Verdict.UNKNOWN: "warn",
    Verdict.FALSE_ALARM: "plain",
}


def _acknowledge(incident: Incident, by: str) -> str | None:
    if incident_services.acknowledge(incident, by=by):
        return None
    return f"{incident} was acknowledged before by {incident.acknowledged_by}"


def _escalate(incident: Incident, by: str) -> str | None:
    if incident_services.escalate(incident, by=by):
        return None
    return f"{incident} was not escalated: it is over, or others are called already"


def _investigate(incident: Incident, by: str) -> str | None:
    try:
        again.investigate(incident, by=by)
    except again.CannotInvestigate as error:
        return f"{incident} is not investigated again: {error}"
    return None


VERDICT_BUTTONS = {"_false_alarm": Verdict.FALSE_ALARM, "_resolved_by_me": Verdict.RESOLVED_BY_HUMAN}
WORK_BUTTONS: dict[str, Work] = {
    "_acknowledge": _acknowledge,
    "_escalate": _escalate,
    "_investigate": _investigate,
}


class IncidentList(RecordList):
    """A page of the list, with what each of its incidents cost and how it stands: a query each for all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = costs.of_incidents([row.pk for row in self.result_list])
        left = wording.left_to_people(self.result_list)
        for row in self.result_list:
            row.cost = found.get(row.pk)
            row.stands = wording.standing(row, left=left)


@admin.register(Incident)
class IncidentAdmin(RecordAdmin):
    """Incidents. A person may say what the cause was, and how it ended; the rest is what happened."""

    form = IncidentForm
    formfield_overrides = {TextField: {"form_class": Prose, "widget": Textarea(attrs={"rows": 3})}}
    list_display = ("alert", "severity_label", "state", "standing", "on", "age", "took", "cost")
    list_display_links = ("alert",)
    list_filter = (
        "status",
        SeverityFilter,
        "verdict",
        SourceFilter,
        ("target", AutocompleteFilter),
        "opened_at",
        "adopted",
    )
    list_filter_submit = True
    list_select_related = ("target",)
    search_fields = ("alert_name", "target__key", "root_cause", "human_cause")
    search_help_text = "Alert, target, cause or #number"
    list_before_template = "admin/incidents/incident/searched.html"
    date_hierarchy = "opened_at"
    inlines: ClassVar[tuple[type[RecordInline], ...]] = (
        ActionInline,
        RunInline,
        EpisodeInline,
        EventInline,
        NotificationInline,
    )
    actions = (
        "mark_acknowledged",
        "mark_resolved_by_me",
        "mark_false_alarm",
        "escalate",
        "investigate_again",
    )
    writable = ("human_cause", "human_note", "diagnosis", "line")
    fieldsets = (
        (None, {"fields": ("alert_name", "severity", "how", "target", "source", "description")}),
        ("What a person knows", {"fields": (*writable, "annotated_by", "annotated_at", "rated_by")}),
        (
            "State",
            {
                "fields": (
                    ("status", "verdict"),
                    "proof_note",
                    ("started_at", "opened_at"),
                    ("ended_at", "closed_at"),
                    ("took", "reopened"),
                    ("acknowledged_by", "acknowledged_at"),
                    ("taken_over_by", "taken_over_at"),
                    ("previous", "adopted"),
                    "request_id",
                    "trace",
                )
            },
        ),
        ("The crew's word", {"fields": ("root_cause", "certainty", "rung", "remediation_taken", "spent")}),
    )

    # --- the list -------------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        bounds = {"newest_of_each": finding.EACH, "causes_of": finding.CAUSES}
        return super().changelist_view(request, {**bounds, **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return IncidentList

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Within a time by time: from its index the newest come first, without a look at those after it."""
        by_time = any(name.startswith("opened_at") for name in request.GET)
        return ("-opened_at", "-pk") if by_time else ("-pk",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Incident], search_term: str
    ) -> tuple[QuerySet[Incident], bool]:
        return (finding.matching(queryset, search_term) if search_term.strip() else queryset), False

    @admin.display(description="incident")
    def alert(self, incident: Incident) -> str:
        return str(incident)

    @admin.display(description="severity")
    def severity_label(self, incident: Incident) -> SafeString:
        return label(incident.severity_class, SEVERITY_TONES.get(incident.severity_class, "plain"))

    @admin.display(description="state")
    def state(self, incident: Any) -> SafeString:
        """The verdict, and while there is none the status."""
        if incident.verdict is None:
            needs_person = incident.waiting_for == "approval" or incident.stands == wording.NEEDS_YOU
            tone = "warn" if needs_person else "info"
            return label(incident.get_status_display().capitalize(), tone)
        return label((incident.get_verdict_display() or "").capitalize(), VERDICT_TONES[incident.verdict])

    @admin.display(description="how it stands")
    def standing(self, incident: Any) -> str:
        return str(incident.stands)

    @admin.display(description="how it stands")
    def how(self, incident: Incident) -> str:
        return wording.standing(incident)

    @admin.display(description="target")
    def on(self, incident: Incident) -> str:
        return incident.target.key if incident.target else "-"

    @admin.display(description="age")
    def age(self, incident: Incident) -> SafeString:
        ago = wording.duration(timezone.now() - incident.opened_at)
        return format_html('<time datetime="{}">{}</time>', incident.opened_at.isoformat(), ago)

    @admin.display(description="took")
    def took(self, incident: Incident) -> str:
        seconds = incident.resolution_seconds
        return "-" if seconds is None else wording.duration(timedelta(seconds=seconds))

    @admin.display(description="cost")
    def cost(self, incident: Any) -> str:
        return costs.in_words(incident.cost)

    # --- the page -------------------------------------------------------------------------------

    def get_readonly_fields(self, request: HttpRequest, obj: Incident | None = None) -> list[str]:
        names = [field.name for field in Incident._meta.fields if field.name not in self.writable]
        return [*names, "took", "trace", "how", "spent"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def view_on_site(self, incident: Incident) -> str:
        return f"/incidents/{incident.pk}"

    @admin.display(description="trace")
    def trace(self, incident: Incident) -> str:
        """A link where TRACE_URL_TEMPLATE says where traces are, else the id."""
        link = wording.trace_link(incident)
        return (
            format_html('<a href="{}">{}</a>', link, incident.trace_id) if link else incident.trace_id or "-"
        )

    @admin.display(description="cost")
    def spent(self, incident: Incident) -> str:
        return costs.in_words(costs.of_incidents([incident.pk]).get(incident.pk))

    def save_model(self, request: HttpRequest, obj: Incident, form: ModelForm, change: bool) -> None:
        """Through the services, which write the events and teach the memory; never a plain save."""
        by = request.user.get_username()
        said = {name: form.cleaned_data[name] for name in form.changed_data}
        verdict = next((verdict for name, verdict in VERDICT_BUTTONS.items() if name in request.POST), None)
        if said.get("diagnosis") and not incident_services.rate(obj, by=by, rating=Rating(said["diagnosis"])):
            self.message_user(request, "not rated: the crew's cause is another by now", messages.WARNING)
        if said.get("line", "").strip():
            incident_services.add_note(obj, by=by, text=said["line"])
        if "human_cause" in said or "human_note" in said or verdict is not None:
            incident_services.annotate(
                obj, by=by, cause=said.get("human_cause"), note=said.get("human_note"), verdict=verdict
            )
        for name, work in WORK_BUTTONS.items():
            if name in request.POST and (why := work(obj, by)) is not None:
                self.message_user(request, why, messages.WARNING)

    def response_change(self, request: HttpRequest, obj: Incident) -> HttpResponse:
        if any(name in request.POST for name in (*VERDICT_BUTTONS, *WORK_BUTTONS)):
            fresh = Incident.objects.get(pk=obj.pk)
            self.message_user(request, f"{fresh}: {wording.standing(fresh)}", messages.SUCCESS)
            return HttpResponseRedirect(request.path)
        return super().response_change(request, obj)

    # --- many at a time -------------------------------------------------------------------------

    @admin.action(description="Acknowledge", permissions=["change"])
    def mark_acknowledged(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self.do_to_each(request, queryset, _acknowledge, "acknowledged")

    @admin.action(description="Resolved by me", permissions=["change"])
    def mark_resolved_by_me(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self._give(request, queryset, Verdict.RESOLVED_BY_HUMAN)

    @admin.action(description="False alarm", permissions=["change"])
    def mark_false_alarm(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self._give(request, queryset, Verdict.FALSE_ALARM)

    @admin.action(description="Escalate", permissions=["change"])
    def escalate(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self.do_to_each(request, queryset, _escalate, "escalated")

    @admin.action(description="Investigate again", permissions=["change"])
    def investigate_again(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self.do_to_each(request, queryset, _investigate, "investigated again")

    def _give(self, request: HttpRequest, queryset: QuerySet[Incident], verdict: Verdict) -> None:
        def give(incident: Incident, by: str) -> str | None:
            if incident.verdict == verdict:
                return f"{incident} had this verdict before"
            incident_services.annotate(incident, by=by, verdict=verdict)
            return None

        self.do_to_each(request, queryset, give, f"marked: {verdict.label}")
