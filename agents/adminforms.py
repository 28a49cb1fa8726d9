"""What a person writes on an incident's page of the admin."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.http import QueryDict

from incidents.adminbase import ModelForm, Select, Textarea
from incidents.models import Event, Incident, Rating

WORDS = {"human_cause": "cause", "human_note": "note"}  # in the event that tells who wrote them
SHARED = {*WORDS, "diagnosis"}  # what everybody writes to the same place


class IncidentForm(ModelForm):
    """What a person knows. The rating is of the crew's cause; a line is one more of the timeline.

    The page brings back what it showed, so what changed is what this person changed. Where somebody else
    changed the same meanwhile, neither is lost: the page comes back with both, and is saved by a second yes.
    """

    diagnosis = forms.ChoiceField(
        required=False,
        choices=[("", "not rated"), *Rating.choices],
        label="The crew's cause is",
        widget=Select,
    )
    line = forms.CharField(
        required=False,
        max_length=10_000,
        widget=Textarea(attrs={"rows": 2}),
        label="Add to the timeline",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["diagnosis"].initial = self.instance.rating or ""
        for name in SHARED & self.fields.keys():  # who may only look has none of them
            self.fields[name].show_hidden_initial = True

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        changed = [name for name in self.changed_data if name in SHARED and name in cleaned]
        if changed:
            # locked until it is saved: nobody writes between this look and that
            now = Incident.objects.select_for_update(of=("self",)).get(pk=self.instance.pk)
            for name in changed:
                self._look_for_another(name, cleaned[name], now)
        return cleaned

    def _look_for_another(self, name: str, said: str, now: Incident) -> None:
        stands = (now.rating or "") if name == "diagnosis" else getattr(now, name)
        shown = self.add_initial_prefix(name)
        if _plain(stands) in (_plain(self.data.get(shown, "")), _plain(said)):
            return
        words = now.get_rating_display() if name == "diagnosis" and stands else stands
        meanwhile = f"wrote “{words}”" if words else "took it away"
        self.add_error(
            name, f"{_who_wrote(name, now)} {meanwhile} meanwhile. Save again to put yours instead."
        )
        data = cast(QueryDict, self.data).copy()
        data[shown] = stands
        self.data = data


def _plain(text: str) -> str:
    """As a browser's form would not change it: it ends lines in its own way."""
    return "\n".join(text.split("\r\n")).strip()


def _who_wrote(name: str, incident: Incident) -> str:
    if name == "diagnosis":
        return incident.rated_by or "somebody"
    written = Event.objects.filter(
        incident=incident, kind=Event.Kind.ANNOTATED, data__has_key=WORDS[name]
    ).order_by("-pk")
    return written.values_list("actor", flat=True).first() or "somebody"
