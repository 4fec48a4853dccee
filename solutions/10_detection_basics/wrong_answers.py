"""Mistakes that learners plausibly make in the exercises of chapter 10, and the hint that each must get."""

from spikelab.grading.wrong_answers import Wrong

VOC = "torch.cat([first - 1, second], 1)"
COCO = "torch.cat([first, first + second], 1)"
SIDES = "(high - low).clamp(min=0)"
AREA = "(box[:, 2:] - box[:, :2]).prod(-1)"
IOU = """
def read_boxes(numbers, file):
    first, second = numbers[:, :2], numbers[:, 2:]
    if file == "voc":
        return {voc}
    return {coco}


def box_iou(a, b):{prepared}
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = {sides}.prod(-1)
    area_a, area_b = ({area} for box in (a, b))
    total = area_a[:, None] + area_b[None]
    return {ratio}
"""

OVERLAPS = "shared / union"
ANCHOR = """
def assign_anchor(wh, anchors):
    shared = torch.minimum(wh[:, None], anchors).prod(-1)
    union = wh.prod(-1)[:, None] + anchors.prod(-1) - shared
    return {answer}
"""

DECODE = """
def decode(raw, anchors, stride):
    rows, columns = raw.shape[-2:]
    i, j = torch.arange(rows)[:, None], torch.arange(columns)
    x = {x}
    y = {y}
    width = {width}
    height = {height}
    return torch.stack([{corners}], 1)
"""

NMS = """
def nms(boxes, scores, labels, iou_threshold):
    overlaps, kept, seen = box_iou(boxes, boxes), [], []
    for i in {order}:
        rivals = [k for k in {among} if {same}]
        seen.append(i)
        if not any(overlaps[i, k] > {threshold} for k in rivals):
            kept.append(i)
    return {answer}
"""

MATCH = """
def match_detections(det, scores, gt, difficult, threshold=0.5):
    hit, found = torch.zeros(len(det), dtype=torch.int64), set()
    {guard}
    overlaps = box_iou(det, gt)
    for place, i in enumerate({order}):
        {look}
        which = which.item()
        if {small}:
            continue
        if difficult[which]:
            hit[{at}] = {difficult}
        elif which not in found:
            hit[{at}] = 1
            found.add(which)
        else:
            hit[{at}] = {again}
    return hit
"""

AP = """
def average_precision(tp, n_gt, flavour):
    hits = tp.double().cumsum(0){prepared}
    precision = hits / torch.arange(1, len(tp) + 1)
    envelope = {envelope}
    if flavour == "area":
        return ({area}).item()
    total = 0.0
    for k in {points}:
        reached = {reached}
        if reached.any():
            total += {taken}.item()
    return total / {number}
"""


def _iou(voc=VOC, coco=COCO, sides=SIDES, area=AREA, ratio="shared / (total - shared)", prepared=""):
    return IOU.format(voc=voc, coco=coco, sides=sides, area=area, ratio=ratio, prepared=prepared)


def _decode(
    x="(raw[:, 0].sigmoid() + j) * stride",
    y="(raw[:, 1].sigmoid() + i) * stride",
    width="anchors[:, :1, None] * raw[:, 2].exp()",
    height="anchors[:, 1:, None] * raw[:, 3].exp()",
    corners="x - width / 2, y - height / 2, x + width / 2, y + height / 2",
):
    return DECODE.format(x=x, y=y, width=width, height=height, corners=corners)


def _nms(
    order="scores.argsort(descending=True).tolist()",
    among="kept",
    same="labels[k] == labels[i]",
    threshold="iou_threshold",
    answer="kept",
):
    return NMS.format(order=order, among=among, same=same, threshold=threshold, answer=answer)


def _match(
    guard="if not len(gt):\n        return hit",
    order="scores.argsort(descending=True).tolist()",
    look="shared, which = overlaps[i].max(0)",
    small="shared <= threshold",
    at="i",
    difficult="-1",
    again="0",
):
    parts = {"guard": guard, "order": order, "look": look, "small": small}
    return MATCH.format(**parts, at=at, difficult=difficult, again=again)


