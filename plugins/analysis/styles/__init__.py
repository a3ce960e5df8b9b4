"""Styles of character LMs: what they change, how well they are told apart, drawings."""
