"""Models and data as people have them: what is recognised, what is asked for, and what is never run."""

import json
import warnings
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rsmooth import cli
from rsmooth.run.certify import certify
from rsmooth.run.results import read_run
from rsmooth.run.spec import Spec
from rsmooth.zoo.checkpoints import code_fingerprint, load_model, model_fingerprint
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import CifarResNet, build_model, check_model
from rsmooth.zoo.normalization import normalizing


def same_weights(network, other):
    names = network.state_dict()
    return names.keys() == other.state_dict().keys() and all(
        torch.equal(value, other.state_dict()[name]) for name, value in names.items()
    )


def command(*arguments):
    result = CliRunner().invoke(cli.app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


SETTINGS = ("--mechanism", "gaussian", "--sigma", 0.25, "--norm", 2, "--n0", 20, "--n", 100, "--max", 3)
SETTINGS = (*SETTINGS, "--device", "cpu", "--seed", 0)

# How others wrap and call a network's weights.
DIALECTS = {
    "akamaster": lambda s: {
        "best_prec1": 91.7,
        "state_dict": OrderedDict((f"module.{n}".replace("fc.", "linear."), v) for n, v in s.items()),
    },
    "compiled": lambda s: {"model": {f"_orig_mod.module.{n}": v for n, v in s.items()}, "epoch": 3},
    "in a wrapper": lambda s: {"net": {f"backbone.{n}": v for n, v in s.items()}},
    "without counters": lambda s: {n: v for n, v in s.items() if "num_batches" not in n},
}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
@pytest.mark.parametrize(("pad", "depth"), [("_pad", 20), ("", 32)])
def test_networks_are_recognised_by_their_weights(tmp_path, dialect, pad, depth):
    network = CifarResNet(depth, 37, projection=not pad)
    torch.save(dialect(network.state_dict()), tmp_path / "model.th")
    with pytest.raises(ValueError, match="does not record how inputs are normalised: pass --normalization"):
        load_model(str(tmp_path / "model.th"))
    # Their number of classes is their own, whatever the data has.
    model = load_model(str(tmp_path / "model.th"), num_classes=10, normalization="imagenet")
    assert (model.arch, model.num_classes) == (f"cifar_resnet{depth}{pad}", 37)
    assert same_weights(network, model.module[1])


@pytest.mark.parametrize("arch", ["resnet18", "vgg11"])
def test_torchvisions_networks_are_recognised(tmp_path, arch):
    network = build_model(arch, 5).module[1]
    torch.save(network.state_dict(), tmp_path / "model.pt")
    model = load_model(str(tmp_path / "model.pt"), normalization="none")
    assert (model.arch, model.num_classes) == (arch, 5)
    assert same_weights(network, model.module[1])


def test_constants_of_a_normalizer_are_read(tmp_path):
    """As the robustness library keeps them."""
    network, means, deviations = CifarResNet(20, 10), torch.tensor([0.5, 0.25, 0.5]), torch.tensor([0.25] * 3)
    state = {f"module.model.{n}": v for n, v in network.state_dict().items()}
    for prefix in ("normalizer", "attacker.normalize"):
        state |= {
            f"module.{prefix}.new_mean": means[:, None, None],
            f"module.{prefix}.new_std": deviations[:, None, None],
        }
    state |= {f"module.attacker.model.{n}": v for n, v in network.state_dict().items()}
    torch.save({"model": state, "epoch": 1}, tmp_path / "model.pt")
    model = load_model(str(tmp_path / "model.pt"))
    assert (model.arch, model.normalization) == ("cifar_resnet20", "0.5,0.25,0.5/0.25,0.25,0.25")
    x = torch.rand(2, 3, 8, 8)
    assert torch.allclose(model.module[0](x), (x - means[:, None, None]) / 0.25)
    assert same_weights(network, model.module[1])


def test_all_that_is_missing_is_asked_for_at_once(tmp_path):
    torch.save({"a.weight": torch.zeros(3, 4)}, tmp_path / "model.pt")
    with pytest.raises(
        ValueError, match=r"not recognised: pass --arch \(digits_cnn, .*\); nor how inputs .* --normalization"
    ):
        load_model(str(tmp_path / "model.pt"))


def test_weights_of_timm(tmp_path):
    import timm
    from safetensors.torch import save_file

    network = timm.create_model("test_resnet", num_classes=4)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    model = load_model(str(tmp_path / "model.safetensors"), arch="timm:test_resnet", normalization=".5,.5,.5/.5,.5,.5")
    assert model.num_classes == 4
    assert same_weights(network, model.module[1])


def test_pretrained_models_say_how_they_are_normalised(monkeypatch):
    import timm
    from torchvision import models

    monkeypatch.setattr(timm, "create_model", _untrained(timm.create_model, "pretrained"))
    model = load_model("timm:test_resnet", num_classes=10)
    assert (model.arch, model.num_classes, model.normalization) == (
        "timm:test_resnet",
        1000,
        "0.5,0.5,0.5/0.5,0.5,0.5",
    )
    monkeypatch.setattr(models, "get_model", _untrained(models.get_model, "weights"))
    model = load_model("torchvision:resnet18")
    assert (model.arch, model.num_classes, model.normalization) == ("resnet18", 1000, "imagenet")


def _untrained(make, argument):
    def made(name, **settings):
        assert settings.pop(argument)
        return make(name, **{argument: None if argument == "weights" else False}, **settings)

    return made


def test_a_folder_of_hugging_face(tmp_path):
    import transformers

    config = transformers.ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, num_labels=10,
    )  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    source = f"huggingface:{tmp_path / 'vit'}"
    with pytest.raises(ValueError, match="does not record how inputs are normalised: pass --normalization"):
        load_model(source)
    (tmp_path / "vit" / "preprocessor_config.json").write_text(
        json.dumps({"do_normalize": True, "image_mean": [0.5], "image_std": [0.25]})
    )
    command("certify", "--model", source, "--data", "digits", *SETTINGS, "--out", tmp_path / "run")
    subject = read_run(tmp_path / "run").head.subject
    assert (subject.num_classes, subject.normalization) == (10, "0.5/0.25")
    assert "as recorded" in command("verify", tmp_path / "run", "--sample", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Return the folder of one network as several programs."""
    import onnx

    folder = tmp_path_factory.mktemp("programs")
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    example = torch.zeros(4, 1, 8, 8)
    size = {0: torch.export.Dim("size")}
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=(size,)), folder / "model.pt2")
    torch.export.save(torch.export.export(network, (example,)), folder / "four.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, example), str(folder / "model.ts"))
    (folder / "script.pt").write_bytes((folder / "model.ts").read_bytes())
    make, float_ = onnx.helper.make_node, onnx.TensorProto.FLOAT
    weights = [onnx.numpy_helper.from_array(v.detach().numpy(), n) for n, v in network[1].named_parameters()]
    graph = onnx.helper.make_graph(
        [make("Flatten", ["x"], ["flat"]), make("Gemm", ["flat", "weight", "bias"], ["scores"], transB=1)],
        "linear",
        [onnx.helper.make_tensor_value_info("x", float_, ["N", 1, 8, 8])],
        [onnx.helper.make_tensor_value_info("scores", float_, ["N", 10])],
        weights,
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9),
        folder / "model.onnx",
    )
    return folder


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2", "model.ts", "script.pt"])
def test_programs_are_certified_and_verified(programs, tmp_path, name):
    source = programs / name
    given = ("--model", source, *(("--arch", "torchscript") if name == "script.pt" else ()))
    output = command("certify", *given, "--data", "digits", *SETTINGS, "--out", tmp_path / "run")
    assert "not part of the run's fingerprint" not in output
    # They are the same network.
    command("certify", "--model", programs / "model.onnx", "--data", "digits", *SETTINGS, "--out", tmp_path / "same")
    counts = [read_run(tmp_path / folder).column("counts") for folder in ("run", "same")]
    assert np.array_equal(*counts)
    assert "as recorded" in command("verify", tmp_path / "run", "--sample", 1, "--device", "cpu", *given)
    if name != "model.onnx":
        with pytest.raises(ValueError, match="untrusted runs may not import code; to run it, give it with --"):
            command("verify", tmp_path / "run", "--sample", 1, "--device", "cpu")


def test_programs_of_one_batch_size_are_refused_by_name(programs, tmp_path):
    with pytest.raises(ValueError, match=r"four.pt2 cannot be run on a batch of shape .*must have a dynamic size"):
        command("certify", "--model", programs / "four.pt2", "--data", "digits", *SETTINGS, "--out", tmp_path)


def test_a_programs_content_is_its_fingerprint(programs):
    one, other = (load_model(str(programs / name), num_classes=10) for name in ("model.pt2", "model.onnx"))
    assert model_fingerprint(one) != model_fingerprint(other)
    assert code_fingerprint(other) == code_fingerprint(build_model("digits_cnn", 10))


def test_code_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "doors_own.py").write_text(
        "import numpy as np\n"
        "import torch\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from rsmooth.torch import numpy_model\n"
        "x = np.load('x.npy').reshape(-1, 4)\n"
        "estimator = LogisticRegression().fit(x, np.load('x_labels.npy') % 3)\n"
        "scores = numpy_model(estimator.decision_function)\n"
        "def rule(x): return x.flatten(1)[:, :3]\n"
        "def label(x): return x.flatten(1).argmax(1)\n"
        "def make(num_classes=7): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, num_classes))\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self): super().__init__(2, 2)\n"
        "    def forward(self, x): return super().forward(x.mean(1))\n"
    )
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(12, 2, 2))
    np.save("x.npy", x)
    # Of five classes, whatever the model has.
    np.save("x_labels.npy", np.arange(12) % 2)
    data = ("--data", "x.npy", "--domain", "none")
    for name, classes in {"rule": 3, "make": 7, "Net": 2}.items():
        command("certify", "--model", f"doors_own:{name}", *data, *SETTINGS, "--out", name)
        assert read_run(tmp_path / name).head.subject.num_classes == classes
    with pytest.raises(ValueError, match="doors_own:label does not record its number of classes: pass --classes"):
        command("certify", "--model", "doors_own:label", *data, *SETTINGS, "--out", "label")
    command("certify", "--model", "doors_own:label", *data, *SETTINGS, "--classes", 4, "--out", "label")
    assert read_run(tmp_path / "label").head.spec.domain == "none"
    again = ("--sample", 2, "--device", "cpu", "--model", "doors_own:label")
    assert "as recorded" in command("verify", "label", *again)


@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 6, 6), (2, 3, 4, 5)])
def test_arrays_may_have_any_shape(tmp_path, shape):
    x = np.random.default_rng(0).normal(size=(5, *shape)) * 3
    np.savez(tmp_path / "x.npz", images=x, labels=np.arange(5))
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got values from .* or say what the domain is"):
        load_data(str(tmp_path / "x.npz"))[0]
    data = load_data(str(tmp_path / "x.npz"), domain=None)
    assert torch.equal(data[3][0], torch.from_numpy(x[3]).float())
    assert data.classes is None
    assert load_data(str(tmp_path / "x.npz"), domain=(-20, 20)).fingerprint() == data.fingerprint()


def test_the_runs_domain_is_the_datas(tmp_path):
    """Whatever the data set was made with."""
    items = [(torch.full((2, 2), value), 0) for value in (-3.0, 5.0)]
    model = build_model("test_loading:labels", 4)
    spec = Spec("gaussian", 0.25, norm=2, n0=5, n=20, batch_size=10)
    with pytest.raises(ValueError, match=r"item 0 of x: images must be in \[-1, 6\], got values from -3 to -3"):
        certify(tmp_path / "run", model, Data("x", items, 4, domain=None), replace(spec, domain="-1,6"))
    assert len(certify(tmp_path / "run", model, Data("x", items, 4), replace(spec, domain="-4,6"))) == 2
    assert read_run(tmp_path / "run").head.spec.bounds == (-4, 6)


def test_training_on_a_file_of_another_domain_asks_for_the_number_of_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32) * 3
    np.savez("x.npz", images=x, labels=np.arange(12) % 2)
    given = ("train", "--model", "test_loading:small", "--data", "x.npz", "--domain", "none", "--mechanism", "gaussian")
    given = (*given, "--sigma", 0.25, "--epochs", 1, "--device", "cpu", "--out", "out")
    with pytest.raises(ValueError, match=r"x.npz does not record its number of classes: give --classes"):
        command(*given)
    command(*given, "--classes", 3)
    assert load_model("out/checkpoint.pt", arch="test_loading:small").num_classes == 3


def small(num_classes):
    return torch.nn.Linear(2, num_classes)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_domain_of_none_is_that_of_finite_numbers(tmp_path, bad):
    np.savez(tmp_path / "x.npz", images=np.array([[0.0, bad]]), labels=[0])
    with pytest.raises(ValueError, match=r"item 0 of .*: images must be finite"):
        load_data(str(tmp_path / "x.npz"), domain=None)[0]


@pytest.mark.parametrize("bad", ["", "cifar100", "0.5", "0.5/0", "0.5/-1", "nan/1", ".5,.5/.5", "0.5/0.5/0.5", "a/b"])
def test_unknown_normalisations_are_refused(bad):
    with pytest.raises(ValueError, match="normalization must be one of none, cifar10, imagenet, or means/deviations"):
        normalizing(bad)


def test_models_of_labels_can_be_run():
    model = build_model("test_loading:labels", 4)
    check_model(model, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="test_loading:labels: the model's labels must be from 0 to 1, got 3"):
        check_model(build_model("test_loading:labels", 2), torch.zeros(2, 2))


def labels(x):
    return torch.full((len(x),), 3)
