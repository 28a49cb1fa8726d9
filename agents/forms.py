"""What people write on the pages."""

from __future__ import annotations

from typing import Any

from django import forms

from incidents.models import Verdict

HUMAN_VERDICTS = (Verdict.FALSE_ALARM, Verdict.RESOLVED_BY_HUMAN)


class AnnotationForm(forms.Form):
    """What a person knows better; an empty verdict leaves it as it is."""

    cause = forms.CharField(required=False, max_length=10_000, widget=forms.Textarea(attrs={"rows": 2}))
    note = forms.CharField(required=False, max_length=10_000, widget=forms.Textarea(attrs={"rows": 2}))
    verdict = forms.ChoiceField(
        required=False, choices=[("", ""), *((verdict.value, verdict.label) for verdict in HUMAN_VERDICTS)]
    )

    def annotation(self) -> dict[str, Any]:
        """The keyword arguments of `services.annotate`; a field that was not sent stays as it is."""
        said = {name: self.cleaned_data[name] if name in self.data else None for name in ("cause", "note")}
        verdict = self.cleaned_data["verdict"]
        return {**said, "verdict": Verdict(verdict) if verdict else None}
