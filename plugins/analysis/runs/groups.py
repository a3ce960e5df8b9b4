"""Group runs that differ in their seed only, name the groups, and average their curves."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins.analysis.runs import curves as runs
from plugins.analysis.runs.logs import INNER, TRAIN, VALID, LoggedRun, join

INCIDENTAL = frozenset(
    "seed save_dir restore_file log_file log_format log_interval no_progress_bar tensorboard_logdir wandb_project "
    "aim_repo aim_run_hash data_cache user_dir plasma_path suppress_crashes results_path device_id num_workers "
    "distributed_init_method distributed_port distributed_rank".split()
)
"""Options that do not change what a run computes, except for its seed."""
_GROUPS_LEFT_OUT = ("job_logging_cfg", "hydra")  # hydra's own groups, with paths

_SEED = re.compile(r"(?:^|[-_. ])s(?:eed)?[-_=. ]?\d+$", re.IGNORECASE)
_PLAIN_LOGS = ("log", "train", "hydra_train", "output", "out", "stdout")


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in their seed only.

    Attributes:
        name: name in legends.
        runs: at least one.
    """

    name: str
    runs: tuple[LoggedRun, ...]

    def curves(self, metric: str) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return (updates, means, standard errors) of a metric over the runs, for training and for validation.

        The training metric is that of the log intervals, or else of whole epochs. A stage is missing where the runs
        have no update in common.
        """
        made = {}
        for stage in (TRAIN, VALID):
            found = [curve_of(run, metric, stage) for run in self.runs]
            averaged = runs.average(found)
            if len(averaged[0]):
                made[stage] = averaged
        return made


def curve_of(run: LoggedRun, metric: str, stage: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (updates, values) of a metric in training (:data:`TRAIN`) or in validation (:data:`VALID`).

    Of several validation splits, the first is used.
    """
    if stage == VALID:
        splits = dict.fromkeys(r.stage for r in run.records if r.stage not in (INNER, TRAIN))
        stages = sorted(splits, key=lambda name: (name != VALID, name))[:1]
    else:
        stages = (INNER, TRAIN)
    curves = [runs.curve(run.records, metric, name) for name in stages]
    return next((curve for curve in curves if len(curve[0])), runs.curve((), metric))


def seed_of(run: LoggedRun) -> int | None:
    """Return the seed of a run, or None."""
    return ((run.options or {}).get("common") or {}).get("seed")


def name_of(path: str | Path) -> str:
    """Return a run's name without the seed: its folder's, or its log's unless that is generic."""
    path = Path(path).absolute()
    if path.suffix == ".pt" or path.stem in _PLAIN_LOGS or path.name == "log":
        path = path.parent
    name = path.stem if path.suffix in (".log", ".txt") else path.name
    bare = _SEED.sub("", name)
    if not bare or re.fullmatch(r"[\d_-]+", bare):  # nothing but a seed, or hydra's date and time
        above = _SEED.sub("", path.parent.name)
        return f"{above}/{bare}" if bare else above or name
    return bare


def flat(options: Mapping | None) -> dict[str, str]:
    """Return {group.option: value as text} of the options that affect what a run computes."""
    if options is None:
        return {}
    found: dict[str, str] = {}
    for group, entries in options.items():
        if group in _GROUPS_LEFT_OUT:
            continue
        entries = entries if isinstance(entries, Mapping) else {"": entries}
        found |= {
            f"{group}.{name}".rstrip("."): str(value) for name, value in entries.items() if name not in INCIDENTAL
        }
    return found


def group(found: Sequence[LoggedRun]) -> list[Configuration]:
    """Return the configurations of runs, in the order of their first runs.

    Runs have the same configuration if their options differ only in the :data:`INCIDENTAL` ones; without
    options, if their names are the same. Runs with the same seed and folder are parts of an interrupted run and joined.
    """
    members: dict[object, list[LoggedRun]] = {}
    for run in found:
        key = name_of(run.path) if run.options is None else tuple(sorted(flat(run.options).items()))
        members.setdefault(key, []).append(run)
    together = [joined(of_one) for of_one in members.values()]
    names = [", ".join(dict.fromkeys(name_of(run.path) for run in of_one)) for of_one in together]
    return [Configuration(distinct_name(i, names, together), tuple(of_one)) for i, of_one in enumerate(together)]


def joined(of_one: Sequence[LoggedRun]) -> list[LoggedRun]:
    """Return the runs of a configuration, parts of interrupted runs joined, in the order given."""
    parts: dict[object, list[LoggedRun]] = {}
    for number, run in enumerate(of_one):
        folder = ((run.options or {}).get("checkpoint") or {}).get("save_dir")
        parts.setdefault((seed_of(run), folder) if folder else number, []).append(run)
    return [
        LoggedRun(of_run[0].path, join(r for run in of_run for r in run.records), of_run[0].options, of_run[0].source)
        for of_run in parts.values()
    ]


def distinct_name(number: int, names: Sequence[str], together: Sequence[Sequence[LoggedRun]]) -> str:
    """Return the name of a configuration, followed by the options that distinguish it from others of the same name."""
    name = names[number]
    alike = [flat(of_one[0].options) for other, of_one in zip(names, together, strict=True) if other == name]
    if len(alike) == 1:
        return name
    own = flat(together[number][0].options)
    differing = [key for key in own if len({options.get(key) for options in alike}) > 1]
    differences = ", ".join(f"{key.rsplit('.', 1)[-1]}={own[key]}" for key in differing[:3])
    return f"{name} ({differences or number + 1})"
