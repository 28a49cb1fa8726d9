"""What homelab may do to a target, on its page in the admin."""

from __future__ import annotations

from django import template

from agents import foresight
from incidents.models import Target

register = template.Library()


@register.simple_tag
def what_homelab_may_do(target: Target) -> list[foresight.Answer]:
    """The door's answer for each kind of change, by the target's state now."""
    return foresight.answers(target)
