"""The linear probe against closed forms, scikit-learn, and data that hold nothing."""

import numpy as np
import pytest
import torch

from spikelab.probe import fold_indices, linear_probe, paired_difference


def blobs(count=300, features=6, seed=0, distance=1.6):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    centres = distance * torch.randn(3, features, generator=generator)
    return centres[labels] + torch.randn(count, features, generator=generator), labels


@pytest.mark.parametrize("features", [6, 700])
def test_probe_names_what_scikit_learns_softmax_regression_names(features):
    from sklearn.linear_model import LogisticRegression

    seen, labels = blobs(200, features, distance=0.9 if features == 6 else 0.12)
    ours = linear_probe(seen, labels, penalty=1e-2, folds=4)
    theirs = torch.zeros_like(ours.right)
    for train, test in fold_indices(200, 4, 0):
        mean = seen[train].mean(0)
        scale = (seen[train] - mean).square().sum(1).mean().sqrt()
        rows = ((seen - mean) / scale).numpy()
        model = LogisticRegression(C=1 / (1e-2 * len(train)), max_iter=2000, tol=1e-8)
        model.fit(rows[train], labels[train])
        theirs[test] = torch.from_numpy(np.asarray(model.predict(rows[test]))) == labels[test]
    assert 0.5 < ours.accuracy < 0.99
    assert (ours.right != theirs).sum() <= 1  # both stop somewhere near the same minimum


def test_probe_finds_nothing_where_there_is_nothing():
    seen = torch.randn(400, 50, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(400) % 4
    low, high = linear_probe(seen, labels, penalty=1e-1).interval
    assert low < 0.25 < high


def test_folds_test_every_item_once_and_never_train_on_it():
    parts = fold_indices(103, 5, seed=3)
    assert torch.cat([test for _, test in parts]).sort().values.tolist() == list(range(103))
    assert all(not set(train.tolist()) & set(test.tolist()) for train, test in parts)


def test_penalty_is_chosen_without_the_test_fold():
    """A penalty chosen on test items would find signal in noise; and the better of two is taken where one is absurd."""
    seen, labels = blobs()
    assert linear_probe(seen, labels, penalty=[1e6, 1e-3]).penalties == [1e-3] * 5


def test_scale_of_the_features_does_not_matter():
    seen, labels = blobs()
    assert torch.equal(linear_probe(seen, labels).right, linear_probe(1000 * seen + 7, labels).right)


def test_paired_difference_of_discordant_items():
    before = torch.tensor([True] * 80 + [False] * 20)
    after = torch.tensor([True] * 75 + [False] * 5 + [True] * 15 + [False] * 5)
    gained = paired_difference(before, after)
    assert gained.points == pytest.approx(10)
    assert gained.high - gained.points == pytest.approx(1.96 * 100 * (0.19 / 99) ** 0.5)  # 20 differ: (.2 − .1²)·100/99
    assert paired_difference(before, before) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(7, dtype=torch.int64)}, "labels must have shape"),
        ({"folds": 1}, "folds"),
        ({"penalty": -1.0}, "penalty"),
        ({"penalty": []}, "penalty must hold"),
        ({"folds": 200}, "two items for each"),
    ],
)
def test_bad_input_is_named(change, message):
    seen, labels = blobs()
    with pytest.raises(ValueError, match=message):
        linear_probe(**{"features": seen, "labels": labels, **change})
    with pytest.raises(ValueError, match="before and after"):
        paired_difference(torch.zeros(3), torch.zeros(4))
