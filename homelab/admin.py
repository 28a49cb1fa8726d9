"""People and groups in the admin, in the look of its other pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User

if TYPE_CHECKING:  # unfold has no types, and Django's classes are generic for the type checker only
    _ModelAdmin = admin.ModelAdmin[Any]
    _UserAdmin = DjangoUserAdmin[User]
    from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm, UserChangeForm
else:
    from unfold.admin import ModelAdmin as _ModelAdmin
    from unfold.forms import AdminPasswordChangeForm, UserChangeForm
    from unfold.forms import UserCreationForm as AdminUserCreationForm

    _UserAdmin = DjangoUserAdmin

admin.site.unregister([User, Group])


@admin.register(User)
class PersonAdmin(_UserAdmin, _ModelAdmin):
    """People who log in. Superusers are admins, staff are operators, others are viewers."""

    form = UserChangeForm  # type: ignore[assignment] # generic for the type checker only
    add_form = AdminUserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, _ModelAdmin):
    """Names for several of Django's permissions at once."""
