"""The names in scripts/choices.py, which are checked before the heavy imports, are those of the package."""

import pytest
from fairseq.models import ARCH_MODEL_REGISTRY

from plugins.analysis.runs import logs
from plugins.data.downloads import datasets
from plugins.data.glue import specs
from plugins.embeddings import comparison
from plugins.hub.embedder import POOLINGS
from plugins.modules.scaling import SCALINGS
from plugins.planning import hardware, measuring

OF_THE_PACKAGE = {
    "GLUE_TASKS": specs.SPECS,
    "GLUE_SPLITS": specs.SPLIT_NAMES,
    "LABELED_LOSSES": comparison.comparable(),
    "POOLINGS": POOLINGS,
    "SCALINGS": SCALINGS,
    "MEMORY_VARIANTS": measuring.VARIANTS,
    "DATASETS": datasets.DATASETS,
    "GPUS": [*hardware.GPUS, "cpu"],
    "ARCHITECTURES": [name for name, cls in ARCH_MODEL_REGISTRY.items() if cls.__module__.startswith("plugins.")],
}


@pytest.mark.parametrize("name", OF_THE_PACKAGE)
def test_the_names_are_those_of_the_package(load_script, name):
    assert set(getattr(load_script("choices"), name)) == set(OF_THE_PACKAGE[name])


def test_every_tuple_of_names_is_compared(load_script):
    assert {name for name in vars(load_script("choices")) if name.isupper()} == OF_THE_PACKAGE.keys()


def test_the_names_of_logs_are_those_of_the_package(load_script):
    assert load_script("plot_runs").LOGS == logs.LOG_NAMES
