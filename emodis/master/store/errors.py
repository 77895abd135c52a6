"""The one way in which the store fails."""

from __future__ import annotations


class StoreError(Exception):
    """The store could not do it. The text is one line that says what to do about it."""
