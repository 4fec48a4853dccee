"""Plausible wrong answers to the tasks of chapter 09, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

TRIMAP = """def box_from_trimap(mask):
    inside = {inside}
    {guard}
    height, width = mask.shape
    columns, rows = inside.any(0).nonzero(), inside.any(1).nonzero()
    edges = {edges}
    return torch.cat(edges).double()
"""
INSIDE = "(mask == 1) | (mask == 3)"
GUARD = 'if not inside.any():\n        raise ValueError("no pet in this mask")'
EDGES = "[columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]"

IOU = """def iou(a, b, inclusive=False):
    one = {one}
    shared = {shared}
    areas = {areas}
    return {ratio}
"""
EDGES_SHARED = "torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])"
SHARED = f"({EDGES_SHARED} + one).clamp(min=0).prod(1)"
AREAS = "(a[:, 2:] - a[:, :2] + one).prod(1) + (b[:, 2:] - b[:, :2] + one).prod(1)"
RATIO = "shared / (areas - shared)"

CONSTANT = """def constant_box(train):
    {lines}
"""

WORKED_BOX = [0.27, 0.156, 0.745, 0.621]  # good on the boxes of the visible test

GAIN = """def paired_gain(iou_model, iou_base, seed, num=1000):
    generator = torch.Generator().manual_seed(seed)
    difference, n = iou_model - iou_base, len(iou_model)
    gain = difference.mean().item()
    ends = torch.tensor([0.025, 0.975], dtype=difference.dtype)
    {interval}
    return gain, low, high
"""
DRAW = "pictures = torch.randint(0, n, (num, n), generator=generator)"
QUANTILES = "low, high = means.quantile(ends).tolist()"

FLIP = """def flip_with_box(image, box):
    x0, y0, x1, y1 = box.unbind()
    return {image}, {box}
"""
IMAGE = "image.flip(-1)"
BOX = "torch.stack([1 - x1, y0, 1 - x0, y1])"

GIOU = """def giou_loss(pred, target):
    shared = torch.minimum(pred[:, 2:], target[:, 2:]) - torch.maximum(pred[:, :2], target[:, :2])
    around = torch.maximum(pred[:, 2:], target[:, 2:]) - torch.minimum(pred[:, :2], target[:, :2])
    shared, around = shared.clamp(min=0).prod(1), around.prod(1)
    areas = (pred[:, 2:] - pred[:, :2]).prod(1) + (target[:, 2:] - target[:, :2]).prod(1)
    union = areas - shared
    return {loss}
