"""Models of every make: the certificates of one function are the same however it is wrapped."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rsmooth import Gaussian, SmoothedClassifier
from rsmooth.torch import numpy_model
from rsmooth.torch.models import as_model
from rsmooth.zoo.checkpoints import code_fingerprint, model_fingerprint
from rsmooth.zoo.networks import Model

WEIGHT = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
X = np.random.default_rng(1).uniform(size=(4, 2, 3)).astype(np.float32)


def scores(x):
    """Three scores of a batch (B, 2, 3), for tensors and arrays."""
    weight = torch.from_numpy(WEIGHT) if isinstance(x, torch.Tensor) else WEIGHT
    return x.reshape(len(x), -1) @ weight


class Module(torch.nn.Module):
    """The same, with what is made of the scores."""

    def __init__(self, make=lambda s: s):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(scores(x))


class Estimator:
    """The same as scikit-learn has it, with columns for other labels."""

    classes_ = np.array(["ant", "bee", "cat"])

    def predict_proba(self, x):
        assert x.ndim == 2
        return scores(x).astype(np.float64)


class Predictor:
    """The same, with labels alone, in no order."""

    classes_ = np.array([7, 3, 5])

    def predict(self, x):
        return self.classes_[scores(x).argmax(axis=1)]


def certify(model, x=X, **changes):
    smoothed = SmoothedClassifier(model, Gaussian(0.5), 3, domain=None)
    return smoothed.certify(x, **{"n0": 20, "n": 400, "norm": 2, "seed": 1, "batch_size": 64, **changes})


def onnx_session(batch="N", kind=None, *, labels=False):
    import onnx
    import onnxruntime

    kind = onnx.TensorProto.FLOAT if kind is None else kind
    weight = onnx.numpy_helper.from_array(WEIGHT.astype(onnx.helper.tensor_dtype_to_np_dtype(kind)), "w")
    shape = onnx.numpy_helper.from_array(np.array([-1, 6]), "shape")
    make = onnx.helper.make_node
    nodes = [make("Reshape", ["x", "shape"], ["flat"]), make("MatMul", ["flat", "w"], ["scores"])]
    outputs = [onnx.helper.make_tensor_value_info("scores", kind, [batch, 3])]
    if labels:
        nodes.append(make("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
        outputs.insert(0, onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, [batch]))
    value = onnx.helper.make_tensor_value_info("x", kind, [batch, 2, 3])
    graph = onnx.helper.make_graph(nodes, "scores", [value], outputs, [weight, shape])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def logistic_regression():
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression()
    model.classes_, model.coef_, model.intercept_ = np.arange(3), WEIGHT.T.astype(np.float64), np.zeros(3)
    return model


FORMS = {
    "a module": Module,
    "a function on tensors": lambda: scores,
    "a function on arrays": lambda: numpy_model(scores),
    "a partial": lambda: partial(lambda scale, x: scale * scores(x), 2),
    "a method of a module": lambda: Module().forward,
    "logits": lambda: Module(lambda s: SimpleNamespace(logits=s)),
    "a dict": lambda: Module(lambda s: {"hidden": s[:, :2], "out": s}),
    "a tuple": lambda: Module(lambda s: (s, s.new_zeros(len(s), 8), None)),
    "scores beside labels": lambda: Module(lambda s: [s.argmax(1), s]),
    "labels": lambda: Module(lambda s: s.argmax(1)),
    "short labels": lambda: Module(lambda s: s.argmax(1).to(torch.int16)),
    "labels of arrays": lambda: numpy_model(lambda x: scores(x).argmax(axis=1).astype(np.uint16)),
    "integer scores": lambda: Module(lambda s: s.argsort(1).argsort(1)),
    "an estimator": Estimator,
    "an estimator's method": lambda: Estimator().predict_proba,
    "a predictor": Predictor,
    "scikit-learn": logistic_regression,
    "ONNX": onnx_session,
    "ONNX of eight at a time": lambda: onnx_session(8),
    "ONNX of one at a time, with labels": lambda: onnx_session(1, labels=True),
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS.keys())
def test_certificates_of_one_function_do_not_depend_on_its_make(make):
    assert np.array_equal(certify(make()).counts, certify(Module()).counts)


def test_sessions_get_the_type_that_they_declare():
    import onnx

    x = X.astype(np.float64)
    assert np.array_equal(certify(onnx_session(kind=onnx.TensorProto.DOUBLE), x).counts, certify(Module(), X).counts)
    # Half precision is too coarse for noise on numbers near 1000, and is refused as a module's would be.
    with pytest.raises(ValueError, match=r"the model is of float16, whose numbers near 1e\+04"):
        certify(onnx_session(kind=onnx.TensorProto.FLOAT16), X * 0 + 10_000)
    with pytest.raises(ValueError, match=r"an ONNX model must have one input, of .*, got x of tensor\(int64\)"):
        as_model(_fake_session("tensor(int64)"))


def _fake_session(kind):
    import onnxruntime

    class Session(onnxruntime.InferenceSession):
        def __init__(self):
            pass

        def get_inputs(self):
            return [SimpleNamespace(name="x", type=kind, shape=["N", 2])]

    return Session()


def test_arrays_are_of_the_inputs_shape_and_estimators_get_rows():
    seen = []

    def model(x):
        seen.append((x.shape[1:], x.dtype, x.flags.c_contiguous))
        return scores(x)

    certify(numpy_model(model))
    assert set(seen) == {((2, 3), np.dtype(np.float32), True)}


@pytest.mark.parametrize(
    "wrap", [lambda f: f, numpy_model, lambda f: SimpleNamespace(predict=f, classes_=np.arange(3))]
)
def test_models_that_are_no_modules_are_checked_for_rows_too(wrap):
    def mixing(x):
        s = scores(x) - scores(x).mean(0)
        return s.argmax(1)

    with pytest.raises(ValueError, match=r"depends on more than the row: .* and the labels of [0-9]+ rows moved"):
        certify(wrap(mixing))
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="depends on more than the row"):
        certify(wrap(lambda x: (scores(x) * rng.choice([-1, 1])).argmax(1)))


def test_dropout_behind_a_function_is_caught():
    dropout = torch.nn.Dropout()
    with pytest.raises(ValueError, match="the model draws random numbers"):
        certify(lambda x: scores(dropout(x)))
    # Of a method, the module is known, and put in evaluation mode.
    module = torch.nn.Sequential(torch.nn.Dropout(), Module())
    assert np.array_equal(certify(module.forward).counts, certify(Module()).counts)
    assert module.training


def test_scores_that_are_not_numbers_are_no_votes():
    model = numpy_model(lambda x: np.where(scores(x) > 3, math.nan, scores(x)))
    with pytest.raises(ValueError, match=r"not finite for [0-9]+ noisy copies of example [0-3]: that is no vote"):
        certify(model)


def test_what_a_model_holds_is_part_of_its_fingerprint():
    def fingerprints(model):
        made = Model(torch.nn.Sequential(torch.nn.Identity(), as_model(model)), "test", 3, "none")
        return model_fingerprint(made), code_fingerprint(made)

    one, other = logistic_regression(), logistic_regression()
    other.coef_ = other.coef_ + 1
    assert fingerprints(one) == fingerprints(logistic_regression())
    assert fingerprints(one)[0] != fingerprints(other)[0]
    assert fingerprints(scores)[1] != fingerprints(one)[1]
    held = SimpleNamespace(predict=lambda x: x, classes_=np.arange(3))
    assert fingerprints(held)[1] == "unknown: the state of SimpleNamespace cannot be told"


def test_timm():
    import timm

    model = timm.create_model("test_resnet", num_classes=3, in_chans=3)
    x = np.full((1, 3, 32, 32), 0.5, np.float32)
    assert certify(model, x, n=50, n0=5).counts.sum() == 50


def test_hugging_face():
    import transformers

    small = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "num_labels": 3,
    }
    torch.manual_seed(0)
    image = transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=8, patch_size=4, num_channels=3, **small)
    )
    x = np.full((1, 3, 8, 8), 0.5, np.float32)
    found = certify(image, x, n=200)
    image.eval()
    assert np.array_equal(found.counts, certify(lambda x: image(x).logits, x, n=200).counts)
    # Tokens cannot be added to: noise is on their embeddings, and radii are in their units.
    text = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=20, **small)).eval()
    tokens = torch.tensor([[1, 5, 7, 2]])
    embedded = text.get_input_embeddings()(tokens)
    found = certify(lambda e: text(inputs_embeds=e), embedded, n=200)
    assert (found.dim, found.counts.sum()) == (4 * 8, 200)
