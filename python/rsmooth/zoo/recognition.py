"""What network weights belong to, seen from their names and shapes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from rsmooth.zoo.networks import network_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    State = Mapping[str, torch.Tensor]

__all__ = ["classes_for", "fitted", "recognised"]

# So many classes as no layer has units: what differs between a network of so many and the weights is its head.
PROBE = 1009

# How names begin in torchvision's families of networks, by a name that all of a family have.
FAMILIES = {
    "layer1.0.conv1.weight": ("resnet", "resnext", "wide_resnet"),
    "features.denseblock1.denselayer1.norm1.weight": ("densenet",),
    "features.0.weight": ("vgg", "alexnet", "squeezenet"),
    "encoder.layers.encoder_layer_0.ln_1.weight": ("vit",),
}


def recognised(state: State) -> tuple[str, int] | None:
    """Return the architecture that weights belong to and their number of classes; None where it is not known.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        The weights, by the names that the architecture or others (see `fitted`) give them.

    Returns
    -------
    (str, int) or None
        A name as for `rsmooth.zoo.networks.build_model`, and the number of classes.

    Examples
    --------
    >>> from rsmooth.zoo.networks import build_model
    >>> from rsmooth.zoo.recognition import recognised
    >>> recognised(build_model("cifar_resnet20_pad", 43).module[1].state_dict())
    ('cifar_resnet20_pad', 43)
    """
    for arch in _candidates(state):
        classes = classes_for(arch, state)
        if classes is not None:
            return arch, classes
    return None


def classes_for(arch: str, state: State) -> int | None:
    """Return how many classes the network `arch` has with these weights; None where they are not its weights."""
    expected = _shapes(arch)
    for variant in _variants(arch, state):
        found = {name: tuple(value.shape) for name, value in variant.items() if not _counter(name)}
        if found.keys() != expected.keys():
            continue
        heads = {name for name, shape in expected.items() if shape[:1] == (PROBE,)}
        sizes = {found[name][:1] for name in heads}
        rest = all(
            found[name] == shape or (name in heads and found[name][1:] == shape[1:]) for name, shape in expected.items()
        )
        if rest and len(sizes) == 1:
            ((size,),) = sizes
            return size
    return None


def fitted(arch: str, state: State) -> State:
    """Return weights by the names that the network `arch` gives them, from those that others give them.

    What all names begin with (``model.``, say) is left out, and for the CIFAR networks ``linear`` (akamaster) is ``fc``
    and ``shortcut`` is ``downsample``. Weights that do not fit are returned as they are.
    """
    names = _shapes(arch).keys()
    for variant in _variants(arch, state):
        if {name for name in variant if not _counter(name)} == names:
            return variant
    return state


def _shapes(arch: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's weights, without taking memory for them."""
    with torch.device("meta"):
        network = network_of(arch, PROBE)
    return {name: tuple(value.shape) for name, value in network.state_dict().items() if not _counter(name)}


def _counter(name: str) -> bool:
    # Old files lack them, and torch fills them in.
    return name.endswith("num_batches_tracked")


def _candidates(state: State) -> Iterator[str]:
    names = [name for variant in _variants("cifar_resnet", state) for name in variant]
    blocks = [int(found[1]) for name in names if (found := re.match(r"layer1\.(\d+)\.conv1\.weight$", name))]
    if blocks:
        depth = 6 * (max(blocks) + 1) + 2
        yield from (f"cifar_resnet{depth}", f"cifar_resnet{depth}_pad")
    if "5.weight" in state:
        yield "digits_cnn"
    families = tuple(prefix for key, prefixes in FAMILIES.items() if key in names for prefix in prefixes)
    if families:
        from torchvision import models  # noqa: PLC0415

        yield from (name for name in models.list_models(module=models) if name.startswith(families))


def _variants(arch: str, state: State) -> Iterator[State]:
    """Yield weights by the names that they have and that they might have."""
    yield state
    first = {name.partition(".")[0] for name in state}
    inner: dict[str, Any] = {name.partition(".")[2]: value for name, value in state.items()}
    stripped: State = inner if len(first) == 1 and all(inner) else state
    if stripped is not state:
        yield stripped
    if arch.startswith("cifar_resnet"):
        yield {
            re.sub(r"\bshortcut\.", "downsample.", re.sub(r"^linear\.", "fc.", name)): value
            for name, value in stripped.items()
        }
