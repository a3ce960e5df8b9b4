"""fairseq-workbench: masked LMs, character LMs, GLUE, efficient fine-tuning and analysis, as plugins for fairseq."""

from plugins import compat

compat.report_errors()
compat.import_fairseq()

from plugins import criterions, hub, models, optim, tasks  # noqa: E402, F401
from plugins.checkpoints import roberta  # noqa: E402
from plugins.jobs import display  # noqa: E402

compat.install(
    adopt_checkpoint=roberta.adopt,
    hub_interface=hub.RobertaInterface,
    make_display=display.Display,
    complete_options=tasks.defaults.complete,
)