def _average(
    prepared="",
    envelope="precision.flip(0).cummax(0).values.flip(0)",
    area="envelope[tp > 0].sum() / n_gt",
    points="range(11)",
    reached="10 * hits >= k * n_gt",
    taken="precision[reached].max()",
    number="11",
):
    parts = {"prepared": prepared, "envelope": envelope, "area": area, "points": points}
    return AP.format(**parts, reached=reached, taken=taken, number=number)


WRONG = {
    "box-iou": [
        Wrong("no clamp", _iou(sides="(high - low)"), "disjoint"),
        Wrong(
            "clamped after multiplying",
            _iou(sides="(high - low)", ratio="shared.clamp(min=0) / (total - shared)"),
            "disjoint",
        ),
        Wrong("sum of the areas below", _iou(ratio="shared / total"), "counted twice"),
        Wrong("Dice", _iou(ratio="2 * shared / total"), "divide by the union"),
        Wrong(
            "corners read as x, y, width, height",
            _iou(prepared="\n    a, b = (torch.cat([box[:, :2], box[:, :2] + box[:, 2:]], 1) for box in (a, b))"),
            "corners",
        ),
        Wrong(
            "+ 1 in every width",
            _iou(sides="(high - low + 1).clamp(min=0)", area="(box[:, 2:] - box[:, :2] + 1).prod(-1)"),
            "half-open",
        ),
        Wrong("VOC's 1 not subtracted", _iou(voc="numbers"), "VOC counts from 1"),
        Wrong("1 subtracted on both ends", _iou(voc="numbers - 1"), "last pixel belongs"),
        Wrong("COCO's numbers taken for corners", _iou(coco="numbers"), "width and height, not corners"),
        Wrong("1 subtracted from COCO, too", _iou(coco=f"{COCO} - 1"), "COCO counts from 0"),
        Wrong(
            "height forgotten",
            _iou(sides="(high - low).clamp(min=0)[..., :1]", area="(box[:, 2:] - box[:, :2])[:, :1].prod(-1)"),
            "share one cell",
        ),
    ],
    "assign-anchor": [
        Wrong("Euclid", ANCHOR.format(answer="torch.cdist(wh, anchors).argmin(1)"), "shape overlap"),
        Wrong(
            "nearest area",
            ANCHOR.format(answer="(wh.prod(-1)[:, None] - anchors.prod(-1)).abs().argmin(1)"),
            "same area",
        ),
        Wrong(
            "nearest aspect ratio",
            ANCHOR.format(answer="((wh[:, :1] / wh[:, 1:]) - anchors[:, 0] / anchors[:, 1]).abs().argmin(1)"),
            "size counts too",
        ),
        Wrong("wrong axis", ANCHOR.format(answer="(shared / union).argmax(0)"), "one anchor per box"),
        Wrong("the overlap itself", ANCHOR.format(answer="(shared / union).amax(1)"), "indices"),
        Wrong("intersection without union", ANCHOR.format(answer="shared.argmax(1)"), "divide by the union"),
    ],
    "decode": [
        Wrong(
            "row and column swapped",
            _decode(x="(raw[:, 0].sigmoid() + i) * stride", y="(raw[:, 1].sigmoid() + j) * stride"),
            "x is the column",
        ),
        Wrong("no sigmoid", _decode(x="(raw[:, 0] + j) * stride", y="(raw[:, 1] + i) * stride"), "σ(0) = .5"),
        Wrong("centre returned as corner", _decode(corners="x, y, x + width, y + height"), "half the size"),
        Wrong("centre and size returned", _decode(corners="x, y, width, height"), "must become corners"),
        Wrong(
            "stride on the anchors",
            _decode(
                width="anchors[:, :1, None] * raw[:, 2].exp() * stride",
                height="anchors[:, 1:, None] * raw[:, 3].exp() * stride",
            ),
            "already pixels",
        ),
        Wrong(
            "no exp",
            _decode(width="anchors[:, :1, None] * raw[:, 2]", height="anchors[:, 1:, None] * raw[:, 3]"),
            "exp(t)",
        ),
        Wrong("no stride", _decode(x="raw[:, 0].sigmoid() + j", y="raw[:, 1].sigmoid() + i"), "in pixels"),
        Wrong(
            "stride on the index only",
            _decode(x="raw[:, 0].sigmoid() + j * stride", y="raw[:, 1].sigmoid() + i * stride"),
            "whole bracket",
        ),
        Wrong(
            "height and width of the anchor exchanged",
            _decode(width="anchors[:, 1:, None] * raw[:, 2].exp()", height="anchors[:, :1, None] * raw[:, 3].exp()"),
            "(width, height)",
        ),
        Wrong(
            "sigmoid on the size",
            _decode(
                width="2 * anchors[:, :1, None] * raw[:, 2].sigmoid()",
                height="2 * anchors[:, 1:, None] * raw[:, 3].sigmoid()",
            ),
            "exp for the size",
        ),
        Wrong(
            "first anchor for all",
            _decode(width="anchors[0, 0] * raw[:, 2].exp()", height="anchors[0, 1] * raw[:, 3].exp()"),
            "each anchor its own",
        ),
    ],
    "nms": [
        Wrong("classes compete", _nms(same="True"), "different classes"),
        Wrong("in file order", _nms(order="range(len(boxes))"), "the score decides"),
        Wrong("suppressed boxes suppress", _nms(among="seen"), "only kept boxes"),
        Wrong("worst first", _nms(order="scores.argsort().tolist()"), "best first"),
        Wrong("sorted by index", _nms(answer="sorted(kept)"), "the score decides"),
        Wrong("threshold written in", _nms(threshold="0.5"), "use iou_threshold"),
        Wrong("nothing suppressed", _nms(among="[]"), "B goes"),
        Wrong(
            "compared with the last kept box only",
            _nms(same="k == kept[-1] and labels[k] == labels[i]"),
            "a better kept one",
        ),
        Wrong(
            "class by class, not ranked together",
            _nms(answer="sorted(kept, key=lambda k: (labels[k].item(), -scores[k].item()))"),
            "different classes",
        ),
    ],
    "match": [
        Wrong("duplicates pay", _match(again="1"), "already found"),
        Wrong("duplicates do not count", _match(again="-1"), "0, not −1"),
        Wrong(
            "COCO's rule",
            _match(
                look="free = torch.tensor([g not in found for g in range(len(gt))])\n"
                "        shared, which = (overlaps[i] * free).max(0)"
            ),
            "best object only",
        ),
        Wrong("difficult is wrong", _match(difficult="0"), "neither way"),
        Wrong("difficult is right", _match(difficult="1"), "neither way"),
        Wrong("in file order", _match(order="range(len(det))"), "highest score first"),
        Wrong("verdicts in order of score", _match(at="place"), "in the order given"),
        Wrong("at least instead of above", _match(small="shared < threshold"), "exactly .5"),
        Wrong("threshold written in", _match(small="shared <= 0.5"), "threshold 0.3"),
        Wrong("no thought of empty pictures", _match(guard="pass"), "raised"),
    ],
    "average-precision": [
        Wrong("no envelope", _average(envelope="precision"), "envelope"),
        Wrong("envelope from the left", _average(envelope="precision.cummax(0).values"), "from the right"),
        Wrong("recall over what was found", _average(prepared="\n    n_gt = int(tp.sum())"), "n_gt"),
        Wrong("mean precision at hits", _average(area="precision[tp > 0].mean()"), "missed objects"),
        Wrong("precision at the first point", _average(taken="precision[reached][0]"), "maximum"),
        Wrong("divided by ten", _average(number="10"), "eleven"),
        Wrong("recall 0 forgotten", _average(points="range(1, 11)"), "0 is one of them"),
        Wrong(
            "always the area",
            _average(points="()", number="11").replace('if flavour == "area"', "if True"),
            "look at flavour",
        ),
        Wrong("in per cent", _average(area="100 * envelope[tp > 0].sum() / n_gt"), "not per cent"),
        Wrong("recalls with rounding", _average(reached="hits / n_gt >= 0.1 * k"), "compare whole numbers"),
    ],
}
