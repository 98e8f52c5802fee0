"""What earlier releases left behind, and this release going on with it."""

import pytest

pytest.register_assert_rewrite("tests.previous.story")
