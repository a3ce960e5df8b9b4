"""The options of the positions of any model, see :class:`plugins.modules.scaling.Scaling`."""

from dataclasses import dataclass
from typing import Optional  # fairseq's parser does not read `int | None`

import torch
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import DictConfig

from plugins.errors import UserError, shown
from plugins.modules.positions import SCHEMES, Spec, build
from plugins.modules.scaling import SCALINGS, Scaling
from plugins.options import architecture, option

KINDS = ChoiceEnum(list(SCALINGS))
ALIBI_DTYPES = ChoiceEnum(["queries", "float32"])
DEFAULTS = {"position_scaling": "none", "position_scaling_factor": 1.0}


@dataclass
class PositionScalingConfig(FairseqDataclass):
    """Options that scale the positions of inputs longer than those of training."""

    position_scaling: Optional[KINDS] = architecture(
        "for longer inputs than in training; may differ from the checkpoint. linear: positions divided by the factor "
        "(rotary, alibi); ntk: larger rotary base; dynamic: by the length of the input (rotary, alibi); yarn: Peng et "
        "al., 2023 (none)"
    )
    position_scaling_factor: Optional[float] = architecture("how many times longer inputs become, at least 1 (1)")
    trained_length: Optional[int] = architecture(
        "tokens of the inputs that the weights were trained on before scaling (the longest input)"
    )
    alibi_dtype: ALIBI_DTYPES = option(
        "queries",
        "type of the ALiBi bias: that of the queries, which fused kernels take; or float32, with which half-precision "
        "attention on a GPU is computed in float32",
    )


def scaling_of(cfg: DictConfig) -> Scaling:
    """Return the scaling that complete options describe.

    Raises:
        UserError: no scheme has that name, a value is out of range, or the scheme does not support the kind.
    """
    check_scheme(str(cfg.positions))
    kind, supported = str(cfg.position_scaling), SCHEMES[str(cfg.positions)].scalings
    if kind not in supported:
        raise UserError(
            f"--position-scaling {kind}: --positions {cfg.positions} supports {', '.join(supported)}; learned and "
            "sinusoidal positions cannot be scaled"
        )
    if not 1 <= cfg.position_scaling_factor < float("inf"):
        raise UserError(f"--position-scaling-factor {cfg.position_scaling_factor} is not a number of at least 1")
    if cfg.trained_length is not None and cfg.trained_length < 1:
        raise UserError(f"--trained-length {cfg.trained_length} is not positive")
    return Scaling(kind, cfg.position_scaling_factor, cfg.trained_length or 1)


def check_positions(cfg: DictConfig, side: str) -> None:
    """Check complete options of positions, also against the size of the model.

    Args:
        cfg: options of the model.
        side: ``encoder`` or ``decoder``, as in the names of its options.

    Raises:
        UserError: as :func:`scaling_of`, or the scheme cannot have this size (it raised a ValueError).
    """
    scaling, width, heads = scaling_of(cfg), cfg[f"{side}_embed_dim"], cfg[f"{side}_attention_heads"]
    spec = Spec(width, heads, length=1, alibi_bos=str(cfg.get("alibi_bos", "linear")), scaling=scaling)
    try:
        with torch.random.fork_rng(devices=[]):  # a table of positions is initialized at random
            build(str(cfg.positions), spec)
    except ValueError as error:
        size = f"--{side}-embed-dim {width} and --{side}-attention-heads {heads}"
        raise UserError(f"--positions {cfg.positions} with {size}: {error}") from None


def check_scheme(name: str) -> None:
    """Check the value of ``--positions``: a name in :data:`plugins.modules.positions.SCHEMES`, to which plugins add.

    Raises:
        UserError: no scheme has that name.
    """
    if name not in SCHEMES:
        raise UserError(f"--positions {shown(name)}: the schemes are {', '.join(SCHEMES)}")