"""


def _trimap(inside: str = INSIDE, guard: str = GUARD, edges: str = EDGES) -> str:
    return TRIMAP.format(inside=inside, guard=guard, edges=edges)


def _iou(one: str = "1 if inclusive else 0", shared: str = SHARED, areas: str = AREAS, ratio: str = RATIO) -> str:
    return IOU.format(one=one, shared=shared, areas=areas, ratio=ratio)


def _constant(*lines: str) -> str:
    return CONSTANT.format(lines="\n    ".join(lines))


def _gain(*lines: str) -> str:
    return GAIN.format(interval="\n    ".join(lines))


def _flip(image: str = IMAGE, box: str = BOX) -> str:
    return FLIP.format(image=image, box=box)


def _giou(loss: str) -> str:
    return GIOU.format(loss=loss)


WRONG = {
    "box-from-trimap": [
        Wrong("class 1 only", _trimap(inside="mask == 1"), "border"),
        Wrong("anything but 0", _trimap(inside="mask != 0"), "background is 2"),
        Wrong("last pixel outside", _trimap(edges=EDGES.replace(" + 1", "")), "half-open"),
        Wrong(
            "rows and columns exchanged",
            _trimap(edges="[rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width]"),
            "x is the column",
        ),
        Wrong(
            "divided by the wrong side",
            _trimap().replace("height, width = mask.shape", "width, height = mask.shape"),
            "x is a share of the width",
        ),
        Wrong("in pixels", _trimap(edges="[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]"), "not in pixels"),
        Wrong("float32", _trimap().replace(".double()", ".float()"), "end in .double()"),
        Wrong(
            "empty mask gives the whole picture",
            _trimap(guard="if not inside.any():\n        return torch.tensor([0.0, 0, 1, 1])"),
            "must raise a ValueError",
        ),
        Wrong("empty mask not thought of", _trimap(guard=""), "must raise a ValueError"),
    ],
    "iou-paired": [
        Wrong("+ 1 only in the intersection", _iou(areas=AREAS.replace(" + one", "")), "every width"),
        Wrong("+ 1 only in the areas", _iou(shared=SHARED.replace(" + one", "")), "of the intersection too"),
        Wrong("Dice", _iou(ratio="2 * shared / areas"), "not the sum"),
        Wrong("shared area counted twice", _iou(ratio="shared / areas"), "counts the shared area once"),
        Wrong("no clamp", _iou(shared=SHARED.replace(".clamp(min=0)", "")), "far apart"),
        Wrong("flag ignored", _iou(one="0"), "inclusive=True changes nothing"),
        Wrong("always + 1", _iou(one="1"), "without `inclusive`"),
        Wrong(
            "clamped before the + 1",
            _iou(shared=f"(({EDGES_SHARED}).clamp(min=0) + one).prod(1)"),
            "add the 1 first, then clamp",
        ),
        Wrong(
            "+ 1 in the widths, not in the heights",
            _iou(one="torch.tensor([1.0, 0.0]) if inclusive else 0"),
            "every width and every height",
        ),
        Wrong(
            "every box with every box",
            _iou()
            .replace("def iou(a, b, inclusive=False):", "def iou(a, b, inclusive=False):\n    n = len(a)")
            .replace("    one =", "    a, b = a.repeat_interleave(n, 0), b.repeat(n, 1)\n    one ="),
            "row by row",
        ),
    ],
    "constant-box": [
        Wrong("mean box", _constant("return train.mean(0)"), "start from the median"),
        Wrong("median box", _constant("return train.median(0).values"), "IoU is not L1"),
        Wrong("whole picture", _constant("return torch.tensor([0.0, 0, 1, 1])"), "area outside costs too"),
        Wrong(
            "box around all boxes",
            _constant("return torch.cat([train[:, :2].amin(0), train[:, 2:].amax(0)])"),
            "area outside costs too",
        ),
        Wrong(
            "median centre, mean size",
            _constant(
                "centre = ((train[:, :2] + train[:, 2:]) / 2).median(0).values",
                "half = (train[:, 2:] - train[:, :2]).mean(0) / 2",
                "return torch.cat([centre - half, centre + half])",
            ),
            "search",
        ),
        Wrong(
            "one small step only",
            _constant(
                "box = train.median(0).values",
                "for side in range(4):",
                "    for move in (-0.005, 0.005):",
                "        trial = box.clone()",
                "        trial[side] += move",
                "        better = iou(train, trial.expand_as(train)).mean() > iou(train, box.expand_as(train)).mean()",
                "        box = trial if better else box",
                "return box",
            ),
            "keep a move",
        ),
        Wrong(
            "answer of the visible test written in",
            _constant(f"return torch.tensor({WORKED_BOX})"),
            "made from `train`",
        ),
    ],
    "paired-gain": [
        Wrong(
            "unpaired",
            _gain(
                DRAW,
                "others = torch.randint(0, n, (num, n), generator=generator)",
                "means = iou_model[pictures].mean(1) - iou_base[others].mean(1)",
                QUANTILES,
            ),
            "the same pictures for both",
        ),
        Wrong(
            "standard deviation for standard error",
            _gain(
                "spread = 1.96 * difference.std().item()",
                "low, high = gain - spread, gain + spread",
            ),
            "the error of a mean",
        ),
        Wrong("quantiles of the differences", _gain("low, high = difference.quantile(ends).tolist()"), "of means"),
        Wrong(
            "without replacement",
            _gain(
                "means = torch.stack([difference[torch.randperm(n, generator=generator)].mean() for _ in range(num)])",
                QUANTILES,
            ),
            "with replacement",
        ),
        Wrong(
            "baseline minus model",
            _gain(DRAW, "means, gain = -difference[pictures].mean(1), -gain", QUANTILES),
            "model minus baseline",
        ),
        Wrong(
            "one standard error",
            _gain("error = difference.std().item() / n**0.5", "low, high = gain - error, gain + error"),
            "2.5 % and 97.5 %",
        ),
        Wrong(
            "global random state",
            _gain(
                "torch.manual_seed(seed)",
                "pictures = torch.randint(0, n, (num, n))",
                "means = difference[pictures].mean(1)",
                QUANTILES,
            ),
            "a generator of your own",
        ),
        Wrong(
            "formula for the bootstrap",
            _gain("error = difference.std().item() / n**0.5", "low, high = gain - 1.96 * error, gain + 1.96 * error"),
            "another seed",
        ),
    ],
    "flip-with-box": [
        Wrong("box not moved", _flip(box="box.clone()"), "the box moves with the picture"),
        Wrong("corners not swapped", _flip(box="torch.stack([1 - x0, y0, 1 - x1, y1])"), "swap"),
        Wrong("y mirrored instead of x", _flip(box="torch.stack([x0, 1 - y1, x1, 1 - y0])"), "left-right"),
        Wrong("rows flipped", _flip(image="image.flip(1)"), "last axis"),
        Wrong("picture not flipped", _flip(image="image.clone()"), "has not changed"),
        Wrong(
            "box changed in place",
            _flip(box="box").replace(
                "    return", "    old = box[0].item()\n    box[0], box[2] = 1 - box[2].item(), 1 - old\n    return"
            ),
            "leave the box",
        ),
        Wrong(
            "x0 overwritten before it is used",
            _flip(box="box").replace(
                "    return", "    box = box.clone()\n    box[0] = 1 - box[2]\n    box[2] = 1 - box[0]\n    return"
            ),
            "overwritten",
        ),
    ],
    "giou-loss": [
        Wrong("1 − IoU", _giou("(1 - shared / union).mean()"), "no pull"),
        Wrong("sign of the penalty", _giou("(1 - shared / union - (around - union) / around).mean()"), "farther must"),
        Wrong(
            "smooth L1",
            "def giou_loss(pred, target):\n    return F.smooth_l1_loss(pred, target)\n",
            "overlap, not coordinates",
        ),
        Wrong("GIoU itself", _giou("(shared / union - (around - union) / around).mean()"), "a loss falls"),
        Wrong("penalty over the union", _giou("(1 - shared / union + (around - union) / union).mean()"), "by |C|"),
        Wrong("empty area, not its share", _giou("(1 - shared / union + around - union).mean()"), "by |C|"),
        Wrong("sum over the batch", _giou("(1 - shared / union + (around - union) / around).sum()"), "mean over N"),
        Wrong(
            "two negative sides make an area",
            _giou("(1 - shared / union + (around - union) / around).mean()").replace(".clamp(min=0)", ""),
            "before you multiply",
        ),
        Wrong("not reduced", _giou("1 - shared / union + (around - union) / around"), "take the mean over N"),
        Wrong(
            "cut off from the gradient",
            _giou("(1 - shared / union + (around - union) / around).mean().detach()"),
            "differentiable",
        ),
    ],
}
