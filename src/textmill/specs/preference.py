"""How a model learns from preferences: the losses there are, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from textmill.base.schema import About


@dataclass(frozen=True, kw_only=True)
class _Against:
    """A loss that compares with the model the run began as, the reference."""

    compared: ClassVar[bool] = True
    thumbs: ClassVar[bool] = False  # whether it learns from single answers, good or bad
    beta: Annotated[float, About("weight of the distance from the model the run began as", gt=0)] = 0.1


@dataclass(frozen=True, kw_only=True)
class DPOLoss(_Against):
    """-log σ(β · the margin of the pair over the reference's) (Rafailov et al. 2023, equation 7)."""

    kind: Literal["dpo"] = "dpo"
    label_smoothing: Annotated[
        float,
        About("share of pairs taken to be labelled the wrong way round (Mitchell 2023)", ge=0, lt=0.5),
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class IPOLoss(_Against):
    """Squared distance of the margin, in nats per token, from 1 / 2β (Azar et al. 2023, equation 17)."""

    kind: Literal["ipo"] = "ipo"


@dataclass(frozen=True, kw_only=True)
class KTOLoss(_Against):
    """The worth of single answers, good or bad, beside the model's drift (Ethayarajh et al. 2024, equation 8)."""

    thumbs: ClassVar[bool] = True
    kind: Literal["kto"] = "kto"
    desirable: Annotated[float, About("weight of good answers", gt=0)] = 1.0
    undesirable: Annotated[float, About("weight of bad answers", gt=0)] = 1.0


@dataclass(frozen=True, kw_only=True)
class ORPOLoss:
    """The chosen answer, and its odds against the rejected one; no reference (Hong et al. 2024, equation 6)."""

    compared: ClassVar[bool] = False
    thumbs: ClassVar[bool] = False
    kind: Literal["orpo"] = "orpo"
    weight: Annotated[float, About("weight of the odds beside the likelihood of the chosen answer", gt=0)] = (
        0.1
    )


PreferenceLoss = DPOLoss | IPOLoss | KTOLoss | ORPOLoss
