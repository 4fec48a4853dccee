"""Plausible wrong answers to the tasks of chapter 14, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

JOINT = """def joint_success(class_pred, class_true, box_pred, box_true, threshold=0.5):
    right, overlap = class_pred == class_true, iou(box_pred, box_true)
    success = {success}
    {lines}
"""
SUCCESS = "right & (overlap > threshold)"
BY_CLASS = (
    "shares = [success[class_true == c].double().mean().item() for c in class_true.unique()]",
    "return sum(shares) / len(shares)",
)

SPLIT = """def split_by_group(groups, fraction, seed):
    {lines}
"""
SORTED = "names = sorted(set(groups))"
SHUFFLED = "random.Random(seed).shuffle(names)"
CHOSEN = "chosen = set(names[: round(fraction * len(names))])"
LOOKED_UP = "return [name in chosen for name in groups]"

ORIGINAL = """def to_original(box, height, width, size):
    scale = {scale}
    left, top = {bars}
    bars = torch.tensor([left, top, left, top], dtype=box.dtype)
    return {answer}
"""
SCALE = "size / max(height, width)"
BARS = "(size - scale * width) / 2, (size - scale * height) / 2"

INTERVAL = """def seed_interval(values):
    n = len(values)
    if n < 2:
        raise ValueError("one run has no interval")
    mean = sum(values) / n
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / {degrees})
    return {answer}
"""

CHECK = """def submission_problems(row):
    joules = {joules} / 1e6
    found = []
    if {twin}:
        found.append("twin")
    if {seeds}:
        found.append("seeds")
    if {steps}:
        found.append("T")
    if {params}:
        found.append("params")
    if {energy}:
        found.append("uJ")
    if {rates}:
        found.append("rates")
    return {answer}
