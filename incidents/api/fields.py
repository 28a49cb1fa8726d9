"""Fields that the serializers share."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any

from django.db import models
from rest_framework import serializers

from incidents.access import may
from incidents.models import Role
from incidents.redaction import clean_tree

# What a list shows of one text, which a sender may have made a megabyte long. The record keeps it whole.
LONGEST = 4000


def shortened(value: Any) -> Any:
    """JSON with each of its texts cut to `LONGEST` characters, saying how long it was."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {shortened(name): shortened(each) for name, each in value.items()}
    return [shortened(each) for each in value] if isinstance(value, list) else value


class UTCDateTimeField(serializers.DateTimeField):
    """RFC 3339 in UTC, whatever time zone people here read.

    The first and the last year are not taken: in another zone such a moment may be none that Python knows.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"default_timezone": UTC, **options})

    def to_internal_value(self, value: Any) -> datetime:
        moment = super().to_internal_value(value)
        if not MINYEAR < moment.year < MAXYEAR:
            self.fail("overflow")
        return moment


class RecordSerializer(serializers.ModelSerializer[Any]):
    """A record as its readers see it: what is not known, an empty text in its row, is null.

    `operator_fields` are null for anybody below an operator. `whole`: long texts are not cut in a list, for
    there is no other way to read them. `sent_fields` hold what a sender wrote, and are redacted when shown.
    """

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: UTCDateTimeField,
    }
    operator_fields: tuple[str, ...] = ()
    sent_fields: tuple[str, ...] = ()
    whole = False

    def build_standard_field(
        self, field_name: str, model_field: models.Field[Any, Any]
    ) -> tuple[type[serializers.Field[Any, Any, Any, Any]], dict[str, Any]]:
        kind, options = super().build_standard_field(field_name, model_field)
        if _may_be_empty(model_field) or field_name in self.operator_fields:
            options["allow_null"] = True
        return kind, options

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        for field in type(instance)._meta.concrete_fields:
            if shown.get(field.name) == "" and _may_be_empty(field):
                shown[field.name] = None
        shown.update({name: clean_tree(shown[name]) for name in self.sent_fields})
        if self.operator_fields and not self.reader_is(Role.OPERATOR):
            shown.update(dict.fromkeys(self.operator_fields))
        in_list = self.parent is not None and self.parent is self.root
        return shortened(shown) if in_list and not self.whole else shown

    def reader_is(self, role: Role) -> bool:
        """Whether the reader has this role or more; nobody under HOMELAB_OPEN_READ has any."""
        request = self.context.get("request")
        return request is not None and may(request.user, role)


def _may_be_empty(field: models.Field[Any, Any]) -> bool:
    return field.blank and isinstance(field, models.CharField | models.TextField)
