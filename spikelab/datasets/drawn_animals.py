"""Pictures of animals that nobody photographed: drawn with numpy, together with the masks of what was drawn.

An animal is a skeleton of tapered capsules in space, one skeleton for each pose. It is turned, projected without
perspective and painted from back to front. Light falls on the capsules' normals. Fur is noise smeared along the hair,
and the same noise frays the outline. The masks are the coverages that were painted, less what was painted over them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spikelab.datasets.drawn_scenes import (
    Canvas,
    Solid,
    Window,
    capsules,
    chain,
    ellipse,
    mix,
    noise_field,
    paint_background,
    photograph,
    polygon,
    rgb,
    something_in_front,
    step,
)
from spikelab.datasets.drawn_things import Place, Thing


class Build(NamedTuple):
    """The shape of an animal, in lengths of its trunk; muzzle, ears and eyes in radii of its head.

    Attributes:
        leg, leg_width: length of the legs, and their radius.
        girth: radius of the trunk.
        neck, head: length of the neck, radius of the head.
        muzzle, muzzle_width: how far the muzzle stands out, and its radius.
        ears, ear: ``"pointed"``, ``"floppy"``, ``"side"`` or ``""`` for none, and their size.
        eye: radius of an eye.
        tail: ``"long"``, ``"bushy"``, ``"curl"``, ``"brush"``, ``"stub"`` or ``"feathers"``.
        fur: length of the hair.
    """

    leg: float = 0.45
    leg_width: float = 0.09
    girth: float = 0.25
    neck: float = 0.28
    head: float = 0.31
    muzzle: float = 0.12
    muzzle_width: float = 0.4
    ears: str = "pointed"
    ear: float = 1.0
    eye: float = 0.19
    tail: str = "long"
    fur: float = 0.022


class Breed(NamedTuple):
    """What an animal looks like.

    Attributes:
        name: as in a file's name.
        species: ``"cat"``, ``"dog"``, ``"bird"``, ``"horse"``, ``"sheep"`` or ``"cow"``.
        build: its shape.
        coat: colours, the main one first, then that of the marks, then that of the belly: ``"RRGGBB RRGGBB RRGGBB"``.
        pattern: how they share the coat: ``"solid"``, ``"tabby"``, ``"spots"``, ``"patches"``, ``"points"`` (ears,
            legs, muzzle, mane and tail), ``"face"`` (head and legs), ``"saddle"`` (back) or ``"bib"`` (chest, paws and
            muzzle).
        eyes, nose: their colours.
    """

    name: str
    species: str
    build: Build
    coat: str
    pattern: str
    eyes: str = "6a4420"
    nose: str = "2a1f1f"


_CAT = Build()
_DOG = Build(
    leg=0.52, girth=0.27, neck=0.34, head=0.3, muzzle=0.55, muzzle_width=0.44, ears="floppy", eye=0.13, tail="bushy"
)
_BULLY = Build(0.36, 0.11, 0.32, 0.24, 0.36, 0.22, 0.6, "side", 0.8, 0.14, "stub", 0.01)
_HORSE = Build(0.95, 0.085, 0.27, 0.62, 0.16, 1.75, 0.6, "pointed", 0.7, 0.16, "brush", 0.008)
_COW = Build(0.55, 0.09, 0.33, 0.36, 0.2, 1.1, 0.68, "side", 1.0, 0.15, "brush", 0.01)
_SHEEP = Build(0.4, 0.07, 0.36, 0.3, 0.19, 0.85, 0.52, "side", 0.8, 0.14, "stub", 0.045)
_BIRD = Build(0.26, 0.018, 0.23, 0.3, 0.2, 0.5, 0.2, "", 0.0, 0.2, "feathers", 0.012)
_POINTED = _DOG._replace(ears="pointed", ear=0.75)

PETS = (
    Breed("Amber_Tabby", "cat", _CAT, "d98c40 8c4514 f7dbb2", "tabby", "8c9926", "cc736b"),
    Breed("Silver_Tabby", "cat", _CAT._replace(fur=0.032), "adadab 3d3d42 e6e6e0", "tabby", "669e40", "995954"),
    Breed("Moonpoint", "cat", _CAT._replace(head=0.29, ear=1.15), "eddec4 452e24 f4ead8", "points", "4080d9", "402924"),
    Breed("Night_Velvet", "cat", _CAT._replace(ear=1.1), "2b272b 443d40 332e31", "solid", "d9a61f"),
    Breed(
        "Harlequin", "cat", _CAT._replace(head=0.33, fur=0.028), "f2ede3 211f1f d1782b", "patches", "809933", "d98c85"
    ),
    Breed(
        "Leopardette", "cat", _CAT._replace(leg=0.52, head=0.28), "d4a866 4a2b14 f5e0bd", "spots", "59994d", "995447"
    ),
    Breed("golden_fellow", "dog", _DOG._replace(fur=0.04), "dba65c b87838 f2d6a3", "solid"),
    Breed("saddle_hound", "dog", _DOG._replace(ear=1.2), "b86e30 211a17 f2ebde", "saddle"),
    Breed("hill_collie", "dog", _POINTED._replace(fur=0.04), "2b2a2d f0ede6 f0ede6", "bib"),
    Breed("snow_cloud", "dog", _POINTED._replace(fur=0.05, muzzle=0.4, tail="curl"), "f2f0e8 dbd4c4 f7f5ef", "solid"),
    Breed("dotted_runner", "dog", _DOG._replace(leg=0.62, girth=0.24, fur=0.01), "f2f0eb 1f1c1c f2f0eb", "spots"),
    Breed("flat_nosed_bully", "dog", _BULLY, "c7996b 2e241f edded0", "points"),
)

FARM = (
    Breed("bay", "horse", _HORSE, "8a4c26 1a1210 7a4422", "points"),
    Breed("grey", "horse", _HORSE, "c7c4bf 6d6a68 d6d3ce", "points"),
    Breed("pied", "cow", _COW, "ede8e0 1f1a1a ede8e0", "patches", nose="bf8c80"),
    Breed("brown", "cow", _COW, "8c5229 cca880 b58a60", "bib", nose="997366"),
    Breed("blackface", "sheep", _SHEEP, "e6decc 2b2828 e6decc", "face"),
    Breed("white", "sheep", _SHEEP, "ede8d9 d9c7ad ede8d9", "face", nose="99736b"),
    Breed("robin", "bird", _BIRD, "73614d d96626 e6e0d1", "bib", "1a1410", "4d4033"),
    Breed("jay", "bird", _BIRD, "4778bf edecea ecebe8", "bib", "1a1410", "332e29"),
)

POSES = ("stand", "walk", "sit", "lie", "portrait")


class Drawn(NamedTuple):
    """One animal or thing of a picture.

    Attributes:
        breed: what it is.
        pose: of an animal.
        mask, head: bool ``[H, W]`` of the pixels that show it, and of those that show its head.
        seen: which share of what was painted of it is not hidden behind others.
    """

    breed: Breed | str
    pose: str
    mask: np.ndarray
    head: np.ndarray
    seen: float = 1.0


class Picture(NamedTuple):
    """A picture, uint8 ``[H, W, 3]``, and the animals in it, those in front last."""

    image: np.ndarray
    animals: list[Drawn]


def draw(
    breeds: Sequence[Breed | str],
    size: tuple[int, int],
    generator: np.random.Generator,
    *,
    places: Sequence[Place] | None = None,
) -> Picture:
    """Draw animals, and things among them, in a scene.

    Args:
        breeds: of the animals, from back to front; a thing is one of ``drawn_things.THINGS``.
        size: ``(H, W)``.
        generator: everything that is left to chance comes from it.
        places: of each animal; if not given, drawn by :func:`draw_place`.

    Returns:
        The picture. An animal's masks leave out what is hidden behind another one or a thing in front.
    """
    canvas = Canvas(size, generator)
    paint_background(canvas)
    painted: list[float] = []
    animals: list[_Animal | Thing] = []
    for number, breed in enumerate(breeds):
        place = places[number] if places else draw_place(generator)
        animal = Thing(canvas, breed, place) if isinstance(breed, str) else _Animal(canvas, breed, place)
        animal.paint()
        painted.append(float(animal.mask.sum()))
        for behind in animals:
            behind.hide(animal.mask)
        animals.append(animal)
    front = something_in_front(canvas)
    if front and not any(_hides(front[0], a.mask, 0.4) or _hides(front[0], a.head, 0.2) for a in animals):
        canvas.paint(canvas.whole, *front)
        for animal in animals:
            animal.hide(front[0])
    image = photograph(canvas)
    seen = [float(a.mask.sum()) / max(whole, 1e-6) for a, whole in zip(animals, painted, strict=True)]
    found = zip(animals, seen, strict=True)
    return Picture(image, [Drawn(a.breed, a.pose, a.mask > 0.5, np.minimum(a.head, a.mask) > 0.5, s) for a, s in found])


def _hides(cover: np.ndarray, mask: np.ndarray, share: float) -> bool:
    return bool((mask * cover).sum() > share * mask.sum())


def draw_place(random: np.random.Generator) -> Place:
    """Draw pose, size and place of an animal as people photograph their pets: mostly large and in the middle."""
    kind = random.random()
    if kind < 0.5:
        share = float(np.clip(random.lognormal(-0.8, 0.36), 0.18, 0.95))
        return Place("portrait", share, random.normal(0.5, 0.08), random.normal(0.41, 0.09))
    pose = str(random.choice(POSES[:4], p=(0.12, 0.1, 0.38, 0.4)))
    if kind < 0.9:
        return Place(pose, random.uniform(0.95, 1.35), random.normal(0.5, 0.05), random.normal(0.52, 0.04))
    return Place(pose, random.uniform(0.35, 0.75), random.uniform(0.25, 0.75), random.uniform(0.4, 0.68))


def draw_wild_place(random: np.random.Generator) -> Place:
    """Draw pose, size and place of an animal as in VOC: of any size, further from the middle."""
    pose = str(random.choice(POSES, p=(0.3, 0.25, 0.15, 0.15, 0.15)))
    share = random.uniform(0.3, 0.7) if pose == "portrait" else random.uniform(0.3, 1.15)
    return Place(pose, share, random.normal(0.5, 0.14), random.normal(0.53, 0.1))


# --- skeletons: points are (forward, up, left, radius) in lengths of the trunk, feet on height 0 ----------------------


class _Part(NamedTuple):
    """Part of a body, ``[K, 8]``: both ends of its bones."""

    name: str
    bones: np.ndarray


def _limb(left: float, forward: Sequence[float], up: Sequence[float], radius: Sequence[float]) -> _Part:
    return _Part("leg", chain(list(zip(forward, up, [left] * len(up), radius, strict=True))))


def _skeleton(breed: Breed, pose: str, random: np.random.Generator) -> tuple[list[_Part], np.ndarray]:
    """Return the parts of a body, and the middle of its head."""
    if breed.species == "bird":
        return _bird(breed.build, random)
    b = breed.build
    w, g = b.leg_width, b.girth
    parts = []
    if pose in ("stand", "walk"):
        high = b.leg + 0.75 * g
        hip, chest = (-0.5, high, 0, g * 0.95), (0.42, high + 0.03, 0, g)
        for side in (-1, 1):
            z, (a, c) = side * g * 0.52, random.normal(0, 0.28 if pose == "walk" else 0.05, 2) * b.leg
            up = (high - 0.1, high * 0.45, w * 0.8, w * 0.7)
            parts.append(_limb(z, (0.42, 0.44 + a / 2, 0.42 + a, 0.5 + a), up, (w * 1.5, w, w * 0.75, w * 0.8)))
            up = (high - 0.05, high * 0.55, high * 0.3, w * 0.8, w * 0.7)
            forward = (-0.45, -0.36 + c / 2, -0.56 + c, -0.5 + c, -0.42 + c)
            parts.append(_limb(z, forward, up, (w * 2, w * 1.2, w * 0.8, w * 0.75, w * 0.8)))
        rise = random.uniform(0.2, 1.0)
    elif pose == "lie":
        hip, chest = (-0.48, g * 0.95, 0, g * 1.02), (0.36, g * 1.1, 0, g)
        reach = random.uniform(0.2, 0.4)
        for side in (-1, 1):
            z = side * g * 0.62
            parts.append(_limb(z, (0.35, 0.45 + reach), (g * 0.6, w), (w * 1.2, w * 0.95)))
            parts.append(_limb(z * 1.3, (-0.42, -0.3), (g * 0.8, g * 0.6), (g * 0.72, g * 0.5)))
            parts.append(_limb(z * 1.5, (-0.4, -0.08), (w, w), (w, w * 0.9)))
        rise = random.uniform(0.5, 1.2)
    else:
        high = b.leg + 0.16
        hip, chest = (-0.3, g * 1.05, 0, g * 1.15), (0.12, high, 0, g * 0.95)
        for side in (-1, 1):
            z = side * g * 0.5
            up = (high - 0.05, high * 0.5, w * 0.8, w * 0.7)
            parts.append(_limb(z, (0.16, 0.22, 0.22, 0.3), up, (w * 1.5, w, w * 0.85, w * 0.9)))
            parts.append(_limb(z * 1.7, (-0.2, -0.05), (g * 0.85, g * 0.7), (g * 0.7, g * 0.5)))
            parts.append(_limb(z * 1.95, (-0.1, 0.2), (w, w * 0.8), (w, w * 0.85)))
        rise = random.uniform(0.9, 1.35)
    neck = np.array(chest[:3]) + np.array([0, 0.35 * g, 0])
    head = neck + (b.neck + 0.3 * b.head) * np.array([np.cos(rise), np.sin(rise), 0])
    belly = (np.array(hip) + np.array(chest)) / 2 - np.array([0, 0.04, 0, -0.01])
    throat = (*neck, g * (0.62 if breed.species == "horse" else 0.8))
    parts.append(_Part("trunk", np.concatenate([chain([hip, belly, chest]), chain([throat, (*head, b.head * 0.62)])])))
    if breed.species == "horse":
        crest = [(*(neck + t * (head - neck) + np.array([-0.14 + 0.06 * t, 0.1, 0])), 0.075) for t in (0, 0.5, 1)]
        parts.append(_Part("mane", chain(crest)))
    parts.append(_Part("tail", _tail(b.tail, np.array(hip), pose, random)))
    return parts, head


def _tail(kind: str, hip: np.ndarray, pose: str, random: np.random.Generator) -> np.ndarray:
    root = hip[:3] + np.array([-0.8, 0.35, 0]) * hip[3]
    side, t = random.choice((-1, 1)), np.linspace(0, 1, 7)[:, None]

    def behind(*offset: float) -> np.ndarray:
        return root + np.array(offset)

    if kind == "stub":
        return chain([(*root, 0.08), (*behind(-0.1, 0.04, 0), 0.06)])
    if kind == "brush":  # hangs
        return chain([(*root, 0.035), (*behind(-0.13, -0.22, 0), 0.04), (*behind(-0.15, -0.5, 0), 0.07)])
    if kind == "curl":  # over the back
        turn = 1.15 * np.pi * t
        points = root + 0.2 * np.concatenate([-0.6 * np.sin(turn), 1 - np.cos(turn), side * 0.5 * t], 1)
        return chain(np.concatenate([points, np.full((7, 1), 0.1)], 1))
    thin, thick = (0.055, 0.045) if kind == "long" else (0.06, 0.1)
    if pose in ("stand", "walk"):
        middle, end = behind(-0.35, random.uniform(-0.3, 0.35), 0), behind(-0.5, random.uniform(-0.2, 0.75), 0.1 * side)
    else:  # on the ground, around the body
        low = thick - root[1]
        middle, end = behind(-0.35, low, 0.25 * side), behind(random.uniform(0.0, 0.5), low, side * 0.55)
    points = (1 - t) ** 2 * root + 2 * t * (1 - t) * middle + t**2 * end
    return chain(np.concatenate([points, thin + t * (thick - thin)], 1))


def _bird(b: Build, random: np.random.Generator) -> tuple[list[_Part], np.ndarray]:
    w, g = b.leg_width, b.girth
    high, rise, tilt = b.leg + 0.16, random.uniform(0.5, 1.1), random.uniform(-0.15, 0.25)
    head = np.array([0.2 + 0.3 * np.cos(rise), high + 0.12 + 0.36 * np.sin(rise), 0])
    body = chain([(-0.25, high + 0.02, 0, g * 0.7), (0.1, high + 0.1, 0, g)])
    neck = chain([(0.12, high + 0.15, 0, g * 0.8), (*head, b.head * 0.75)])
    parts = [_Part("trunk", np.concatenate([body, neck]))]
    parts.append(_Part("tail", chain([(-0.35, high + 0.02, 0, 0.09), (-0.85, high + tilt, 0, 0.05)])))
    for side in (-1, 1):
        parts.append(_limb(side * 0.1, (0.0, 0.02, 0.13), (high, 0.02, 0.02), (w, w, w)))
        wing = [(0.08, high + 0.12, side * g * 0.85, 0.13), (-0.5, high - 0.03, side * g * 0.7, 0.05)]
        parts.append(_Part("wing", chain(wing)))
    return parts, head


class _View(NamedTuple):
    """Turns (forward, up, left) into (right, down, towards us), by yaw (0 faces us), pitch and roll."""

    yaw: float
    pitch: float
    roll: float = 0.0

    def __call__(self, points: Sequence[float] | np.ndarray) -> np.ndarray:
        forward, up, left = np.moveaxis(np.asarray(points, dtype=float), -1, 0)
        right = forward * np.sin(self.yaw) + left * np.cos(self.yaw)
        near = forward * np.cos(self.yaw) - left * np.sin(self.yaw)
        down = near * np.sin(self.pitch) - up * np.cos(self.pitch)
        near = near * np.cos(self.pitch) + up * np.sin(self.pitch)
        c, s = np.cos(self.roll), np.sin(self.roll)
        return np.stack([c * right - s * down, s * right + c * down, near], -1)


# --- painting --------------------------------------------------------------------------------------------------------


class _Animal:
    """One animal on a canvas: its coat, its view, and coverages ``[H, W]`` of what has been painted of it."""

    def __init__(self, canvas: Canvas, breed: Breed, place: Place) -> None:
        random = canvas.random
        self.canvas, self.breed, self.build = canvas, breed, breed.build
        farm = breed.species not in ("cat", "dog")
        self.pose = (
            "stand"
            if farm and place.pose != "walk" and (breed.species == "bird" or place.pose == "sit")
            else place.pose
        )
        self.coat = [rgb(text) * random.uniform(0.93, 1.05) for text in breed.coat.split()]
        self.marks, self.dots = noise_field(random, (512, 512), 80), noise_field(random, (512, 512), 22)
        self.mask = np.zeros((canvas.height, canvas.width), dtype=np.float32)
        self.head = np.zeros_like(self.mask)
        parts, self.skull = _skeleton(breed, self.pose, random)
        usual, spread = {"stand": (1.0, 0.45), "walk": (1.1, 0.4), "sit": (0.35, 0.35), "lie": (0.5, 0.4)}.get(
            self.pose, (0.9, 0.4)
        )
        yaw = random.choice((-1, 1)) * np.clip(random.normal(usual, spread), -0.2, 1.9)
        self.view = _View(float(yaw), random.uniform(0.05, 0.3))
        follows = random.choice((0.85, 0.1), p=(0.4, 0.6))  # the head looks where the body goes, or at us
        gaze = np.clip(random.normal(0, 0.35) + follows * yaw, yaw - 1.4, yaw + 1.4)
        droop = 0.4 if breed.build.muzzle > 0.8 else 0.0
        pitch = 0.5 * self.view.pitch + droop + random.normal(0, 0.12)
        self.face = _View(float(np.clip(gaze, -1.55, 1.55)), pitch, random.normal(0, 0.14))
        self.parts = [(part.name, part.bones.reshape(-1, 2, 4)) for part in parts]
        self.parts = [(name, np.concatenate([self.view(b[..., :3]), b[..., 3:]], -1)) for name, b in self.parts]
        self.skull = self.view(self.skull)
        self.scale, self.shift = self._frame(place)

    def _frame(self, place: Place) -> tuple[float, np.ndarray]:
        """Return pixels per trunk length, and where the animal's origin is, so that it has its size and place."""
        size = np.array([self.canvas.width, self.canvas.height], dtype=float)
        ears, m, w = self.build.ears, self.build.muzzle, 0.82 * self.build.muzzle_width
        wide, tip = (
            {"floppy": 1.25, "side": 1.1 + 0.5 * self.build.ear}.get(ears, 1.0),
            1.3 if ears == "pointed" else 1.05,
        )
        nose = self.face((0.62 + m, -0.4, 0))[:2]
        head = np.array([np.minimum((-wide, -tip), nose - w), np.maximum((wide, 1), nose + w)])
        head = self.skull[:2] + self.build.head * head
        box, portrait = head, self.pose == "portrait"
        if not portrait:
            ends = np.concatenate([bones.reshape(-1, 4) for _, bones in self.parts])
            low, high = (ends[:, :2] - ends[:, 3:]).min(0), (ends[:, :2] + ends[:, 3:]).max(0)
            box = np.array([np.minimum(low, head[0]), np.maximum(high, head[1])])
        scale = place.share * float(np.min(size / (box[1] - box[0])))
        middle, half = size * (place.across, place.down), (box[1] - box[0]) / 2 * scale
        if not portrait:  # what fits stays inside, what does not leaves no gap
            room = np.abs(size / 2 - half) + 0.02 * size
            middle = np.clip(middle, size / 2 - room, size / 2 + room)
        shift = middle - box.mean(0) * scale
        seen, needs = head.mean(0) * scale + shift, np.minimum((head[1] - head[0]) * 0.44 * scale, size / 2)
        return scale, shift + np.clip(seen, needs, size - needs) - seen

    def paint(self) -> None:
        """Paint the parts from back to front."""
        if self.pose != "portrait":
            self._ground_shadow()
        order = [(bones[..., 2].mean(), name, bones) for name, bones in self.parts]
        order.append((self.skull[2] + 0.6 * self.build.head, "head", None))
        for _, name, bones in sorted(order, key=lambda item: item[0]):
            if bones is None:
                _Head(self).paint()
            else:
                ends = np.concatenate([bones[..., :2] * self.scale + self.shift, bones[..., 3:] * self.scale], -1)
                self._paint_part(name, ends.reshape(-1, 6))

    def put(self, where: Window, coverage: np.ndarray, colour: np.ndarray, *, head: bool) -> None:
        """Paint a piece of the animal."""
        self.canvas.paint(where, coverage, colour)
        self.mask[where] += coverage * (1 - self.mask[where])
        self.head[where] += coverage * (float(head) - self.head[where])

    def hide(self, coverage: np.ndarray) -> None:
        """Take away what something else covers."""
        self.mask *= 1 - coverage
        self.head *= 1 - coverage

    def drop_shadow(self, solid: Solid, reach: float, strength: float) -> None:
        """Darken what of the animal lies just behind a part."""
        near = np.maximum(np.exp(-np.maximum(solid.d, 0) / reach) - 0.05, 0)
        self.canvas.darken(solid.where, strength * self.mask[solid.where] * near)

    def look(self, noise: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return noise at places of the coat, in trunk lengths."""
        return noise[(v * 128 + 256).astype(np.int32) & 511, (u * 128 + 256).astype(np.int32) & 511]

    def _ground_shadow(self) -> None:
        canvas = self.canvas
        ends = np.concatenate([bones.reshape(-1, 4) for _, bones in self.parts])[:, :2] * self.scale + self.shift
        (left, _), (right, bottom) = ends.min(0).tolist(), ends.max(0).tolist()
        rx, ry = (right - left) * 0.52, max((right - left) * 0.1, 3)
        x = canvas.x - (left + right) / 2 + canvas.light[0] * 0.25 * rx
        near = np.sqrt((x / rx) ** 2 + ((canvas.y - bottom + ry * 0.3) / ry) ** 2)
        canvas.darken(canvas.whole, 0.55 * step(1.25, 0.3, near))

    def _paint_part(self, name: str, bones: np.ndarray) -> None:
        canvas, scale = self.canvas, self.scale
        shaggy = 1.6 if name == "mane" or (name == "tail" and self.build.tail in ("bushy", "brush")) else 1.0
        fur = min((self.build.fur + 0.02 * (name == "mane")) * scale * shaggy, 7.0)
        blend = max((0.03 if name == "leg" else 0.09) * scale, 0.8)
        reach = max(0.045 * scale, 1.5)
        solid = capsules(canvas, bones, blend, fur + 2 + 3 * reach)
        if solid is None:
            return
        left, top = self.shift.tolist()  # plain floats: numpy's would make every array one of float64
        u, v = (canvas.x[solid.where] - left) / scale, (canvas.y[solid.where] - top) / scale
        ahead = self.view((1.0, 0.0, 0.0)).tolist()
        down, along = bones[-1, 3:5] - bones[0, :2], u * ahead[0] + v * ahead[1]
        angle = np.arctan2(down[1], down[0]) if name in ("leg", "tail", "wing") else np.pi / 2 + 0.5 * np.sign(ahead[0])
        strand = canvas.strands(solid.where, float(angle), max(0.012 * scale, 1.2))
        texture = 0.09 * strand * min(1.0, 0.35 + self.build.fur * 30) + 0.06 * canvas.fine[solid.where]
        fray = np.clip(strand, -1.5, 1.5)
        if self.breed.species == "sheep":
            fray = self.look(self.dots, u * 2.2, v * 2.2)
            texture = texture + 0.12 * fray
        self.drop_shadow(solid, reach, 0.42)
        colour = self.colours(
            name, solid, u, v, along if name == "trunk" else v if name == "leg" else 1.2 * u + 0.4 * v
        )
        light = canvas.shade(solid.nx, solid.ny, solid.nz) * (1 + texture)
        self.put(solid.where, np.clip(0.5 - solid.d - 0.8 * fur * fray, 0, 1), colour * light[..., None], head=False)

    def colours(self, name: str, solid: Solid, u: np.ndarray, v: np.ndarray, along: np.ndarray) -> np.ndarray:
        """Return the coat's colours ``[h, w, 3]`` on a part before light falls on it; places in trunk lengths."""
        main, marks, pale = (self.coat * 2)[:3]
        pattern, broad = self.breed.pattern, self.look(self.marks, u, v)
        under = step(0.25, 0.95, solid.ny + 0.15 * broad)
        paw = step(0.0, 0.3, v - float(np.median(v))) if name == "leg" else 0.0
        if pattern == "solid":
            return mix(mix(main, marks, 0.5 * step(-0.3, 0.9, broad)), pale, 0.7 * under)
        if pattern == "tabby":
            wave = np.sin(2 * np.pi * ((3.4 if name == "head" else 4.2) * along + 0.35 * broad))
            return mix(mix(main, marks, 0.85 * step(0.1, 0.6, wave)), pale, 0.85 * under)
        if pattern == "spots":
            spot = step(0.3, 0.45, self.look(self.dots, u * 1.3, v * 1.3))
            return mix(mix(main, pale, 0.8 * under), marks, spot * (0.95 - 0.4 * under))
        if pattern == "patches":
            return mix(mix(main, marks, step(0.12, 0.2, broad)), pale, step(0.28, 0.36, -broad))
        if pattern == "saddle":
            back = step(0.15, -0.25, solid.ny + 0.16 * broad) if name in ("trunk", "tail") else 0.3 * (name == "ear")
            return mix(mix(main, pale, 0.8 * under), marks, back)
        if pattern == "bib":
            white = paw + (0.95 if name == "muzzle" else 0.0)
            if name == "trunk":
                white = step(0.05, 0.35, solid.ny + 0.55 * solid.nz - 0.45 + 0.16 * broad)
            elif name == "head":
                white = 0.95 * step(0.2, 0.1, np.abs(u + 0.05 * broad) / max(self.build.head * 3, 1e-3))
            return mix(main, marks, white + 0 * u)
        share = {"points": ("ear", "muzzle", "tail", "mane"), "face": ("ear", "muzzle", "head", "leg")}[pattern]
        faint = 0.12 * step(0, 1, broad)
        cap = step(-0.35, -0.6, v / self.build.head) if pattern == "face" and name == "head" else 0.0
        return mix(main, marks, np.maximum(faint, paw if name == "leg" else float(name in share)) * (1 - cap))


class _Head:
    """Paints skull, ears, muzzle and face; places are (forward, up, left) in radii of the head."""

    def __init__(self, animal: _Animal) -> None:
        self.animal, self.canvas, self.build = animal, animal.canvas, animal.build
        self.centre = (animal.skull[:2] * animal.scale + animal.shift).tolist()
        self.radius = animal.build.head * animal.scale
        self.muzzle, self.width = self.build.muzzle, self.build.muzzle_width
        self.nose = self.at(0.9, -0.2, 0)

    def at(self, *place: float) -> tuple[float, float, float]:
        """Return where a place is: right and down in px, towards us in radii."""
        x, y, near = self.animal.face(place).tolist()
        return x * self.radius + self.centre[0], y * self.radius + self.centre[1], near

    def paint(self) -> None:
        sides = sorted((-1, 1), key=lambda side: self.at(0, 0.3, side)[2])
        shown_before = [side for side in sides if self.build.ears == "floppy" and self.at(0, 0.3, side)[2] >= -0.3]
        for side in sides if self.build.ears else ():
            if side not in shown_before:
                self._ear(side)
        if self.animal.breed.species == "cow":
            for side in sides:
                self._blob("horn", [(0.0, 0.85, side * 0.5, 0.13), (0.1, 1.4, side * 0.85, 0.06)])
        cheeks = 0.25 if self.animal.breed.species == "cat" else 0.1
        wide = 0.35 if self.muzzle < 0.8 else 0.12
        self._blob("head", [(0.05, -cheeks, wide, 0.78), (0.0, 0.08, 0.0, 0.95), (0.05, -cheeks, -wide, 0.78)])
        for side in shown_before:
            self._ear(side)
        if self.animal.breed.species == "bird":
            self._beak()
            self._eyes(0.2, 0.72)
            return
        self._muzzle()
        self._eyes(
            *((0.16, 0.46) if self.animal.breed.species == "cat" else (0.22, 0.42 if self.muzzle < 0.8 else 0.7))
        )
        self._nose_and_mouth()

    def _blob(self, name: str, points: Sequence[tuple[float, ...]], soft: float = 0.0) -> None:
        """Paint capsules through points (forward, up, left, radius), whose edge fades into the head over ``soft``."""
        animal, canvas, radius = self.animal, self.canvas, self.radius
        bones = chain([(*self.at(*point[:3])[:2], point[3] * radius) for point in points])
        fur = min(self.build.fur * animal.scale * (0.45 if name == "muzzle" else 0.8), 6.0) * (name != "horn")
        reach = 0.15 * radius * (not soft)
        solid = capsules(canvas, bones, max(0.16 * radius, 0.7), fur + 2 + 3 * reach)
        if solid is None:
            return
        x, y = canvas.x[solid.where], canvas.y[solid.where]
        u, v = self._upright(x, y)
        across, down = x - self.nose[0], y - self.nose[1]
        thick = max(0.035 * radius, 1.2)  # hair points away from the nose
        strand = canvas.hair(np.hypot(across, down) / thick, np.arctan2(down, across) * 1.1 * radius / thick)
        fray, texture = np.clip(strand, -1.5, 1.5), 0.08 * strand * min(1.0, 0.35 + self.build.fur * 30)
        if animal.breed.species == "sheep" and name == "head":
            fray = animal.look(animal.dots, u * 2.2, v * 2.2) * step(-0.2, -0.5, v / self.build.head)
            texture = texture + 0.12 * fray
        coverage = np.clip(0.5 - solid.d - 0.8 * fur * fray, 0, 1)
        if soft:
            inside = step(0, soft * radius, -solid.d)
            coverage = coverage * (1 - animal.head[solid.where] * (1 - inside))
        else:
            animal.drop_shadow(solid, reach, 0.45 if name == "head" else 0.25)
        u = u + 0.008 * strand  # hair frays the marks too
        along = np.where(v < -0.1 * self.build.head, u * 2.2, v * 1.6)
        colour = rgb("cfc3a8") if name == "horn" else animal.colours(name, solid, u, v, along)
        light = canvas.shade(solid.nx, solid.ny, solid.nz) * (1 + texture)
        animal.put(solid.where, coverage, colour * light[..., None], head=True)

    def _upright(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return places on the head in trunk lengths, right and down as the head is tilted."""
        u, v = (x - self.centre[0]) / self.animal.scale, (y - self.centre[1]) / self.animal.scale
        c, s = math.cos(self.animal.face.roll), math.sin(self.animal.face.roll)
        return c * u + s * v, c * v - s * u

    def _ear(self, side: int) -> None:
        size = self.build.ear
        if self.build.ears == "pointed":
            self._pointed_ear(side)
        elif self.build.ears == "floppy":
            tip = (0.05, 0.3 - 0.75 * size, side * 1.05, 0.26)
            self._blob("ear", [(0.05, 0.62, side * 0.72, 0.2), (0.0, 0.1, side * 1.02, 0.3), tip])
        else:
            tip = (0.05, 0.25, side * (1.0 + 0.6 * size), 0.1)
            self._blob("ear", [(0.0, 0.5, side * 0.8, 0.2), (0.0, 0.42, side * (0.9 + 0.5 * size), 0.2), tip])

    def _pointed_ear(self, side: int) -> None:
        animal, canvas, size = self.animal, self.canvas, self.build.ear
        tip = (-0.05, 0.72 + 0.68 * size, side * (0.62 + 0.14 * size))
        corners = np.array([self.at(*place)[:2] for place in ((0.2, 0.7, side * 0.12), (-0.25, 0.2, side * 0.95), tip)])
        middle, rounding = corners.mean(0), 0.09 * self.radius
        low, high = corners.min(0) - rounding - 3, corners.max(0) + rounding + 3
        where = canvas.window(*low, *high)
        if where is None:
            return
        x, y = canvas.x[where], canvas.y[where]
        strand = canvas.strands(where, np.pi / 2, 1.2)
        for inner in (False, True) if self.at(1, 0, side * 0.5)[2] > 0.1 else (False,):
            d = polygon(x, y, middle + (0.5 if inner else 1.0) * (corners - middle), rounding)
            flat = Solid(where, d, 0 * d + 0.3 * side, 0 * d - 0.3, 0 * d + 0.9)
            colour = animal.colours("ear", flat, *self._upright(x, y), x / animal.scale)
            coverage = np.clip(0.5 - d - 0.4 * min(self.build.fur * animal.scale, 5.0) * strand, 0, 1)
            if inner:
                colour, coverage = mix(colour, rgb("d9a094"), 0.6), 0.9 * step(0.0, 0.3 * self.radius, -d)
            light = canvas.shade(flat.nx, flat.ny, flat.nz) * (1 + 0.08 * strand)
            animal.put(where, coverage, colour * light[..., None], head=True)

    def _muzzle(self) -> None:
        m, w = self.muzzle, self.width
        long = m > 0.8  # horses, cows and sheep: only the end is a muzzle's colour
        self._blob("head" if long else "muzzle", [(0.55, -0.32, 0, w), (0.62 + m, -0.4, 0, w * 0.82)], soft=0.3)
        if long:
            self._blob("muzzle", [(0.62 + 0.85 * m, -0.4, 0.08, w * 0.8), (0.64 + m, -0.4, -0.08, w * 0.8)], soft=0.4)
        if self.animal.breed.species == "cat":
            for side in (-1, 1):
                pad = (0.8 + m, -0.42, side * 0.18, 0.26)
                self._blob("muzzle", [pad, pad], soft=0.15)

    def _beak(self) -> None:
        base, tip = self.at(0.75, -0.05, 0), self.at(0.95 + self.muzzle, -0.15, 0)
        bone = (base[0], base[1], 0.26 * self.radius, tip[0], tip[1], 0.05 * self.radius)
        solid = capsules(self.canvas, [bone], 1.0, 2)
        if solid is not None:
            light = 1.2 * self.canvas.shade(solid.nx, solid.ny, solid.nz)
            self.animal.put(solid.where, solid.coverage, rgb(self.animal.breed.nose) * light[..., None], head=True)

    def _eyes(self, high: float, apart: float) -> None:
        dark = rgb("1c1512")
        for side in (-1, 1):
            x, y, near = self.at(float(np.sqrt(1 - high**2 - apart**2)), high, side * apart)
            if near < 0.12:
                continue
            r = self.build.eye * self.radius
            narrow = max(min(1.0, near * 1.25), 0.35) * r  # an eye turns away with the head
            self._spot(x, y, 1.22 * narrow, 1.1 * r, dark, 0.9)
            self._spot(x, y, narrow, 0.9 * r, rgb(self.animal.breed.eyes))
            self._spot(x, y, (0.38 if self.animal.breed.species == "cat" else 0.68) * narrow, 0.72 * r, dark)
            self._spot(x + 0.3 * r * np.sign(self.canvas.light[0]), y - 0.35 * r, 0.26 * r, 0.26 * r, rgb("ffffff"))

    def _nose_and_mouth(self) -> None:
        m, w, radius = self.muzzle, self.width, self.radius
        nose, dark, cat = rgb(self.animal.breed.nose), rgb("1c1512"), self.animal.breed.species == "cat"
        if m > 0.8:
            for side in (-1, 1):
                x, y, near = self.at(0.7 + m + w * 0.55, -0.38, side * 0.24)
                if near > 0:
                    self._spot(x, y, 0.07 * radius, 0.11 * radius, nose * 0.5)
            return
        x, y, near = self.at(0.72 + m + w * 0.55, -0.2 - 0.1 * m, 0)
        size = 0.13 if cat else 0.2 if m > 0.3 else 0.17
        lip = self.at(0.72 + m + w * 0.5, -0.52 - 0.1 * m, 0)
        self._line((x, y + 0.08 * radius), lip, 0.022 * radius, dark, 0.75)
        for side in (-1, 1):
            corner = self.at(0.6 + m, -0.62 - 0.1 * m, side * 0.3)
            if corner[2] > 0.05:
                self._line(lip, corner, 0.022 * radius, dark, 0.65)
                for lift in (-0.32, -0.45, -0.55) if cat else ():
                    end = self.at(0.5, lift * 1.1 + 0.05, side * 1.45)
                    self._line(self.at(0.85, lift, side * 0.3), end, 0.012 * radius, rgb("f4f2ee"), 0.55, whisker=True)
        if m > 0.3 and abs(self.animal.face.yaw) < 0.7 and self.animal.marks[0, 0] > 0.25:
            tongue = self.at(0.65 + m, -0.8, 0)
            self._spot(tongue[0], tongue[1], 0.15 * radius, 0.24 * radius, rgb("d9707a"))
        self._spot(x, y, size * radius * max(near, 0.55), size * 0.75 * radius, nose)
        self._spot(x - 0.04 * radius, y - 0.05 * radius, 0.06 * radius, 0.035 * radius, rgb("ffffff"), 0.45)

    def _spot(self, x: float, y: float, rx: float, ry: float, colour: np.ndarray, opacity: float = 1.0) -> None:
        where = self.canvas.window(x - rx - 2, y - ry - 2, x + rx + 2, y + ry + 2)
        if where is None or min(rx, ry) < 0.3:
            return
        d = ellipse(self.canvas.x[where] - x, self.canvas.y[where] - y, rx, ry)
        self.animal.put(where, opacity * np.clip(0.5 - d, 0, 1), colour, head=True)

    def _line(
        self,
        start: Sequence[float],
        end: Sequence[float],
        width: float,
        colour: np.ndarray,
        opacity: float,
        *,
        whisker: bool = False,
    ) -> None:
        solid = capsules(self.canvas, [(*start[:2], width, *end[:2], width)], 1.0, 2)
        if solid is None:
            return
        if whisker:  # too thin to count as the cat
            self.canvas.paint(solid.where, opacity * solid.coverage, colour)
        else:
            self.animal.put(solid.where, opacity * solid.coverage, colour, head=True)
