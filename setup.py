"""Packaging. Every version is pinned once, in requirements/; scripts/install.sh reads the same files."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
COMMANDS = {  # package: folder of the checkout
    "fairseq_workbench": "scripts",
    "fairseq_workbench.requirements": "requirements",
    "fairseq_workbench.recipes": "examples/glue/recipes",
}


def pins(name):
    """Requirement lines of requirements/NAME.txt, without comments."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


setup(
    name="fairseq-workbench",
    version="0.2.0",
    description="A fairseq plugin package: ALiBi and CLAP masked LMs, and tools to look inside them",
    author="the fairseq-workbench authors",
    license="MIT",
    python_requires=">=3.11,<3.14",
    # Only the package: fairseq has an `examples` of its own, and ours must not shadow it.
    packages=[*find_packages(include=["plugins", "plugins.*"]), *COMMANDS],
    package_dir=COMMANDS,
    entry_points={"console_scripts": ["fairseq-workbench = fairseq_workbench.__main__:main"]},
    package_data={
        "fairseq_workbench.requirements": ["*.txt"],
        "fairseq_workbench.recipes": ["*.yaml"],
        "plugins.analysis.report": ["page.*"],
        "plugins.diagnostics": ["page/*"],
    },  # templates and scripts
    # fairseq is absent on purpose: scripts/install.sh builds it, with --no-build-isolation --no-deps.
    install_requires=pins("torch") + pins("core"),
    extras_require={
        "plots": pins("plots"),
        "hf": pins("hf"),
        "datasets": pins("datasets"),
        "summarization": pins("summarization"),
        "cluster": pins("cluster"),
        "gpu": pins("gpu"),
        "dev": pins("dev") + pins("plots") + pins("hf") + pins("datasets") + pins("summarization") + pins("cluster"),
    },
)
