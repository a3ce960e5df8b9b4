"""A plugin next to fairseq-workbench: what is imported here is registered, by ``--user-dir`` and in Python."""

import plugins  # noqa: F401 (first: it repairs fairseq and registers the classes that ours extend)

from . import metric, model, positions, task  # noqa: F401
