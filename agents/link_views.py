"""The page behind a message's link. Reading it changes nothing, whoever fetches it; a button decides."""

from __future__ import annotations

from datetime import timedelta

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from agents import links, pages, pauses, questions
from agents.forms import LinkForm
from agents.models import Action
from incidents import throttle
from incidents.access import caller_of
from incidents.models import Role

GONE = 410


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def question(request: HttpRequest, token: str) -> HttpResponse:
    """What is asked, or how it stands by now; with POST a person's answer, 410 when it is too late for it."""
    try:
        link = links.read(token)
    except links.BadLink as error:
        wait = throttle.attempt(request, "link")
        if wait is not None:
            return render(request, "registration/too_many.html", {"wait": wait}, status=429)
        raise Http404("no such link") from error
    action = _action(link)
    said, status = _answer(request, link, action) if request.method == "POST" else "", 200
    if isinstance(said, questions.NotWaiting | questions.CannotAsk):
        said, status = f"Too late, nothing was changed: {said}.", GONE
    context = {**pages.question(_action(link)), "said": said, "form": LinkForm()}
    return render(request, "question.html", context, status=status)


def _action(link: links.Link) -> Action:
    rows = Action.objects.select_related("incident__target", "target", "step__run")
    found: Action = get_object_or_404(rows, pk=link.action_id)
    return found


def _answer(
    request: HttpRequest, link: links.Link, action: Action
) -> str | questions.NotWaiting | questions.CannotAsk:
    """Do what the button says; the words for it, or why it could not be done."""
    form = LinkForm(request.POST)
    if not form.is_valid():
        return "Nothing was changed: no button says that."
    said, by = form.cleaned_data, _who(request, link)
    try:
        match said["decision"]:
            case "approve":
                questions.approve(action, by=by)
                return f"Approved: {action}."
            case "reject":
                questions.reject(action, by=by, reason=said["reason"], code=said["code"])
                return f"Rejected: {action}."
            case "ask-again":
                questions.ask_again(action, by=by)
                return "The Healer looks at it again; if there is something to ask, a new message comes."
    except (questions.NotWaiting, questions.CannotAsk) as error:
        return error
    until = timezone.now() + timedelta(hours=said["hours"])
    pauses.pause(scope=action.target.key, until=until, by=by, reason="from a message")
    return f"Paused: nothing is changed on {action.target} for {said['hours']} h."


def _who(request: HttpRequest, link: links.Link) -> str:
    """The person who is logged in and may decide; else whoever holds the link."""
    caller = caller_of(request.user)
    return caller.name if caller is not None and caller.may(Role.OPERATOR) else link.holder
