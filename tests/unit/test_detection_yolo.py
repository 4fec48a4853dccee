"""YOLOv3's heads: who answers for what, decoding against a loop over cells, the loss against sums worked by hand."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from spikelab.detection import (
    COCO_ANCHORS,
    YOLOV3_PAPER,
    LossOptions,
    LossWeights,
    Objects,
    assign_targets,
    cells,
    ciou,
    decode,
    decode_boxes,
    detect,
    diou,
    encode_boxes,
    giou,
    head_layout,
    iou,
    public_code_options,
    shape_iou,
    to_centre,
    to_corners,
    yolo_loss,
)

SIZE = 96
LAYOUT = head_layout(COCO_ANCHORS.at(SIZE), 3)
PLAIN = LossWeights()


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def drawn_objects(count, seed):
    g = torch.Generator().manual_seed(seed)
    centre = 0.25 + 0.5 * torch.rand(count, 2, generator=g)
    sides = 0.05 + 0.4 * torch.rand(count, 2, generator=g)
    return Objects(to_corners(torch.cat((centre, sides), 1)), torch.randint(3, (count,), generator=g))


def raw_heads(batch, seed=0, layout=LAYOUT, size=SIZE):
    g = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, channels, *grid, generator=g)
        for channels, grid in zip(layout.channels, layout.grids(size), strict=True)
    ]


def one_object(box=(0.3, 0.4, 0.6, 0.9), label=1):
    return Objects(torch.tensor([box]), torch.tensor([label]))


# --- decoding ---------------------------------------------------------------------------------------------------------


def test_nothing_said_at_row_1_column_2_is_the_anchor_in_the_middle_of_that_cell():
    found = decode_boxes(torch.zeros(1, 4, 3, 4), torch.tensor([[16.0, 24.0]]), 8)
    assert found[0, :, 1, 2].tolist() == [12, 0, 28, 24]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_decoding_equals_a_loop_over_cells(seed):
    raw = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    anchors = torch.tensor([[16.0, 24.0], [40.0, 8.0]], dtype=torch.float64)
    found = decode_boxes(raw, anchors, 8)
    for a in range(2):
        for i in range(3):
            for j in range(4):
                x, y, w, h = raw[a, :4, i, j].tolist()
                x, y = (1 / (1 + math.exp(-x)) + j) * 8, (1 / (1 + math.exp(-y)) + i) * 8
                w, h = anchors[a, 0].item() * math.exp(w), anchors[a, 1].item() * math.exp(h)
                expected = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                assert found[a, :, i, j].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("seed", [0, 1])
def test_encoding_is_the_inverse_of_decoding(seed):
    raw = 2 * torch.randn(2, 4, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    anchors = torch.tensor([[16.0, 24.0], [40.0, 8.0]], dtype=torch.float64)
    boxes = decode_boxes(raw, anchors, 8)
    a, i, j = (raw[:, 0] < 99).nonzero(as_tuple=True)
    back = encode_boxes(boxes[a, :, i, j], torch.stack((i, j), 1), anchors[a], 8)
    assert torch.allclose(back, raw[a, :, i, j], atol=1e-4)


def test_encoding_on_a_border_is_finite_and_elsewhere_wrong_cells_are_refused():
    box = torch.tensor([[0.0, 4.0, 16.0, 12.0]])  # centre (8, 8): a corner of four cells of 8 pixels
    anchors = torch.tensor([[16.0, 24.0]])
    for place in ([1, 1], [0, 0], [0, 1]):
        raw = encode_boxes(box, torch.tensor([place]), anchors, 8)
        assert raw.isfinite().all()
        grid = torch.zeros(1, 4, 2, 2)
        grid[0, :, place[0], place[1]] = raw[0]
        assert torch.allclose(decode_boxes(grid, anchors, 8)[0, :, place[0], place[1]], box[0], atol=1e-3)
    with pytest.raises(ValueError, match="place must be row and column"):
        encode_boxes(box, torch.tensor([[2, 1]]), anchors, 8)
    with pytest.raises(ValueError, match="boxes must have an area"):
        encode_boxes(torch.tensor([[4.0, 4.0, 4.0, 8.0]]), torch.tensor([[0, 0]]), anchors, 8)


def test_giant_raw_numbers_decode_to_finite_boxes_at_most_a_thousand_anchors_wide():
    found = decode_boxes(torch.full((1, 4, 1, 1), 1e4), torch.tensor([[16.0, 24.0]]), 8)
    assert (found[0, 2, 0, 0] - found[0, 0, 0, 0]).item() == pytest.approx(16_000)
    assert decode_boxes(torch.full((1, 4, 1, 1), -1e4), torch.tensor([[16.0, 24.0]]), 8).isfinite().all()


def test_all_heads_together_keep_place_score_and_class():
    heads = raw_heads(2)
    found = decode(heads, LAYOUT)
    assert found.boxes.shape == (2, 3 * (9 + 36 + 144), 4)
    assert found.scores.shape == (2, 567, 3)
    # second head, anchor 1, row 2, column 3 of the second picture
    at = 3 * 9 + 1 * 36 + 2 * 6 + 3
    raw = heads[1].unflatten(1, (3, 8))[1, 1, :, 2, 3]
    expected = decode_boxes(heads[1].unflatten(1, (3, 8))[1], LAYOUT.anchors[1], 16)[1, :, 2, 3]
    assert torch.allclose(found.boxes[1, at], expected)
    assert torch.allclose(found.scores[1, at], raw[4].sigmoid() * raw[5:].sigmoid())
    split = [raw.unflatten(1, (3, 8)) for raw in heads]
    assert torch.equal(decode(split, LAYOUT).boxes, found.boxes)


def test_a_head_that_encodes_an_object_is_detected_as_it():
    objects = [one_object(), Objects.none(), one_object((0.0, 0.0, 0.5, 0.3), 2)]
    heads = [torch.full_like(raw, -12.0) for raw in raw_heads(3)]
    for raw, anchors, stride, answers in zip(
        heads, LAYOUT.anchors, LAYOUT.strides, assign_targets(objects, LAYOUT, SIZE), strict=True
    ):
        said = raw.unflatten(1, (3, 8))
        place = torch.stack((answers.row, answers.column), 1)
        wanted = encode_boxes(answers.boxes, place, anchors[answers.anchor], stride)
        kinds = torch.where(torch.nn.functional.one_hot(answers.labels, 3) > 0, 12.0, -12.0)
        said[answers.picture, answers.anchor, :, answers.row, answers.column] = torch.cat(
            (wanted, torch.full((len(place), 1), 12.0), kinds), 1
        )
    found = detect(heads, LAYOUT, score_threshold=0.5)
    assert [len(one.labels) for one in found] == [1, 0, 1]
    for one, true in zip(found, objects, strict=True):
        assert torch.equal(one.labels, true.labels)
        assert torch.allclose(one.boxes, true.boxes, atol=1e-5)
    assert found[0].scores.min() > 0.99


# --- assignment -------------------------------------------------------------------------------------------------------


def test_cell_is_that_of_the_centre_and_the_far_edge_belongs_to_the_last():
    boxes = to_corners(torch.tensor([[0.5, 0.1, 0.2, 0.2], [0.99, 0.5, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]))
    assert cells(boxes, (2, 4)).tolist() == [[0, 2], [1, 3], [1, 3]]
    seeds = uniform(50, 2)
    centred = torch.cat((seeds, seeds), 1)
    assert torch.equal(cells(centred, (13, 13)), (seeds.flip(1) * 13).long())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_paper_gives_each_object_the_one_anchor_of_all_heads_that_fits_best(seed):
    objects = [drawn_objects(4, seed), Objects.none(), drawn_objects(7, seed + 10)]
    assigned = assign_targets(objects, LAYOUT, SIZE)
    every = torch.cat([one.objects for one in assigned])
    assert sorted(every.tolist()) == list(range(11))
    boxes = torch.cat([one.boxes for one in objects])
    overlap = shape_iou((boxes[:, 2:] - boxes[:, :2]) * SIZE, torch.cat(LAYOUT.anchors))
    for head, one in enumerate(assigned):
        assert torch.equal(overlap[one.objects].argmax(1), one.anchor + 3 * head)
        assert torch.allclose(one.boxes, boxes[one.objects] * SIZE)
        assert torch.equal(torch.stack((one.row, one.column), 1), cells(boxes[one.objects], LAYOUT.grids(SIZE)[head]))
        assert one.picture.tolist() == [0 if i < 4 else 2 for i in one.objects.tolist()]
        assert torch.equal(one.labels, torch.cat([o.labels for o in objects])[one.objects])


def test_public_code_gives_an_object_every_anchor_above_the_threshold_strictly():
    objects = [drawn_objects(20, 3)]
    wh = (objects[0].boxes[:, 2:] - objects[0].boxes[:, :2]) * SIZE
    overlap = shape_iou(wh, torch.cat(LAYOUT.anchors))
    assigned = assign_targets(objects, LAYOUT, SIZE, rule="overlap")
    claimed = torch.zeros(20, 9, dtype=torch.bool)
    for head, one in enumerate(assigned):
        claimed[one.objects, one.anchor + 3 * head] = True
    assert torch.equal(claimed, overlap > 0.2)
    assert claimed.sum() > 2 * 20
    fifth = overlap[0].sort().values[4].item()
    for threshold, count in ((fifth - 1e-4, 5), (fifth + 1e-4, 4)):
        first = [Objects(objects[0].boxes[:1], objects[0].labels[:1])]
        above = assign_targets(first, LAYOUT, SIZE, rule="overlap", threshold=threshold)
        assert sum(len(one.labels) for one in above) == count


def test_wide_pictures_have_more_columns_than_rows():
    objects = [one_object((0.8, 0.1, 1.0, 0.3))]
    assigned = assign_targets(objects, LAYOUT, (96, 192))
    one = next(one for one in assigned if len(one.labels))
    assert one.boxes.tolist()[0] == pytest.approx([0.8 * 192, 0.1 * 96, 192, 0.3 * 96])
    stride = LAYOUT.strides[assigned.index(one)]
    assert (one.row.item(), one.column.item()) == (int(0.2 * 96 // stride), int(0.9 * 192 // stride))


@pytest.mark.parametrize("rule", ["best", "overlap"])
def test_batch_without_any_object_assigns_nothing(rule):
    for one in assign_targets([Objects.none(), Objects.none()], LAYOUT, SIZE, rule=rule):
        assert one.boxes.shape == (0, 4)
        assert len(one.labels) == len(one.row) == 0


def test_impossible_objects_are_refused_with_picture_and_box():
    good = drawn_objects(2, 0)
    for box, message in [
        ([0.6, 0.4, 0.3, 0.9], "corners swapped.*order_corners"),
        ([0.5, 0.5, 1.2, 0.9], "beyond the picture.*clip_boxes"),
        ([-0.1, 0.5, 0.2, 0.9], "beyond the picture"),
        ([10.0, 20.0, 60.0, 80.0], "are these pixels"),
        ([0.5, 0.5, 0.5, 0.9], "no area"),
        ([0.5, math.nan, 0.6, 0.9], "not finite"),
    ]:
        bad = Objects(torch.cat((good.boxes, torch.tensor([box]))), torch.tensor([0, 1, 2]))
        with pytest.raises(ValueError, match=rf"objects\[1\]\.boxes\[2\].*{message}"):
            assign_targets([good, bad], LAYOUT, SIZE)
    for bad, message in [
        (good._replace(labels=torch.tensor([0, 3])), r"objects\[0\].labels must lie in 0 to 2, got 0 to 3"),
        (good._replace(labels=torch.tensor([0])), r"labels must be \[2\] of int64"),
        (good._replace(labels=torch.tensor([0.0, 1.0])), r"int64, one for each box, got torch.float32"),
        (good._replace(boxes=torch.zeros(0)), r"no box: \[0, 4\]"),
        (good._replace(difficult=torch.tensor([1, 0])), r"difficult must be \[2\] of bool"),
    ]:
        with pytest.raises(ValueError, match=message):
            assign_targets([bad], LAYOUT, SIZE)
    with pytest.raises(ValueError, match="rule must be one of 'best', 'overlap', got 'yolov5'"):
        assign_targets([good], LAYOUT, SIZE, rule="yolov5")
    with pytest.raises(ValueError, match="multiple of every stride"):
        assign_targets([good], LAYOUT, 100)
    with pytest.raises(ValueError, match="one record for each picture"):
        assign_targets([], LAYOUT, SIZE)
    slightly_out = Objects(torch.tensor([[0.5, 0.5, 1.00001, 1.0]]), torch.tensor([0]))  # rounding, cut off
    assert torch.cat([one.boxes for one in assign_targets([slightly_out], LAYOUT, SIZE)]).max() == SIZE


# --- loss -------------------------------------------------------------------------------------------------------------


def loss_by_hand(heads, objects, layout, options):
    """The three unweighted parts by loops over heads and over answering predictions."""
    size = heads[0].shape[-1] * layout.strides[0]
    box = objectness = classes = 0.0
    assigned = assign_targets(objects, layout, size, rule=options.rule)
    for raw, anchors, stride, answers in zip(heads, layout.anchors, layout.strides, assigned, strict=True):
        said = raw.unflatten(1, (3, 5 + layout.num_classes))
        decoded = decode_boxes(said, anchors, stride)
        target, told = torch.zeros_like(said[:, :, 4]), torch.ones_like(said[:, :, 4])
        if options.ignore_above is not None:
            for b, one in enumerate(objects):
                for true in one.boxes * size:
                    told[b][iou(decoded[b].movedim(1, -1), true) > options.ignore_above] = 0
        here_box = here_classes = 0.0
        for p in range(len(answers.labels)):
            b, a, i, j = (int(index[p]) for index in answers.place)
            found, true = decoded[b, a, :, i, j], answers.boxes[p]
            if options.box == "squared":
                x, y, w, h = to_centre(true).tolist()
                t = said[b, a, :, i, j]
                here_box += (t[0].sigmoid() - (x / stride - j)) ** 2 + (t[1].sigmoid() - (y / stride - i)) ** 2
                here_box += (t[2] - math.log(w / anchors[a, 0])) ** 2 + (t[3] - math.log(h / anchors[a, 1])) ** 2
            else:
                here_box += 1 - {"giou": giou, "ciou": ciou, "diou": diou}[options.box](found, true)
            fit = {"one": 1.0, "iou": iou(found, true).item(), "giou": giou(found, true).item()}[options.object_target]
            target[b, a, i, j] = max(target[b, a, i, j].item(), fit, 0.0)
            told[b, a, i, j] = 1
            kinds = torch.zeros(layout.num_classes)
            kinds[answers.labels[p]] = 1
            here_classes += cross_entropy(said[b, a, 5:, i, j], kinds, reduction="sum")
        here_object = cross_entropy(said[:, :, 4], target, told, reduction="sum")
        if options.reduction == "per_head":
            count = max(len(answers.labels), 1)
            here_box, here_classes = here_box / count, here_classes / count / layout.num_classes
            here_object = here_object / told.sum()
        box, objectness, classes = box + here_box, objectness + here_object, classes + here_classes
    answering = sum(len(one.labels) for one in assigned)
    share = {"per_head": 1, "per_object": max(answering, 1), "per_picture": len(objects)}[options.reduction]
    return [float(part) / share for part in (box, objectness, classes)]


@pytest.mark.parametrize("reduction", ["per_head", "per_object", "per_picture"])
@pytest.mark.parametrize(
    ("rule", "box", "object_target", "ignore_above"),
    [
        ("best", "squared", "one", 0.5),
        ("overlap", "giou", "giou", None),
        ("overlap", "ciou", "iou", 0.3),
        ("best", "diou", "iou", None),
    ],
)
def test_loss_equals_its_definition_written_as_loops(rule, box, object_target, ignore_above, reduction):
    options = LossOptions(rule, box, object_target, ignore_above, reduction, PLAIN)
    heads = raw_heads(3, seed=4)
    objects = [drawn_objects(3, 0), Objects.none(), drawn_objects(5, 1)]
    found = yolo_loss(heads, objects, LAYOUT, options)
    assert [part.item() for part in found[1:4]] == pytest.approx(
        loss_by_hand(heads, objects, LAYOUT, options), rel=1e-4
    )
    weighted = yolo_loss(heads, objects, LAYOUT, options._replace(weights=LossWeights(2.0, 3.0, 0.5)))
    for part, plain, weight in zip(weighted[1:4], found[1:4], (2.0, 3.0, 0.5), strict=True):
        assert part.item() == pytest.approx(plain.item() * weight, rel=1e-5)
    assert weighted.total.item() == pytest.approx(sum(part.item() for part in weighted[1:4]), rel=1e-5)


def test_loss_on_one_object_and_a_silent_head_by_hand():
    """All raw numbers 0: every σ is ½, so each cross-entropy is log 2, and boxes are anchors."""
    heads = [torch.zeros_like(raw) for raw in raw_heads(1)]
    found = yolo_loss(heads, [one_object()], LAYOUT, LossOptions("best", "squared", "one", None, "per_picture", PLAIN))
    assert found.objectness.item() == pytest.approx(567 * math.log(2), rel=1e-5)
    assert found.classes.item() == pytest.approx(3 * math.log(2), rel=1e-5)
    assert found.answering == 1
    # 28.8 x 48 pixels: nearest anchor (36, 45.7) of the first head, whose cell of 32 holds (43.2, 62.4) at row 1.
    anchor = LAYOUT.anchors[0][1].tolist()
    expected = (0.5 - 0.35) ** 2 + (0.5 - 0.95) ** 2
    expected += math.log(28.8 / anchor[0]) ** 2 + math.log(48 / anchor[1]) ** 2
    assert found.box.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("options", [LossOptions(), YOLOV3_PAPER, LossOptions(reduction="per_object", box="ciou")])
def test_pictures_without_objects_cost_only_objectness_and_give_finite_gradients(options):
    heads = [raw.requires_grad_() for raw in raw_heads(2)]
    found = yolo_loss(heads, [Objects.none(), Objects.none()], LAYOUT, options)
    found.total.backward()
    assert found.box.item() == found.classes.item() == 0
    assert found.answering == 0
    assert found.objectness.item() > 0
    for raw in heads:
        assert raw.grad.isfinite().all()
        assert raw.grad.unflatten(1, (3, 8))[:, :, 4].abs().min() > 0
        assert raw.grad.unflatten(1, (3, 8))[:, :, 5:].abs().max() == 0


@pytest.mark.parametrize("options", [LossOptions(), YOLOV3_PAPER, LossOptions(box="ciou"), LossOptions(box="diou")])
@pytest.mark.parametrize("size", [0.0, 60.0, -60.0, 1e4, -1e4])
def test_loss_and_gradients_stay_finite_for_absurd_sizes(options, size):
    heads = [torch.full_like(raw, size).requires_grad_() for raw in raw_heads(1)]
    found = yolo_loss(heads, [drawn_objects(3, 0)], LAYOUT, options)
    found.total.backward()
    assert found.total.isfinite()
    assert all(raw.grad.isfinite().all() for raw in heads)


@pytest.mark.slow
@pytest.mark.parametrize("options", [YOLOV3_PAPER, LossOptions(reduction="per_object", box="ciou")])
def test_descent_on_the_loss_finds_the_objects(options):
    objects = [one_object(), one_object((0.05, 0.1, 0.3, 0.3), 2)]
    heads = [(0.01 * raw - 1).requires_grad_() for raw in raw_heads(2)]
    descent = torch.optim.Adam(heads, lr=0.3)
    for _ in range(50):
        descent.zero_grad()
        yolo_loss(heads, objects, LAYOUT, options).total.backward()
        descent.step()
    for found, true in zip(detect(heads, LAYOUT, score_threshold=0.3), objects, strict=True):
        assert found.labels.tolist() == true.labels.tolist()
        assert iou(found.boxes, true.boxes).item() > 0.8


def test_two_objects_that_ask_for_one_prediction_both_teach_and_the_better_fit_is_its_target():
    boxes = torch.tensor([[0.3, 0.3, 0.6, 0.6], [0.31, 0.32, 0.62, 0.6]])
    objects = [Objects(boxes, torch.tensor([0, 2]))]
    heads = raw_heads(1, seed=2)
    options = LossOptions("best", "giou", "iou", None, "per_picture", PLAIN)
    found = yolo_loss(heads, objects, LAYOUT, options)
    assert found.answering == 2
    assert [part.item() for part in found[1:4]] == pytest.approx(
        loss_by_hand(heads, objects, LAYOUT, options), rel=1e-4
    )
    turned = [Objects(boxes.flip(0), torch.tensor([2, 0]))]
    assert yolo_loss(heads, turned, LAYOUT, options).total.item() == pytest.approx(found.total.item())


def test_no_gradient_goes_through_the_objectness_target():
    heads = [raw.requires_grad_() for raw in raw_heads(1, seed=1)]
    options = LossOptions(weights=LossWeights(0.0, 1.0, 0.0))
    yolo_loss(heads, [drawn_objects(4, 0)], LAYOUT, options).total.backward()
    for raw in heads:
        assert raw.grad.unflatten(1, (3, 8))[:, :, :4].abs().max() == 0


def test_the_public_code_squares_two_parts_by_accident():
    """Its ``lobj *= lobj * h`` is h · loss²: another number, and a gradient that dies as the loss gets small."""
    options = public_code_options(416, 20)
    assert options.weights == pytest.approx((3.54, 64.3 * 1.3, 37.4 / 4))
    heads = [raw.requires_grad_() for raw in raw_heads(2, seed=3)]
    objects = [drawn_objects(3, 0), drawn_objects(4, 1)]
    meant = yolo_loss(heads, objects, LAYOUT, options)
    plain = yolo_loss(heads, objects, LAYOUT, options._replace(weights=PLAIN))
    squared = options.weights.box * plain.box + sum(
        weight * part**2 for weight, part in zip(options.weights[1:], plain[2:4], strict=True)
    )
    assert abs(squared.item() / meant.total.item() - 1) > 0.2
    slopes = [
        torch.autograd.grad(loss, heads[0], retain_graph=True)[0].unflatten(1, (3, 8))[:, :, 4]
        for loss in (meant.total, squared)
    ]
    factor = slopes[1] / slopes[0]
    assert torch.allclose(factor, 2 * plain.objectness.detach().expand_as(factor), rtol=1e-3)
    quiet = [raw.detach().unflatten(1, (3, 8)).clone() for raw in heads]
    for raw in quiet:
        raw[:, :, 4] = -7.0
    silent = yolo_loss(quiet, [Objects.none()] * 2, LAYOUT, options._replace(weights=PLAIN)).objectness.item()
    assert 2 * silent < 0.01  # a hundredth of the push that was meant


def test_wrong_heads_and_options_are_named():
    heads, objects = raw_heads(2), [one_object(), one_object()]
    for bad, message in [
        (lambda: yolo_loss(heads[:2], objects, LAYOUT), "heads must be 3 outputs"),
        (lambda: yolo_loss([heads[0][:, :20], *heads[1:]], objects, LAYOUT), r"heads\[0\] must be \[B, 24, h, w\]"),
        (lambda: yolo_loss([heads[0], heads[2], heads[1]], objects, LAYOUT), "one batch and one picture size"),
        (lambda: yolo_loss([heads[0][:1], *heads[1:]], objects, LAYOUT), "one batch and one picture size"),
        (lambda: yolo_loss(heads, objects[:1], LAYOUT), "one record for each of 2 pictures, got 1"),
        (lambda: yolo_loss(heads, objects, LAYOUT, LossOptions(box="l1")), "box must be one of 'giou'"),
        (lambda: yolo_loss(heads, objects, LAYOUT, LossOptions(reduction="sum")), "reduction must be one of"),
        (lambda: yolo_loss(heads, objects, LAYOUT, LossOptions(object_target="p")), "object_target must be one"),
        (lambda: yolo_loss(heads, objects, LAYOUT, LossOptions(ignore_above=2.0)), "ignore_above must lie in"),
        (lambda: yolo_loss(heads, objects, LAYOUT, LossOptions(weights=LossWeights(-1.0))), "weights.box must be"),
        (lambda: detect([raw * torch.nan for raw in heads], LAYOUT), "NaN or infinite"),
        (lambda: decode_boxes(torch.zeros(2, 3, 4, 4), torch.ones(2, 2), 8), "raw must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()
