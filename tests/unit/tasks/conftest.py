"""Fixtures of the tests that run every task."""

from task_steps import step, world  # noqa: F401
