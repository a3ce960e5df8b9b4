"""Scale the positions of a loaded model, so that it takes longer inputs than it was trained on."""

from omegaconf import open_dict

from plugins.analysis.language_model import LanguageModel
from plugins.analysis.long_context.losses import scheme_of, trained_length
from plugins.errors import UserError
from plugins.modules.scaling import Scaling


def scale_positions(lm: LanguageModel, kind: str, factor: float = 1.0, trained: int | None = None) -> None:
    """Scale the positions of a model from now on; its options record it.

    Args:
        lm: returned by :func:`plugins.hub.load`, with rotary positions or ALiBi.
        kind: ``linear``, ``ntk``, ``dynamic`` or ``yarn``, see :class:`plugins.modules.scaling.Scaling`; ``none``
            disables scaling.
        factor: how many times longer inputs become, at least 1.
        trained: the trained length in tokens (default: the model's).

    Raises:
        UserError: the scheme does not support the kind, or a value is out of range.
    """
    scheme, trained = scheme_of(lm), trained_length(lm) if trained is None else trained
    try:
        scheme.rescale(Scaling(kind, factor, trained))
    except (TypeError, ValueError) as error:
        raise UserError(f"scale_positions: {error}") from error
    with open_dict(lm.options):
        lm.options.update(position_scaling=kind, position_scaling_factor=factor, trained_length=trained)
