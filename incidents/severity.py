"""Severity is stored as it was sent; counting needs four classes."""

SEVERITIES = ("critical", "warning", "info", "other")  # the gravest first
CLASSES = {
    "critical": "critical",
    "crit": "critical",
    "page": "critical",
    "error": "critical",
    "fatal": "critical",
    "emergency": "critical",
    "disaster": "critical",
    "high": "critical",
    "warning": "warning",
    "warn": "warning",
    "average": "warning",
    "medium": "warning",
    "info": "info",
    "informational": "info",
    "none": "info",
    "low": "info",
}


def severity_class(severity: str) -> str:
    """`critical`, `warning`, `info` or `other`."""
    return CLASSES.get(severity.strip().lower(), "other")


def worst(first: str, second: str) -> str:
    """The graver of two severities as sent; the first when they are of one class."""
    return min((first, second), key=lambda each: SEVERITIES.index(severity_class(each)))
