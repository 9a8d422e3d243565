"""Checks that the values of weights are plausible."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..common.errors import UserError


def check_weights(named: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Refuse weights that aren't finite, and running variances of batch norms below 0: they make every score nan.

    Args:
        named: names and tensors, as `state_dict().items()` gives them; integer and meta tensors aren't checked.
        where: the checkpoint, for the message.

    Raises:
        UserError: names the first such weight and says how many there are.
    """
    found = [(name, problem) for name, x in named if (problem := _problem(name, x))]
    if found:
        name, problem = found[0]
        more = f", and {len(found) - 1} more like it" if len(found) > 1 else ""
        raise UserError(f"{where}: {name} holds {problem}{more}: no model works with that; save or download it again")


def _problem(name: str, x: Tensor) -> str | None:
    if not x.is_floating_point() or x.is_meta:
        return None
    if x.element_size() == 1:  # float8 has no such operators
        x = x.float()
    if not torch.isfinite(x).all():
        return "nan" if x.isnan().any() else "infinite numbers"
    if name.endswith("running_var") and (x < 0).any():
        return f"the variance {x.min().item():g}, below 0"
    return None
