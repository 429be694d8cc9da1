"""Settings that every test shares: Hypothesis profiles, and no settings of the person who runs them."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow at random: time limits belong to the benchmarks, not to examples.
_calm = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("aq", **_calm)
settings.register_profile("aq-ci", derandomize=True, database=None, **_calm)
settings.register_profile("aq-soak", max_examples=10_000, **_calm)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("aq-ci" if os.environ.get("CI") else "aq"))

# A test, and every process that it starts, sees no aq, Git or colour setting of its surroundings.
for _name in list(os.environ):
    if _name.startswith(("AQ_", "GIT_")) or _name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        del os.environ[_name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """No test leaves the next one in another folder, whichever process it is dealt to."""
    before = os.getcwd()
    try:
        return (yield)
    finally:
        os.chdir(before)
