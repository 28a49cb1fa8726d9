"""The postmortem of an incident: what the records say of it, in parts that page, Markdown and API share."""

from agents.postmortem.compose import of
from agents.postmortem.parts import Postmortem
from agents.postmortem.summary import OPEN, facts, template

__all__ = ["OPEN", "Postmortem", "facts", "of", "template"]
