"""What can go wrong with a lab, as one line for the user."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot do what was asked; the text is one line that says why or what to do."""