"""
FAULTS = {
    "joules": '(4.6 * row["mac_first"] + 0.9 * row["synops"])',
    "twin": 'row.get("twin") is None',
    "seeds": 'len(set(row["seeds"])) < 3',
    "steps": 'row["T"] > 8',
    "params": 'row["params"] > 3_000_000',
    "energy": 'abs(row["uJ"] - joules) > 0.01 * joules',
    "rates": 'any(rate < 0 or rate > 1 for rate in row["rates"])',
    "answer": "found",
}


def _joint(*lines: str, success: str = SUCCESS) -> str:
    return JOINT.format(success=success, lines="\n    ".join(lines or BY_CLASS))


def _split(*lines: str) -> str:
    return SPLIT.format(lines="\n    ".join(lines))


def _original(scale: str = SCALE, bars: str = BARS, answer: str = "(box - bars) / scale") -> str:
    return ORIGINAL.format(scale=scale, bars=bars, answer=answer)


def _interval(answer: str, degrees: str = "(n - 1)") -> str:
    return INTERVAL.format(answer=answer, degrees=degrees)


def _check(**parts: str) -> str:
    return CHECK.format(**{**FAULTS, **parts})


WRONG = {
    "joint-success": [
        Wrong("micro average", _joint("return success.double().mean().item()"), "average inside a class first"),
        Wrong("class only", _joint(success="right"), "the box counts too"),
        Wrong("box only", _joint(success="overlap > threshold"), "the class counts too"),
        Wrong(
            "ten classes in the mean",
            _joint(
                "inside = [class_true == c for c in range(10)]",
                "found = [(success & here).sum() / here.sum().clamp(min=1) for here in inside]",
                "return float(sum(found) / 10)",
            ),
            "classes present",
        ),
        Wrong(
            "product of two averages",
            _joint(
                "def macro(ok):",
                "    shares = [ok[class_true == c].double().mean().item() for c in class_true.unique()]",
                "    return sum(shares) / len(shares)",
                "return macro(right) * macro(overlap > threshold)",
            ),
            "same picture",
        ),
        Wrong(
            "grouped by the predicted class",
            _joint(
                "shares = [success[class_pred == c].double().mean().item() for c in class_pred.unique()]",
                "return sum(shares) / len(shares)",
            ),
            "true class",
        ),
        Wrong("threshold counts too", _joint(success="right & (overlap >= threshold)"), "strictly above"),
        Wrong("threshold ignored", _joint(success="right & (overlap > 0.5)"), "use the argument"),
        Wrong("overlap instead of success", _joint(success="right * overlap"), "a success or none"),
    ],
    "split-by-photo": [
        Wrong(
            "by row",
            _split(
                "rows = list(range(len(groups)))",
                "random.Random(seed).shuffle(rows)",
                "chosen = set(rows[: round(fraction * len(rows))])",
                "return [row in chosen for row in range(len(groups))]",
            ),
            "photos on both sides",
        ),
        Wrong(
            "unseeded",
            _split(SORTED, "random.shuffle(names)", CHOSEN, LOOKED_UP),
            "same seed, other split",
        ),
        Wrong(
            "global random state",
            _split(SORTED, "random.seed(seed)", "random.shuffle(names)", CHOSEN, LOOKED_UP),
            "global random state",
        ),
        Wrong(
            "torch's global random state",
            _split(
                SORTED,
                "torch.manual_seed(seed)",
                "names = [names[place] for place in torch.randperm(len(names)).tolist()]",
                CHOSEN,
                LOOKED_UP,
            ),
            "global random state",
        ),
        Wrong("alphabetical", _split(SORTED, CHOSEN, LOOKED_UP), "the seed changes nothing"),
        Wrong(
            "order of first appearance",
            _split("names = list(dict.fromkeys(groups))", SHUFFLED, CHOSEN, LOOKED_UP),
            "sort the names",
        ),
        Wrong(
            "fraction of the rows",
            _split(
                SORTED,
                SHUFFLED,
                "chosen, rows = set(), 0",
                "while rows < round(fraction * len(groups)):",
                "    chosen.add(names.pop())",
                "    rows = sum(name in chosen for name in groups)",
                LOOKED_UP,
            ),
            "count photographs",
        ),
        Wrong(
            "a coin for each photograph",
            _split(
                SORTED,
                "dice = random.Random(seed)",
                "chosen = {name for name in names if dice.random() < fraction}",
                LOOKED_UP,
            ),
            "count photographs",
        ),
        Wrong(
            "names instead of rows",
            _split(SORTED, SHUFFLED, CHOSEN, "return [name in chosen for name in names]"),
            "one entry for each",
        ),
    ],
    "to-original": [
        Wrong(
            "stretch",
            "def to_original(box, height, width, size):\n"
            "    sides = torch.tensor([width, height, width, height], dtype=box.dtype)\n"
            "    return box * sides / size\n",
            "one scale",
        ),
        Wrong("bars after scaling", _original(answer="box / scale - bars"), "reverse order"),
        Wrong(
            "bars of x and y exchanged",
            _original(bars="(size - scale * height) / 2, (size - scale * width) / 2"),
            "bars are above and below",
        ),
        Wrong("bars forgotten", _original(answer="box / scale"), "the bars were not taken off"),
        Wrong(
            "scaled by the short side",
            _original(scale="size / min(height, width)", bars="0, 0"),
            "the long side fills the square",
        ),
        Wrong("multiplied by the scale", _original(answer="(box - bars) * scale"), "divide by the scale"),
        Wrong(
            "both bars on one side",
            _original(bars="size - scale * width, size - scale * height"),
            "half of the rest",
        ),
        Wrong("wide photographs only", _original(bars="0, (size - scale * height) / 2"), "this photograph is tall"),
        Wrong("rounded to pixels", _original(answer="((box - bars) / scale).round()"), "do not round"),
        Wrong("clipped", _original(answer="((box - bars) / scale).clamp(min=0)"), "do not clip"),
        Wrong(
            "in place",
            _original(answer="box").replace("    return", "    box -= bars\n    box /= scale\n    return"),
            "leave the boxes",
        ),
    ],
    "seed-interval": [
        Wrong("1.96", _interval("mean, 1.96 * sd / math.sqrt(n)"), "t, not z"),
        Wrong(
            "population SD",
            _interval("mean, T_975[n - 1] * sd / math.sqrt(n)", degrees="n"),
            "divides by n − 1",
        ),
        Wrong("standard deviation", _interval("mean, sd"), "the error of the mean"),
        Wrong("half the range", _interval("mean, (max(values) - min(values)) / 2"), "the error of the mean"),
        Wrong("best seed as centre", _interval("max(values), T_975[n - 1] * sd / math.sqrt(n)"), "is the mean"),
        Wrong(
            "median as centre",
            _interval("sorted(values)[n // 2], T_975[n - 1] * sd / math.sqrt(n)"),
            "must be the mean",
        ),
        Wrong("n degrees of freedom", _interval("mean, T_975[n] * sd / math.sqrt(n)"), "n − 1 degrees"),
        Wrong("not divided by √n", _interval("mean, T_975[n - 1] * sd"), "divide the SD by √n"),
        Wrong("t of three runs for all", _interval("mean, T_975[2] * sd / math.sqrt(n)"), "n − 1 twice"),
        Wrong(
            "a single run is certain",
            _interval("mean, T_975[n - 1] * sd / math.sqrt(n)").replace(
                'raise ValueError("one run has no interval")', "return values[0], 0.0"
            ),
            "must raise a ValueError",
        ),
    ],
    "submission-check": [
        Wrong(
            "stops at the first",
            "def submission_problems(row):\n"
            '    joules = (4.6 * row["mac_first"] + 0.9 * row["synops"]) / 1e6\n'
            '    if row.get("twin") is None:\n'
            '        return ["twin"]\n'
            '    if len(set(row["seeds"])) < 3:\n'
            '        return ["seeds"]\n'
            '    return ["uJ"] if abs(row["uJ"] - joules) > 0.01 * joules else []\n',
            "found only ['twin']",
        ),
        Wrong("yes or no", _check(answer="bool(found)"), "a list of problems"),
        Wrong("believes the energy", _check(energy="not row['uJ'] > 0"), "recompute"),
        Wrong(
            "two operations for a MAC",
            _check(joules='(2 * 4.6 * row["mac_first"] + 0.9 * row["synops"])'),
            "MAC, not FLOP",
        ),
        Wrong("zero is no score", _check(twin='not row.get("twin")'), "None, not zero"),
        Wrong("a missing key is an error", _check(twin='row["twin"] is None'), "raised KeyError"),
        Wrong("counts a seed three times", _check(seeds='len(row["seeds"]) < 3'), "count different seeds"),
        Wrong("the limit is over the limit", _check(steps='row["T"] >= 8'), "within the budget"),
        Wrong("only too low an energy", _check(energy='row["uJ"] < 0.99 * joules'), "planted were"),
        Wrong("only too high an energy", _check(energy='row["uJ"] > 1.01 * joules'), "recompute"),
        Wrong("only high rates", _check(rates='max(row["rates"]) > 1'), "a rate below 0"),
        Wrong("rates not read", _check(rates="False"), "planted were"),
    ],
}
