"""What people write on the pages."""

from __future__ import annotations

from typing import Any

from django import forms

from agents.models import Rejection
from agents.pauses import UnknownScope, check_scope
from incidents.models import Rating, Verdict

PAUSE_HOURS = (1, 4, 24, 24 * 7)
WHY_NOT = [("", "no reason given"), *Rejection.choices]
HUMAN_VERDICTS = (Verdict.FALSE_ALARM, Verdict.RESOLVED_BY_HUMAN)


class AnnotationForm(forms.Form):
    """What a person knows better; an empty verdict leaves it as it is.

    The page brings back what it showed, so that only what this person changed is written: another may have
    written the rest meanwhile.
    """

    cause = forms.CharField(
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        show_hidden_initial=True,
    )
    note = forms.CharField(
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        show_hidden_initial=True,
    )
    verdict = forms.ChoiceField(
        required=False, choices=[("", ""), *((verdict.value, verdict.label) for verdict in HUMAN_VERDICTS)]
    )

    def annotation(self) -> dict[str, Any]:
        """The keyword arguments of `services.annotate`: what was said; empty when that is nothing new."""
        said: dict[str, Any] = {
            name: self.cleaned_data[name] for name in ("cause", "note") if name in self.changed_data
        }
        if verdict := self.cleaned_data["verdict"]:
            said["verdict"] = Verdict(verdict)
        return said


class RatingForm(forms.Form):
    """A person's word on the crew's cause."""

    rating = forms.ChoiceField(choices=Rating.choices)


class NoteForm(forms.Form):
    """A line for the timeline."""

    text = forms.CharField(max_length=10_000, widget=forms.Textarea(attrs={"rows": 2}))


class EscalationForm(forms.Form):
    """What others are told when they are called."""

    why = forms.CharField(
        required=False,
        max_length=1000,
        widget=forms.TextInput(attrs={"placeholder": "what they should know"}),
    )


class RejectionForm(forms.Form):
    """Why not; all of it may be left out."""

    code = forms.ChoiceField(
        required=False, choices=WHY_NOT, widget=forms.Select(attrs={"aria-label": "Why not"})
    )
    reason = forms.CharField(
        required=False,
        max_length=1000,
        widget=forms.TextInput(
            attrs={"placeholder": "in your words", "aria-label": "Why not, in your words"}
        ),
    )


class HoursForm(forms.Form):
    """For how long nothing is changed."""

    hours = forms.TypedChoiceField(
        required=False, coerce=int, initial=4, choices=[(each, each) for each in PAUSE_HOURS]
    )

    def clean_hours(self) -> int:
        return int(self.cleaned_data["hours"] or self.fields["hours"].initial)


class LinkForm(RejectionForm, HoursForm):
    """What may be done by the link in a message."""

    decision = forms.ChoiceField(
        choices=[(each, each) for each in ("approve", "reject", "ask-again", "pause")]
    )


class PauseHereForm(HoursForm):
    """A pause from an incident's page, or of everything from the overview."""

    scope = forms.CharField(max_length=300, widget=forms.HiddenInput)

    def clean_scope(self) -> str:
        try:
            return check_scope(self.cleaned_data["scope"])
        except UnknownScope as error:
            raise forms.ValidationError(str(error)) from error
