"""Models of every make as one thing: a torch module whose output can be read as scores or labels.

What a model is asked with depends on what it is, never on whether a call happened to succeed:

- A `torch.nn.Module` gets tensors on its device, of the type of its parameters.
- A scikit-learn estimator gets a NumPy array of shape (B, d), the inputs' axes flattened. It answers with
  ``predict_proba`` where it has that, and else with ``predict``, whose classes become their places in ``classes_``. It
  is recognised as an object that has ``classes_`` and one of these methods. A regressor, which has ``fit`` and
  ``predict`` alone, answers with what it predicts.
- An `onnxruntime.InferenceSession` gets an array of the type that its input declares. Where its batches have a fixed
  size, it is asked in batches of that size, the last one padded.
- What `numpy_model` marks gets NumPy arrays of shape ``(B, *S)``, on the host.
- Any other callable gets tensors, on the host unless a device is asked for.

Arrays and tensors without parameters to follow are float32, or float64 where the inputs are. A callable's modules are
not seen, unless it is a bound method or a `functools.partial` of one: put them in evaluation mode yourself.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Foreign", "Output", "answer_of", "as_model", "numpy_model"]

# What a model is to return, by what it answers with.
WANTED = {
    "class": "scores of shape ({rows}, {classes}) or integer labels of shape ({rows},)",
    "map": "scores of shape ({rows}, {classes}, *S) or integer labels of shape ({rows}, *S)",
    "number": "floating-point numbers of shape ({rows},) or ({rows}, 1)",
}

# What ONNX calls the floating-point types.
ONNX_TYPES = {"tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16}

# Estimators come from anywhere, but sessions of one library alone.
ESTIMATOR_METHODS = ("predict_proba", "predict")


class numpy_model:  # noqa: N801
    """A function on NumPy arrays, marked as a model.

    Parameters
    ----------
    function : callable
        Maps an array ``(B, *S)`` of float32 (float64 where the inputs are) to scores (B, K) or integer labels (B,), or
        what `Output` finds one of them in.

    Raises
    ------
    TypeError
        If it cannot be called.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth import Gaussian, SmoothedClassifier
    >>> from rsmooth.torch import numpy_model
    >>> scores = numpy_model(lambda x: np.stack([0.5 - x[:, 0], x[:, 0] - 0.5], axis=1))
    >>> smoothed = SmoothedClassifier(scores, Gaussian(0.25), num_classes=2)
    >>> smoothed.predict(np.array([[0.9], [0.1]]), n=200, seed=0)
    array([1, 0])
    """

    def __init__(self, function: Callable[[NDArray[Any]], Any]) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {type(function).__name__}")
        self.function = function

    def __call__(self, x: NDArray[Any]) -> Any:
        """Return what the function does."""
        return self.function(x)


class Foreign(nn.Module):
    """A model that is no torch module, as one without parameters.

    Parameters
    ----------
    model : object
        The model.
    function : callable
        Maps a tensor ``(B, *S)`` to the model's output.
    takes : torch.dtype or None
        The type that the model computes in, where it says so.
    host : bool
        Whether it takes inputs from the host alone.
    """

    def __init__(
        self,
        model: Any,
        function: Callable[[torch.Tensor], Any],
        *,
        takes: torch.dtype | None = None,
        host: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.function, self.takes, self.host = model, function, takes, host
        owner = getattr(model.func if isinstance(model, partial) else model, "__self__", None)
        if isinstance(owner, nn.Module):
            # For its device and its modes.
            self.owner = owner

    def forward(self, x: torch.Tensor) -> Any:
        """Return the model's output."""
        return self.function(x)

    @property
    def called(self) -> str:
        """What messages call it."""
        return str(getattr(self.model, "__qualname__", type(self.model).__name__))

    def digest(self) -> str | None:
        """Return a digest of the model's state beside its code; None where it cannot be told."""
        if inspect.isfunction(self.model):
            return ""
        try:
            return hashlib.blake2b(pickle.dumps(self.model, protocol=4), digest_size=16).hexdigest()
        except Exception:  # noqa: BLE001
            return None


