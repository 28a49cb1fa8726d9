"""How `incidents` wakes others without knowing them. Sent inside the transaction; hint on commit."""

from django.dispatch import Signal

# kwargs: incident_ids: list[int]. New incidents, or ones that came back.
incidents_opened = Signal()
# kwargs: incident_id: int. The sender says that all its alerts have ended (which is no proof).
alerts_ended = Signal()
# kwargs: incident_id: int. A verdict was given, by the crew or by a person.
incident_closed = Signal()
# kwargs: episode_id: int. Fired again at or before its own end; somebody who can ask should.
episode_contested = Signal()
# kwargs: incident_id: int. A person has it: the crew stops, and only watches. Or it is the crew's again.
incident_taken_over = Signal()
incident_given_back = Signal()
# kwargs: incident_id: int. A person wrote what they know.
incident_annotated = Signal()
# kwargs: incident: Incident. It is about to be remembered: receivers answer with a dict of what they know of
# it beside its row: `actions` (each kind, what, target, outcome) and `evidence` (quotes that were found).
facts_wanted = Signal()
# kwargs: incident_ids: list[int]. They are watched only: receivers answer with the set of those that are left
# to people, because the crew has nothing left to do about them.
left_wanted = Signal()
