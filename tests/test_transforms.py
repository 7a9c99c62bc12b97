"""Noise in data pipelines: an example's draw has a name that nothing about the loader changes."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from rsmooth import Exponential, Gaussian
from rsmooth.torch.transforms import AddNoise, Named

COUNT = 12

# As torchvision rounds.
SCALED = v2.ToDtype(torch.float32, scale=True)


class Images(Dataset):
    """Images of their number, with a transform as torchvision's data sets have it."""

    def __init__(self, transform=None):
        self.transform = transform

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        image = tv_tensors.Image(torch.full((3, 4, 4), index, dtype=torch.uint8))
        return image if self.transform is None else self.transform(image), index


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


def pipeline(mechanism=Gaussian(0.25), seed=7, **settings):  # noqa: B008
    return v2.Compose([SCALED, AddNoise(mechanism, seed=seed, **settings)])


def expected(index, epoch, mechanism=Gaussian(0.25), seed=7):  # noqa: B008
    z = mechanism.sample((1, 3, 4, 4), seed=seed, first=epoch * COUNT + index)[0]
    return SCALED(torch.full((3, 4, 4), index, dtype=torch.uint8)) + torch.from_numpy(z)


@pytest.mark.parametrize("workers", [0, "fork", "spawn"])
def test_noise_depends_on_index_and_epoch_alone(workers):
    data = Named(Images(pipeline()))
    settings = (
        {}
        if not workers
        else {
            "num_workers": 2 if workers == "fork" else 1,
            "multiprocessing_context": workers,
            "persistent_workers": True,
        }
    )
    loader = DataLoader(data, batch_size=5, shuffle=True, **settings)
    orders = []
    for epoch in range(3):
        data.set_epoch(epoch)
        labels = []
        for images, numbers in loader:
            for image, number in zip(images, numbers.tolist(), strict=True):
                assert torch.equal(image, expected(number, epoch))
            labels += numbers.tolist()
        assert sorted(labels) == list(range(COUNT))
        orders.append(labels)
    assert orders[0] != orders[1]


def test_no_two_examples_share_a_draw():
    data = Named([(torch.zeros(3), 0)] * 5)
    noise = AddNoise(Gaussian(1.0), seed=1, copies=2)
    data.dataset = _Applied(data.dataset, noise)
    found = []
    for epoch in range(3):
        data.set_epoch(epoch)
        found += [data[i][0] for i in range(5)]
    values = torch.stack(found)
    assert values.shape == (15, 2, 3)
    assert len(values.unique()) == values.numel()


class _Applied:
    def __init__(self, items, transform):
        self.items, self.transform = items, transform

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.transform(*self.items[index])


def test_batches_get_the_same_noise_where_they_are():
    """The form without a transform: the batch's indices name its draws."""
    for epoch in range(2):
        plain = Named(Images(SCALED), index=True)
        for images, labels, index in DataLoader(plain, batch_size=5, shuffle=True):
            assert torch.equal(labels, index)
            for first in (epoch * COUNT + index.numpy(), (epoch * COUNT + index).tolist()):
                noisy = Exponential(0.1).perturb(images, seed=7, first=first)
                for image, number in zip(noisy, index.tolist(), strict=True):
                    assert torch.equal(image, expected(number, epoch, Exponential(0.1)))


def test_transforms_keep_kinds_and_other_inputs():
    noise = AddNoise(Gaussian(0.25), seed=1)
    image = tv_tensors.Image(torch.rand(3, 4, 4))
    boxes = tv_tensors.BoundingBoxes([[0, 0, 2, 2]], format="XYXY", canvas_size=(4, 4))
    noisy, same, label = Named(_Applied([(image, boxes, 3)], v2.Compose([noise])))[0]
    assert isinstance(noisy, tv_tensors.Image)
    assert same is boxes
    assert label == 3
    assert not torch.equal(noisy, image)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Images(pipeline())[0], RuntimeError, "must be read through rsmooth.torch.transforms.Named"),
        (lambda: Named(Images(AddNoise(Gaussian(1), seed=0)))[0], TypeError, "got torch.uint8; put v2.ToImage() and"),
        (lambda: Named(Images())[COUNT], IndexError, "out of range"),
        (lambda: Named(Endless()), TypeError, "dataset must have a length and items by index"),
        (lambda: Named(Images()).set_epoch(-1), ValueError, "epoch must be between 0 and"),
        (lambda: Named(Images()).set_epoch(1.5), TypeError, "epoch must be an integer, got 1.5"),
        (lambda: AddNoise(Gaussian(1), seed=0, copies=0), ValueError, "copies must be at least 1, got 0"),
        (lambda: AddNoise(Gaussian(1), seed=-1), ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_bad_pipelines_are_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_a_negative_index_has_the_name_of_its_example():
    data = Named(Images(pipeline()), index=True)
    assert torch.equal(data[-1][0], data[COUNT - 1][0])
    assert data[-1][2] == COUNT - 1
