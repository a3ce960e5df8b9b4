"""Models for transformers: thin classes around :mod:`plugins.modules`, copied into exported folders with them.

Importing one imports transformers, which takes seconds.
"""
