"""Who may log in, and who did, for the audit: accounts made, changed and deleted, and logins.

By Django's signals, so that nothing passes by: not the admin, not single sign-on, not `createsuperuser`.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_delete, post_save, pre_save
from django.http import HttpRequest

from incidents import clients, events
from incidents.access import caller_of
from incidents.context import person
from incidents.models import Event

# What opens doors. Of a password only that it is another one.
WATCHED = ("username", "password", "is_active", "is_staff", "is_superuser")
NOBODY = "command line"


def connect() -> None:
    model = get_user_model()
    pre_save.connect(_read, sender=model, dispatch_uid="account-read")
    post_save.connect(_saved, sender=model, dispatch_uid="account-saved")
    post_delete.connect(_deleted, sender=model, dispatch_uid="account-deleted")
    user_logged_in.connect(_logged_in, dispatch_uid="account-login")


def _read(sender: Any, instance: Any, raw: bool, update_fields: Any, **_: Any) -> None:
    """What it was before, for what may change now; a login writes no more than its time."""
    instance.account_before = None
    if raw or _is_renewal(instance, update_fields):
        return
    if update_fields is None or set(update_fields) & set(WATCHED):
        instance.account_before = sender.objects.filter(pk=instance.pk).values(*WATCHED).first()


def _is_renewal(instance: Any, update_fields: Any) -> bool:
    """At a login Django stores the same password as today's kind of hash: no word of who set a new one."""
    only_password = update_fields is not None and set(update_fields) == {"password"}
    return only_password and instance._password is None and instance.has_usable_password()


def _saved(sender: Any, instance: Any, created: bool, raw: bool, **_: Any) -> None:
    if raw:  # moved from another database, with its events
        return
    if created:
        _record(f"made {instance.get_username()} ({_role(instance)})", instance)
        return
    before: dict[str, Any] | None = instance.account_before
    changed = [name for name in WATCHED if before is not None and before[name] != getattr(instance, name)]
    if before is not None and changed:
        now = "; ".join(_in_words(name, before[name], getattr(instance, name)) for name in changed)
        _record(f"changed {before['username']}: {now}", instance)


def _in_words(name: str, before: object, now: object) -> str:
    return "another password" if name == "password" else f"{name} {before} → {now}"


def _deleted(sender: Any, instance: Any, **_: Any) -> None:
    _record(f"deleted {instance.get_username()}", instance)


def _logged_in(sender: Any, request: HttpRequest | None, user: Any, **_: Any) -> None:
    where = clients.address(request) if request is not None else clients.UNKNOWN
    name = user.get_username()
    events.record(None, Event.Kind.LOGIN, name, f"logged in from {where}", {"role": _role(user)})


def _record(text: str, instance: Any) -> None:
    who = person.get()
    events.record(None, Event.Kind.ACCOUNT, who() if who else NOBODY, text, {"user": instance.pk})


def _role(user: Any) -> str:
    found = caller_of(user)
    return found.role.value if found else "not active"
