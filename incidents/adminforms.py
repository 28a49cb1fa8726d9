"""Forms of the admin for what several people write on at once."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django import forms
from django.db import models
from django.http import QueryDict

from incidents.adminbase import ModelForm


class Prose(forms.CharField):
    """Browsers end lines with CRLF; what was not written on must be what it was."""

    def to_python(self, value: Any) -> str:
        return _plain(str(super().to_python(value)))


class SharedForm(ModelForm):
    """A form whose `shared` fields others may write meanwhile.

    The page brings back what it showed, so what changed is what this person changed. Where somebody else
    changed the same meanwhile, neither is lost: the page comes back with both, and is saved by a second yes.
    """

    shared: ClassVar[frozenset[str]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.shared & self.fields.keys():  # who may only look has none of them
            self.fields[name].show_hidden_initial = True

    def stands(self, name: str, now: Any) -> str:
        """What a field says in the row as it is now."""
        return str(getattr(now, name))

    def in_words(self, name: str, now: Any) -> str:
        """The same for people."""
        return self.stands(name, now)

    def who_wrote(self, name: str, now: Any) -> str:
        """Who wrote that; empty when nobody knows."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        changed = [name for name in self.changed_data if name in self.shared and name in cleaned]
        if changed:
            rows: models.QuerySet[Any] = type(self.instance)._default_manager.select_for_update(of=("self",))
            now = rows.get(pk=self.instance.pk)  # locked until it is saved: nobody writes in between
            for name in changed:
                self._look_for_another(name, cleaned[name], now)
        return cleaned

    def _look_for_another(self, name: str, said: str, now: Any) -> None:
        stands, shown = self.stands(name, now), self.add_initial_prefix(name)
        if _plain(stands) in (_plain(self.data.get(shown, "")), _plain(said)):
            return
        meanwhile = f"wrote “{self.in_words(name, now)}”" if stands else "took it away"
        who = self.who_wrote(name, now) or "somebody"
        self.add_error(name, f"{who} {meanwhile} meanwhile. Save again to put yours instead.")
        data = cast(QueryDict, self.data).copy()
        data[shown] = stands
        self.data = data


def _plain(text: str) -> str:
    """As a browser's form would not change it: it ends lines in its own way."""
    return "\n".join(text.split("\r\n")).strip()
