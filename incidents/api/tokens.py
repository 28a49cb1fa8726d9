"""Tokens of the API under `/api/v1/tokens`, for admins alone."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from incidents import access
from incidents.api.fields import RecordSerializer
from incidents.api.queries import read_sent
from incidents.api.views import Records
from incidents.models import Role, Token


class TokenSerializer(RecordSerializer):
    """A token, without its secret, of which only a hash is kept."""

    class Meta:
        model = Token
        fields: tuple[str, ...] = ("id", "name", "role", "source", "created_at", "revoked_at")


class MadeTokenSerializer(TokenSerializer):
    """A token that was just made. `token` is shown this once."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "token")


class NewTokenSerializer(serializers.Serializer[Any]):
    """A token to be made."""

    name = serializers.CharField(max_length=access.MAX_NAME, help_text="Not used yet, revoked ones included")
    role = serializers.ChoiceField(choices=Role.choices)
    # DRF takes declared fields off the class, so its own attribute `source` stays what it was.
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=access.MAX_NAME, default="alertmanager", help_text="Names the sender of its alerts"
    )

    def validate_name(self, name: str) -> str:
        if Token.objects.filter(name=name).exists():
            raise serializers.ValidationError("there is a token of this name")
        return name


class TokenViewSet(Records):
    """Tokens: who may call the API, and as what."""

    needs: ClassVar = {**access.reads(Role.ADMIN), "POST": Role.ADMIN}
    queryset = Token.objects.all()
    serializer_class = TokenSerializer

    @extend_schema(request=NewTokenSerializer, responses={201: MadeTokenSerializer})
    def create(self, request: Request) -> Response:
        """Make a token. It is in this answer, and never shown again."""
        wanted = read_sent(request, NewTokenSerializer)
        made, secret = access.create_token(by=access.caller(request).name, **wanted)
        shown = {**self.get_serializer(made).data, "token": secret}
        return Response(shown, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    @extend_schema(request=None, responses={200: TokenSerializer})
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Refuse it from now on. One that was revoked before stays as it was."""
        access.revoke_token(self.get_object(), by=access.caller(request).name)
        return self.as_it_is()
