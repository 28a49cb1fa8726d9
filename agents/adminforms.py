"""What a person writes on an incident's page of the admin."""

from __future__ import annotations

from typing import Any, cast

from django import forms

from incidents.adminbase import Select, Textarea
from incidents.adminforms import Prose, SharedForm
from incidents.models import Event, Incident, Rating

WORDS = {"human_cause": "cause", "human_note": "note"}  # in the event that tells who wrote them


class IncidentForm(SharedForm):
    """What a person knows. The rating is of the crew's cause; a line is one more of the timeline."""

    diagnosis = forms.ChoiceField(
        required=False,
        choices=[("", "not rated"), *Rating.choices],
        label="The crew's cause is",
        widget=Select,
    )
    line = Prose(
        required=False,
        max_length=10_000,
        widget=Textarea(attrs={"rows": 2}),
        label="Add to the timeline",
    )

    shared = frozenset({*WORDS, "diagnosis"})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        diagnosis = cast(forms.ChoiceField, self.fields["diagnosis"])
        diagnosis.initial = self.instance.rating or ""
        if self.instance.rating:  # another word may be given, but none is taken back
            diagnosis.choices = Rating.choices

    def stands(self, name: str, now: Incident) -> str:
        return (now.rating or "") if name == "diagnosis" else super().stands(name, now)

    def in_words(self, name: str, now: Incident) -> str:
        return (now.get_rating_display() or "") if name == "diagnosis" else super().in_words(name, now)

    def who_wrote(self, name: str, now: Incident) -> str:
        if name == "diagnosis":
            return now.rated_by
        written = Event.objects.filter(
            incident=now, kind=Event.Kind.ANNOTATED, data__has_key=WORDS[name]
        ).order_by("-pk")
        return written.values_list("actor", flat=True).first() or ""
