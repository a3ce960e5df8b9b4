"""transformers, without its log, for the tests that compare with it."""

import pytest


@pytest.fixture(scope="session")
def transformers():
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    return transformers
