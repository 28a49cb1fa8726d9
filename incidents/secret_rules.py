"""What secrets look like: the named formats of a maintained library, and what a homelab holds besides.

Strangers write the texts that are searched, some of a megabyte. So no rule may begin at every character and
then run on: what repeats without a bound is possessive, or ends at what the next match would begin with.
The library's detectors that guess (entropy), go by the name of a value (ours do that better) or break this
law (JWT, npm, OpenAI: quadratic; GitLab: ends at 50 characters) are left out, and have a rule here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

HIDDEN = "[redacted]"
KEEP = rf"\g<keep>{HIDDEN}"

LIBRARY: tuple[type[RegexBasedDetector], ...] = (
    AWSKeyDetector,
    AzureStorageKeyDetector,
    DiscordBotTokenDetector,
    GitHubTokenDetector,
    PypiTokenDetector,
    SendGridDetector,
    SlackDetector,
    SquareOAuthDetector,
    StripeDetector,
    TwilioKeyDetector,
)

# How names of secrets end: DB_PASSWORD, api_key, csrf-token; but not `tokens: 512` or `author: me`.
# The look at the first letter makes the search three times as fast.
NAMES = (
    r"(?=[acdegmpst])(?:(?<!com)(?<!by)pass(?:word|wd|phrase|code)?|secret|token|credentials?"
    r"|authorization|auth|(?<=[_-])(?:pwd|psk)|dockerconfigjson"
    r"|(?:api|access|private|secret|encryption|account|auth|master|signing|preshared|gotify)[_-]?key)"
)
# Of Apprise's URLs those in which a token stands where others have a host or a path.
CHAT_SCHEMES = (
    # https or http: the s is there or not
    *(
        f"{scheme}{s}"
        for scheme in ("gotify", "hassio", "mailto", "matrix", "mmost", "ntfy")
        for s in ("", "s")
    ),
    *("apprise", "bark", "discord", "guilded", "ifttt", "join", "msteams", "opsgenie", "pagerduty", "pbul"),
    *("pover", "rocket", "rockets", "sendgrid", "signal", "simplepush", "slack", "spush", "tgram", "twilio"),
    *("workflows", "wxteams", "zulip"),
)
_NAME_HINTS = ("pass", "secret", "token", "credential", "auth", "pwd", "psk", "key", "dockerconfigjson")
# What stands in a secret's place and is none: that it is absent, expired, of a structure, or hidden already.
_NONE = (
    r"(?:(?:absent|denied|disabled|enabled|error|expired|fail(?:ed|ure)?|false|invalid|missing|none|not|null"
    r"|nil|ok|rejected|required|revoked|success(?:ful)?|true|undefined|unknown|verified|wrong)\b(?![\w/+=.-]\w)"
    r"|\d{1,3}(?![\w.-])|\[redacted\]|\$\{|<|\*\*\*|\{\s*[\"'}]|\[\s*[\"'\]{]|[{\[]\s*$)"
)
_VALUE = (  # also \"x\", as JSON in JSON has it
    r"(?:\\{1,3}[\"'][^\"'\\\n]*+|\"(?:[^\"\\\n]|\\.)*+\"?|'(?:[^'\\\n]|\\.)*+'?"
    r"|[^\s,;&\"'\\]+)"
)
_ARGUMENT = r"(?:\"[^\"\n]*+\"|'[^'\n]*+'|[^\s\"']+)"


@dataclass(frozen=True)
class Rule:
    """Replaces what fits `pattern`. `hints`, lower case: one of them is in every text that fits; none: no
    text is spared the search."""

    hints: frozenset[str]
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str] = KEEP


def rule(
    hints: str | tuple[str, ...],
    pattern: str,
    replacement: str | Callable[[re.Match[str]], str] = KEEP,
    *,
    flags: int = re.IGNORECASE,
) -> Rule:
    named = (hints,) if isinstance(hints, str) else hints
    return Rule(frozenset(named), re.compile(pattern, flags), replacement)


def _base64_json(match: re.Match[str]) -> str:
    """A JWT, or JSON in base64 that is as long as a token; short ones are left alone."""
    return HIDDEN if match["rest"] or len(match[0]) >= 60 else match[0]


_BY_FORM = (
    rule(
        "private key",
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
        HIDDEN,
        flags=re.DOTALL,
    ),
    # The first run is taken whole, secret or not, so that it is never begun a second time.
    rule("eyj", r"\beyJ[\w-]{10,}+(?P<rest>\.[\w-]{10,}+\.[\w-]*+)?", _base64_json, flags=re.ASCII),
    rule(
        "sk", r"\bsk-[\w-]{16,}|\b[sr]k_(?:live|test)_\w{10,}|\bsk_[A-Za-z0-9]{24,}", HIDDEN, flags=re.ASCII
    ),
    rule("hl_", r"\bhl_[\w-]{40,}", HIDDEN, flags=re.ASCII),  # our own
    rule("gh", r"\bgh[opusr][-_][\w-]{16,}|\bgithub_pat_\w{16,}", HIDDEN, flags=re.ASCII),
    rule(
        "gl",
        r"\bgl(?:pat|dt|ft|rt|rtr|soat|cbt|ptt|imt|oas|agent|ffct|wt)-[\w.-]{16,}"  # GitLab
        r"|\bgl(?:sa|c)_[\w+/=]{16,}",  # Grafana
        HIDDEN,
        flags=re.ASCII,
    ),
    rule(("xox", "xapp"), r"\b(?:xox[abeoprs]|xapp)-[\w-]{16,}", HIDDEN, flags=re.ASCII),
    rule(":a", r"(?<![\w-])(?:bot)?\d{8,10}:A[\w-]{34}(?![\w-])", HIDDEN, flags=re.ASCII),  # Telegram
    rule("tskey-", r"\btskey-[\w-]{8,}", HIDDEN),
    rule("age-secret", r"\bAGE-SECRET-KEY-1[A-Z0-9]{8,}", HIDDEN),
    rule(
        ("hf_", "npm_", "tk_"),
        r"\b(?:hf_\w{30,}|npm_[A-Za-z0-9]{36}|tk_[a-z0-9]{29})\b",
        HIDDEN,
        flags=re.ASCII,
    ),
    rule(("hvs.", "hvb.", "hvr."), r"\bhv[sbr]\.[\w-]{20,}", HIDDEN, flags=re.ASCII),
    rule(("cfut_", "cfat_", "cfk_"), r"\bcf(?:ut|at|k)_\w{20,}", HIDDEN, flags=re.ASCII),
    rule(("dckr_", "dop_v1_"), r"\b(?:dckr_[op]at_|dop_v1_)[\w-]{16,}", HIDDEN, flags=re.ASCII),
    rule("aiza", r"\bAIza[\w-]{35}", HIDDEN, flags=re.ASCII),
    rule("!", r"(?P<keep>@[\w-]{1,40}![\w.-]{1,60}=)[0-9a-f]{8}-[0-9a-f-]{27}"),  # Proxmox
    # user:hash of htpasswd, as in traefik's basicauth.users
    rule("$", r"(?P<keep>[\w.@-]:)\${1,2}(?:apr1|2[aby]|[156])\$[^\s,\"']+"),
)
_BY_ADDRESS = (
    # user:password@ or TOKEN@ in a URL; a password may hold an @ of its own, so up to the last one
    rule("@", r"(?P<keep>://)(?:[^\s/@:\"']*:[^\s/\"']*|[\w~%+.-]{16,})@", rf"\g<keep>{HIDDEN}@"),
    rule(
        tuple(f"{scheme}://" for scheme in CHAT_SCHEMES),
        rf"(?P<keep>\b(?:{'|'.join(CHAT_SCHEMES)})://)[^\s\"'<>\\]+",
    ),
    rule("webhooks/", r"(?P<keep>\bdiscord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/\d+/)[\w-]+"),
    rule("hooks.slack", r"(?P<keep>\bhooks\.slack\.com/(?:services|workflows)/)[\w/]+"),
    rule(
        ("hc-ping.com/", "/ping/"),
        r"(?P<keep>(?:\bhc-ping\.com|/ping)/)(?:[0-9a-f]{8}-[0-9a-f-]{27}|[\w-]{22}(?=/))",
    ),
    rule("/api/push/", r"(?P<keep>/api/push/)\w{8,}"),  # Uptime Kuma
    rule(
        ("sig", "key=", "code=", "x-amz-"),
        r"(?P<keep>[?&](?:sig|signature|x-amz-(?:signature|credential|security-token))=)[^\s&\"'<>]+"
        r"|(?P<keep2>[?&](?:key|code)=)[\w%.~+/-]{16,}",
        lambda match: f"{match['keep'] or match['keep2']}{HIDDEN}",
    ),
)
_BY_NAME = (
    rule(
        "authorization",
        r"(?P<keep>\bauthorization[\"']?\s*[:=]\s*)(?:digest|negotiate|ntlm|aws4-hmac-sha256)\s[^\n]+",
    ),
    rule(
        "authorization",
        r"(?P<keep>\bauthorization\\{0,3}[\"']?\s*[:=]\s*\\{0,3}[\"']?(?:bearer|basic|token|apikey|bot)\s+)"
        r"[^\s\"',;\\]+",
    ),
    # elsewhere `basic authentication` may be no more than words
    rule(
        ("bearer", "basic"),
        r"(?P<keep>\b(?i:bearer|basic)\s+)(?!\w+=\")(?=[a-z.-]{0,40}[A-Z0-9_~+/=])[A-Za-z0-9._~+/=-]{8,}",
        flags=0,
    ),
    rule("auth", r"(?P<keep>\bAUTH (?:PLAIN|LOGIN|XOAUTH2) )(?!OAUTHBEARER)[A-Za-z0-9+/=]{8,}", flags=0),
    rule(
        "cookie",
        r"(?P<keep>\b(?:set-)?cookie[\"']?:\s*+)(?!\[redacted\])(?:\"(?:[^\"\\\n]|\\.)*+\"|[^\n\"]+)",
    ),
    # password: |  with its value in the next line
    rule(
        (": |", ": >", ":|", ":>"),
        rf"(?P<keep>{NAMES}[ \t]*+: ?[|>][+-]?[ \t]*+\n[ \t\n]*+)(?!\[redacted\])[^\n]+",
    ),
    # password=…, "api_key": "…", TOKEN: …; not token::of_a_program
    rule(
        _NAME_HINTS,
        rf"(?P<keep>{NAMES}\\{{0,3}}[\"']?[ \t]*+(?>=>|:=|==?|:(?!:|//))[ \t]*+(?:\n[ \t]++)?)"
        rf"(?!{_NONE}){_VALUE}",
    ),
    rule("password", r"(?P<keep>\bpassword\s+)'(?!\[redacted\])[^'\n]+'"),
    rule("identified", r"(?P<keep>\bidentified\s+(?:with\s+\S+\s+)?by\s+)'[^'\n]+'"),
)
_BY_ARGUMENT = (
    # --password X, --api-key=X
    rule(_NAME_HINTS, rf"(?P<keep>(?<!\S)--?[\w-]{{0,60}}?{NAMES}[ =]+)(?!\[redacted\]|-){_ARGUMENT}"),
    # the same as a list of JSON: "--password", "X"
    rule(
        _NAME_HINTS,
        rf"(?P<keep>\"--?[\w-]{{0,60}}?{NAMES}\"\s*,\s*\")(?!-)(?:[^\"\\\n]|\\.)*+",
    ),
    rule(("mysql", "mariadb"), r"(?P<keep>(?:mysql|mariadb)\w{0,20}\"[^\]]{0,200}?\"-p)[^\"]+", flags=0),
    rule("curl", r"(?P<keep>\bcurl\b(?:(?!\bcurl\b)[^\n])*?\s(?:-u|--user)[ =]?)\S+", flags=0),
    rule(("mysql", "mariadb"), r"(?P<keep>\b(?:mysql|mariadb)[^\n;|&]{0,200}?\s-p)[^\s\[]\S*", flags=0),
    rule("sshpass", rf"(?P<keep>\bsshpass\s+-p\s*){_ARGUMENT}"),
    rule(("redis-cli", "valkey-cli"), rf"(?P<keep>-cli\b[^\n;|&]{{0,200}}?\s-a\s+){_ARGUMENT}", flags=0),
    rule("docker login", rf"(?P<keep>\bdocker login\b[^\n;|&]{{0,200}}?\s-p[ =]*){_ARGUMENT}", flags=0),
    rule("-u", r"(?P<keep>\s-U\s*[^\s%]{1,60}%)\S+", flags=0),  # smbclient -U user%password
)

RULES: tuple[Rule, ...] = (
    *(Rule(frozenset(), pattern, HIDDEN) for detector in LIBRARY for pattern in detector().denylist),
    *_BY_FORM,
    *_BY_ADDRESS,
    *_BY_NAME,
    *_BY_ARGUMENT,
)