def as_model(model: Any) -> nn.Module:
    """Return a model of any make as a torch module.

    Parameters
    ----------
    model : torch.nn.Module, estimator, onnxruntime.InferenceSession, numpy_model or callable
        See `rsmooth.torch.models` for how each is called.

    Returns
    -------
    torch.nn.Module
        `model` itself if it is one. Its output is for `Output`.

    Raises
    ------
    TypeError
        If `model` is none of these.
    ValueError
        If a session has several inputs, or one that is not of floating-point numbers.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.torch.models import as_model
    >>> as_model(lambda x: (x[:, 0] > 0.5).long())(torch.tensor([[0.2], [0.7]]))
    tensor([0, 1])
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, numpy_model):
        return Foreign(model.function, partial(_on_arrays, model.function), host=True)
    if _is_session(model):
        return _session(model)
    if (estimator := _estimator(model)) is not None:
        return estimator
    if not callable(model) or inspect.isclass(model):
        got = f"the class {model.__name__}" if inspect.isclass(model) else type(model).__name__
        raise TypeError(
            "model must be a torch.nn.Module, a fitted scikit-learn estimator, an onnxruntime.InferenceSession, or a "
            f"callable on a batch (of NumPy arrays: rsmooth.torch.numpy_model), got {got}"
        )
    return Foreign(model, model)


def _estimator(model: Any) -> Foreign | None:
    """Return an estimator of scikit-learn, or the estimator whose method it is, as a model; None for anything else."""
    owner, name = getattr(model, "__self__", None), getattr(model, "__name__", "")
    if name in ESTIMATOR_METHODS and hasattr(owner, "classes_"):
        return Foreign(owner, partial(_estimate, owner, name), host=True)
    if inspect.isclass(model):
        return None
    methods = [each for each in ESTIMATOR_METHODS if hasattr(model, each)]
    if methods and hasattr(model, "classes_"):
        return Foreign(model, partial(_estimate, model, methods[0]), host=True)
    if methods == ["predict"] and hasattr(model, "fit") and not callable(model):
        return Foreign(model, partial(_predict, model), host=True)
    return None


def _on_arrays(function: Callable[[NDArray[Any]], Any], x: torch.Tensor) -> Any:
    return function(np.ascontiguousarray(x.cpu().numpy()))


def _estimate(estimator: Any, method: str, x: torch.Tensor) -> torch.Tensor:
    rows = np.ascontiguousarray(x.flatten(1).cpu().numpy())
    answer = np.asarray(getattr(estimator, method)(rows))
    if method == "predict":
        classes = np.asarray(estimator.classes_)
        order = np.argsort(classes)
        answer = order[np.searchsorted(classes[order], answer)].astype(np.int64)
    return torch.from_numpy(answer)


def _predict(regressor: Any, x: torch.Tensor) -> torch.Tensor:
    rows = np.ascontiguousarray(x.flatten(1).cpu().numpy())
    return torch.from_numpy(np.asarray(regressor.predict(rows)))


def _is_session(model: Any) -> bool:
    runtime = sys.modules.get("onnxruntime")
    return runtime is not None and isinstance(model, runtime.InferenceSession)


def _session(session: Any) -> Foreign:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in ONNX_TYPES:
        found = ", ".join(f"{each.name} of {each.type}" for each in inputs)
        raise ValueError(f"an ONNX model must have one input, of {', '.join(ONNX_TYPES)}, got {found}")
    (only,) = inputs
    takes = ONNX_TYPES[only.type]
    size = only.shape[0] if only.shape and isinstance(only.shape[0], int) else None
    names = [each.name for each in session.get_outputs()]

    def ask(x: torch.Tensor) -> dict[str, Any]:
        rows = x.to(takes).cpu()
        if size is None:
            return dict(zip(names, session.run(None, {only.name: rows.numpy()}), strict=True))
        padded = rows[torch.arange(-(-len(rows) // size) * size) % len(rows)]
        parts = [session.run(None, {only.name: part.numpy()}) for part in torch.split(padded, size)]
        return {
            name: np.concatenate(found)[: len(rows)]
            for name, found in zip(names, zip(*parts, strict=True), strict=True)
        }

    return Foreign(session, ask, takes=takes, host=True)


class Output:
    """Reads a model's outputs, all of which must be of one form.

    Parameters
    ----------
    num_classes : int or None
        The number K of classes; None where the model answers with numbers.
    answer : {"class", "map", "number"}
        What a row is answered with, as `rsmooth.certificates.kind.Kind` says it.

    Notes
    -----
    An output is scores (B, K), a label (B,) for each row, of integers, or holds one of them: as its attribute
    ``logits``, or as the only entry of a dict, tuple or list that has the shape (B, K), or if none has, as the only one
    that is labels. Tensors and NumPy arrays are alike. Of maps, scores are ``(B, K, *S)`` and labels ``(B, *S)``, of
    one map shape S for all rows; numbers are of a floating-point type, shape (B,) or (B, 1).

    Examples
    --------
    >>> import torch
    >>> from rsmooth.torch.models import Output
    >>> Output(3).read({"logits": torch.zeros(2, 3), "hidden": torch.zeros(2, 8)}, rows=2).shape
    torch.Size([2, 3])
    """

    def __init__(self, num_classes: int | None, answer: str = "class") -> None:
        self.num_classes, self.answer, self.form = num_classes, answer, ""

    def read(self, output: Any, *, rows: int) -> torch.Tensor:
        """Return what a model's output holds for so many rows.

        Raises
        ------
        ValueError
            If there is nothing of the kind, several, one of another form than before, or a label is out of range.
        """
        found, where = answer_of(output, rows, self.num_classes, self.answer)
        kind = str(found.dtype).removeprefix("torch.")
        labels = {"class": found.ndim == 1, "map": not found.is_floating_point(), "number": False}[self.answer]
        what = "labels" if labels else "numbers" if self.answer == "number" else "scores"
        size = tuple(found.shape[1 if labels else 2 :])
        form = f"{what} of {kind}{f' for maps of shape {size}' if self.answer == 'map' else ''}{where}"
        if form != self.form:
            if self.form:
                raise ValueError(
                    f"the model must return the same form of output always, got {self.form} and then {form}"
                )
            self.form = form
        if labels and self.num_classes and found.numel():
            low, high = (int(end) for end in found.aminmax())
            if low < 0 or high >= self.num_classes:
                wrong = low if low < 0 else high
                raise ValueError(f"the model's labels must be from 0 to {self.num_classes - 1}, got {wrong}")
        return found.flatten() if what == "numbers" else found


def answer_of(output: Any, rows: int, num_classes: int | None, answer: str = "class") -> tuple[torch.Tensor, str]:
    """Return what `Output` reads of an output, K any number where it is not known, and where it was."""
    wanted = WANTED[answer].format(rows=rows, classes=num_classes or "K")

    def refused(got: object, hint: str = "") -> ValueError:
        return ValueError(f"the model must return {wanted}, got {got}{hint}")

    if not _is_array(output):
        if _is_array(getattr(output, "logits", None)):
            entries = {".logits": output.logits}
        elif isinstance(output, (Mapping, tuple, list)):
            pairs = output.items() if isinstance(output, Mapping) else enumerate(output)
            entries = {f"[{name!r}]": each for name, each in pairs}
        else:
            raise refused(type(output).__name__)
        tensors = {name: each for name, each in entries.items() if _is_array(each)}
        kind = type(output).__name__
        if not tensors:
            raise refused(f"a {kind} without a tensor or array")
        fits = {name: each for name, each in tensors.items() if _is_scores(each, rows, num_classes, answer)} or {
            name: each for name, each in tensors.items() if _is_labels(each, rows, answer)
        }
        if len(fits) != 1:
            shapes = ", ".join(f"{name} {tuple(each.shape)}" for name, each in tensors.items())
            hint = "; return the one that counts" if fits else ""
            raise refused(f"a {kind} with {len(fits)} that fit: {shapes}", hint)
        ((where, found),) = fits.items()
        return _tensor(found), f" at {where}"
    if _is_scores(output, rows, num_classes, answer) or _is_labels(output, rows, answer):
        return _tensor(output), ""
    shape = tuple(output.shape)
    kind = str(output.dtype).removeprefix("torch.")
    single = answer == "class" and shape in ((rows,), (rows, 1))
    hint = "; of one score s a row, above 0 for class 1, make the scores [-s, s]" if single else ""
    told = answer != "class" or shape == (rows,)
    raise refused(f"{kind} of shape {shape}" if told else shape, hint)


def _is_array(value: Any) -> bool:
    return isinstance(value, (torch.Tensor, np.ndarray))


def _is_scores(value: Any, rows: int, num_classes: int | None, answer: str) -> bool:
    shape = tuple(value.shape)
    if answer == "number":
        return _is_floating(value) and shape in ((rows,), (rows, 1))
    fits = len(shape) > 1 and shape[0] == rows and (shape[1] == num_classes if num_classes else shape[1] > 1)
    return fits and (len(shape) == 2 if answer == "class" else len(shape) > 2 and _is_floating(value))  # noqa: PLR2004


def _is_labels(value: Any, rows: int, answer: str) -> bool:
    shape, kind = tuple(value.shape), str(value.dtype).removeprefix("torch.")
    fits = {"class": shape == (rows,), "map": len(shape) > 1 and shape[0] == rows, "number": False}[answer]
    return fits and kind.startswith(("int", "uint"))


def _is_floating(value: Any) -> bool:
    return "float" in str(value.dtype)


def _tensor(value: Any) -> torch.Tensor:
    tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(value))
    # torch knows little of the wider unsigned types.
    return tensor if tensor.is_floating_point() else tensor.to(torch.int64)
