"""What is refused with a message that says why."""

import pytest

from classlens.errors import InputError


def refused(message, *calls):
    """Require of every call that it raises InputError with a message that matches."""
    for call in calls:
        with pytest.raises(InputError, match=message):
            call()
