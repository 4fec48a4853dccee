"""Test sets of drawn boxes: objects in pictures, and what an imagined detector finds of them."""

import torch

from spikelab.detection import Detections, Objects


def random_test_set(seed, pictures=12, classes=3, size=200, difficult=0.0, distinct_scores=True):
    """Objects of several classes, some overlapping, and detections: shifted, doubled, mislabelled and invented ones."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    def whole(high, *shape):
        return torch.randint(high, shape, generator=g)

    objects, detections = [], []
    for _ in range(pictures):
        count = int(whole(6, 1))
        corner, sides = uniform(count, 2) * size * 0.6, 8 + uniform(count, 2) * size * 0.3
        if count > 2:  # a crowd: the second beside the first
            corner[1], sides[1] = corner[0] + 4, sides[0]
        boxes = torch.cat((corner, corner + sides), 1)
        labels = whole(classes, count)
        objects.append(Objects(boxes, labels, uniform(count) < difficult))
        copies = whole(max(count, 1), 3 * count)
        shift = (uniform(len(copies), 4) - 0.5) * 24 * uniform(len(copies), 1)
        found = boxes[copies] + shift
        invented = uniform(5, 2) * size * 0.7
        found = torch.cat((found, torch.cat((invented, invented + 20), 1)))
        found = torch.cat((found[:, :2], torch.maximum(found[:, 2:], found[:, :2] + 1)), 1)
        kinds = torch.cat((labels[copies], whole(classes, 5)))
        kinds = torch.where(uniform(len(kinds)) < 0.15, whole(classes, len(kinds)), kinds)
        scores = uniform(len(kinds))
        detections.append(Detections(found, scores if distinct_scores else (scores * 8).round() / 8, kinds))
    return detections, objects


def names(classes):
    return [f"class {i}" for i in range(classes)]
