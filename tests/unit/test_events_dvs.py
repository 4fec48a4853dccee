"""The DVS simulator: what a pixel does, what optics and motion do, and that seeds decide everything random."""

import math

import numpy as np
import pytest
import torch

from spikelab.events import DVS, NMNIST_DVS, CameraPath, check_events, encode_aer, frames, saccades, simulate_dvs

NO_NOISE = NMNIST_DVS._replace(noise_rate_hz=0.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rings(count, seed=0):
    """Rings about as bright and large as digits."""
    draw = torch.rand(count, 4, 1, 1, generator=seeded(seed))
    row, column = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    distance = torch.hypot(row - 11 - 5 * draw[:, 0], column - 11 - 5 * draw[:, 1])
    return (1.2 + draw[:, 3] - (distance - 5 - 3 * draw[:, 2]).abs()).clamp(0, 1)


def along_columns(pixels, duration_us, points):
    """A straight path to the right at constant speed."""
    share = torch.linspace(0, 1, points, dtype=torch.float64)
    return CameraPath(torch.stack([pixels * share, 0 * share], dim=1), duration_us * share)


def per_pixel(events):
    """Times between events of one pixel, and whether the two have the same polarity."""
    place = events["y"].astype(int) * 1000 + events["x"]
    order = np.lexsort((events["t"], place))
    same_pixel = np.diff(place[order]) == 0
    return np.diff(events["t"][order])[same_pixel], (np.diff(events["p"][order]) == 0)[same_pixel]


# ------------------------------------------------------------------------------------------------------- one pixel


def test_events_equal_those_of_a_loop_over_pixels():
    image = torch.rand(1, 9, 9, generator=seeded(5))
    sensor = DVS(0.15, 0.22, refractory_us=3_000.0, dark=0.05)
    path = along_columns(4.0, 60_000.0, 13)
    (events,) = simulate_dvs(image, sensor=sensor, size=(9, 9), path=path, generator=[seeded(1)])
    # the same draws: two for mismatch (none here), one for where each reference starts
    draws = seeded(1)
    torch.randn(2, 9, 9, generator=draws)
    phase = torch.rand(9, 9, generator=draws)
    expected = []
    for y in range(9):
        for x in range(9):
            log_light = []
            for dx in path.position_px[:, 0].tolist():
                left = math.floor(x - dx)
                near = [float(image[0, y, c]) if 0 <= c < 9 else 0.0 for c in (left, left + 1)]
                share = x - dx - left
                log_light.append(math.log(near[0] * (1 - share) + near[1] * share + sensor.dark))
            expected += one_pixel(log_light, path.time_us.tolist(), sensor, float(phase[y, x]), x, y)
    assert len(events) == len(expected) > 150
    found = np.array(sorted((x, y, p, t) for x, y, p, t in events.tolist()))
    expected = np.array(sorted((x, y, p, t) for t, x, y, p in expected))
    assert np.array_equal(found[:, :3], expected[:, :3])
    assert np.abs(found[:, 3] - expected[:, 3]).max() <= 1  # log light in float32, then floor to whole µs


def one_pixel(log_light, times, sensor, phase, x, y):
    band = sensor.threshold_on + sensor.threshold_off
    reference = log_light[0] - (phase * band - sensor.threshold_off)
    last, found = -math.inf, []
    for step in range(1, len(times)):
        before, now = log_light[step - 1], log_light[step]
        while True:
            if now - reference >= sensor.threshold_on:
                reference, on = reference + sensor.threshold_on, 1
            elif now - reference <= -sensor.threshold_off:
                reference, on = reference - sensor.threshold_off, 0
            else:
                break
            t = times[step - 1] + (reference - before) / (now - before) * (times[step] - times[step - 1])
            if t - last >= sensor.refractory_us:
                found.append((int(t), x, y, on))
                last = t
    return found


def test_a_picture_that_stands_still_gives_no_events():
    path = saccades(amplitude=0)
    assert all(len(events) == 0 for events in simulate_dvs(rings(3), sensor=NO_NOISE, path=path, generator=seeded()))


def test_a_picture_without_contrast_gives_no_events():
    assert len(simulate_dvs(torch.zeros(1, 28, 28), sensor=NO_NOISE, generator=seeded())[0]) == 0


def test_an_edge_gives_as_many_events_as_thresholds_lie_in_its_log_contrast():
    image = torch.zeros(1, 40, 80)
    image[..., :40] = 1  # its right edge passes the sensor's middle columns from left to right
    sensor = DVS(0.2, 0.2, dark=0.1)
    path = along_columns(20.0, 200_000.0, 101)
    (events,) = simulate_dvs(image, sensor=sensor, size=(30, 40), path=path, generator=seeded())
    assert (events["p"] == 1).all()  # all get brighter
    crossed = events[(events["x"] >= 22) & (events["x"] < 38)]
    # log 11 / .2 = 11.99 thresholds; the reference starts anywhere between −C and C: half an event less on average
    assert len(crossed) / (30 * 16) == pytest.approx(math.log(11) / 0.2 - 0.5, abs=0.1)


def test_events_are_spaced_by_threshold_over_slope():
    x = torch.arange(80.0)
    image = torch.exp(-0.05 * x).expand(1, 20, 80)  # log light falls by .05 per pixel
    sensor = DVS(0.02, 0.02, dark=1e-4)
    path = along_columns(20.0, 100_000.0, 26)
    (events,) = simulate_dvs(image, sensor=sensor, size=(20, 20), path=path, generator=seeded())
    gaps, _ = per_pixel(events)
    # it moves .2 px per ms to the right, so log light rises by .01 per ms: 2 ms per event, whatever the path's steps
    assert (events["p"] == 1).all()
    assert np.median(gaps) == pytest.approx(2_000, rel=0.01)
    assert gaps.std() < 60


def test_three_times_the_light_gives_the_same_events():
    sensor = NO_NOISE._replace(inverted=False, dark=0.3)
    bright = simulate_dvs(rings(4), sensor=sensor, generator=seeded())
    dim = simulate_dvs(rings(4) / 3, sensor=sensor._replace(dark=0.1), generator=seeded())
    for one, other in zip(bright, dim, strict=True):
        difference = frames(one, 1, 10**6) - frames(other, 1, 10**6)
        assert difference.abs().sum() <= 0.002 * len(one)  # log(3a) − log 3 rounds: some events change places


def test_a_negative_shows_the_same_events_as_a_sensor_that_inverts():
    images = rings(2).new_ones(2, 60, 60)
    images[:, 16:44, 16:44] = 1 - rings(2)
    plain = simulate_dvs(images, sensor=NO_NOISE._replace(inverted=False), generator=seeded())
    inverted = simulate_dvs(1 - images, sensor=NO_NOISE, generator=seeded())
    for one, other in zip(plain, inverted, strict=True):
        assert len(one) > 1_000
        assert (frames(one, 1, 10**6) - frames(other, 1, 10**6)).abs().sum() <= 0.002 * len(one)


def test_a_pixel_is_silent_for_its_refractory_time():
    sensor = NO_NOISE._replace(threshold_on=0.1, threshold_off=0.1)
    without = simulate_dvs(rings(2), sensor=sensor._replace(refractory_us=0.0), generator=seeded())
    long = simulate_dvs(rings(2), sensor=sensor._replace(refractory_us=5_000.0), generator=seeded())
    for free, held in zip(without, long, strict=True):
        assert per_pixel(free)[0].min() < 1_500
        assert per_pixel(held)[0].min() >= 4_999  # both times are floored to µs
        assert len(held) < 0.9 * len(free)


def test_higher_thresholds_give_fewer_events_and_a_lower_one_favours_its_polarity():
    def count(on, off):
        sensor = NO_NOISE._replace(threshold_on=on, threshold_off=off, refractory_us=0.0)
        events = np.concatenate(simulate_dvs(rings(4), sensor=sensor, generator=seeded()))
        return len(events), events["p"].mean()

    low, half_as_many = count(0.2, 0.2)[0], count(0.4, 0.4)[0]
    assert 0.35 < half_as_many / low < 0.5  # half, and the last step of each edge is lost more often
    assert count(0.2, 0.25)[1] > 0.52 > 0.48 > count(0.25, 0.2)[1]


def test_mismatch_makes_pixels_differ_and_hardly_changes_the_total():
    image = torch.zeros(1, 40, 80)
    image[..., :40] = 1
    counts = {}
    for spread in (0.0, 0.3):
        sensor = DVS(0.1, 0.1, threshold_sd=spread, dark=0.1)
        path = along_columns(20.0, 200_000.0, 101)
        (events,) = simulate_dvs(image, sensor=sensor, size=(30, 40), path=path, generator=seeded())
        counts[spread] = frames(events, 1, 10**6, size=(30, 40))[0, 1, :, 24:36]
    assert counts[0.0].std() < 1
    assert counts[0.3].std() / counts[0.3].mean() == pytest.approx(0.3, abs=0.06)
    assert counts[0.3].mean() == pytest.approx(counts[0.0].mean().item(), rel=0.1)


def test_noise_comes_at_its_rate_in_all_places_times_and_polarities():
    sensor = DVS(noise_rate_hz=20.0)
    events = np.concatenate(simulate_dvs(torch.zeros(10, 28, 28), sensor=sensor, generator=seeded()))
    expected = 10 * 20 * 0.3077 * 34 * 34
    assert len(events) == pytest.approx(expected, abs=4 * math.sqrt(expected))
    assert events["p"].mean() == pytest.approx(0.5, abs=2 / math.sqrt(expected))
    assert events["x"].mean() == pytest.approx(16.5, abs=0.15)
    assert events["y"].mean() == pytest.approx(16.5, abs=0.15)
    assert events["t"].mean() == pytest.approx(307_700 / 2, rel=0.01)


# ------------------------------------------------------------------------------------------------------- seeds, batches


def test_seeds_decide_everything():
    first, again, other = (simulate_dvs(rings(3), generator=seeded(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_pictures_do_not_share_their_noise():
    twice = simulate_dvs(rings(1).expand(2, -1, -1), generator=seeded())
    assert not np.array_equal(*twice)


def test_a_picture_gives_the_same_events_in_any_batch():
    images = rings(35)  # more than one chunk
    together = simulate_dvs(images, generator=[seeded(i) for i in range(35)])
    for i in (0, 17, 31, 32, 34):
        (alone,) = simulate_dvs(images[i : i + 1], generator=[seeded(i)])
        assert np.array_equal(alone, together[i])
    some = simulate_dvs(images[20:34], generator=[seeded(i) for i in range(20, 34)])
    assert all(np.array_equal(a, b) for a, b in zip(some, together[20:34], strict=True))


def test_no_pictures_are_no_recordings():
    assert simulate_dvs(torch.zeros(0, 28, 28), generator=seeded()) == []


# ------------------------------------------------------------------------------------------------------- like N-MNIST


def test_recordings_are_valid_and_fit_into_five_bytes():
    for events in simulate_dvs(rings(5), generator=seeded()):
        check_events(events, size=(34, 34))
        assert events["t"][-1] <= 307_700
        assert len(encode_aer(events)) == 5 * len(events)


def test_recordings_have_the_rhythm_and_balance_of_n_mnist():
    recordings = simulate_dvs(rings(40), generator=seeded())
    events = np.concatenate(recordings)
    # N-MNIST: 4,133 events on average, 49.8 % ON, 78 % of a pixel's events followed by the same polarity
    assert 3_000 < len(events) / 40 < 6_000
    assert events["p"].mean() == pytest.approx(0.498, abs=0.01)
    same = np.concatenate([per_pixel(one)[1] for one in recordings])
    assert same.mean() == pytest.approx(0.78, abs=0.06)
    # humps of 306, 253 and 252 events per 10 ms at 50, 150 and 250 ms, valleys of 22 and 20 at 90 and 220 ms
    rhythm = np.bincount(events["t"] // 10_000, minlength=31)
    saccade = [rhythm[0:9], rhythm[9:22], rhythm[22:31]]
    assert [int(part.argmax()) + start for part, start in zip(saccade, (0, 9, 22), strict=True)] in (
        [a, b, c] for a in (4, 5) for b in (14, 15) for c in (24, 25)
    )
    assert min(part.max() for part in saccade) > 6 * max(rhythm[9], rhythm[22])


def test_the_picture_moves_down_then_up_then_left():
    drift = []
    events = np.concatenate(simulate_dvs(rings(40), sensor=NO_NOISE, generator=seeded()))
    events = events[np.argsort(events["t"])]
    for start, stop in ((0, 95_000), (95_000, 225_000), (225_000, 310_000)):
        part = events[(events["t"] >= start) & (events["t"] < stop)]
        quarter = len(part) // 4
        drift.append([part[axis][-quarter:].mean() - part[axis][:quarter].mean() for axis in ("x", "y")])
    # the last quarter of a saccade's events against its first, in N-MNIST: (1.3, 4.0), (2.2, −3.9), (−3.6, −.1) px
    assert np.allclose(drift, [(1.3, 4.0), (2.2, -3.9), (-3.6, -0.1)], atol=0.6)


# ------------------------------------------------------------------------------------------------------- path, optics


def test_the_path_has_the_steps_asked_for():
    path = saccades(duration_us=100_000, step_us=3_000)
    assert path.time_us[0] == 0
    assert path.time_us[-1] == 100_000
    assert path.time_us.diff().max() <= 3_000
    assert len(path.time_us) == 35
    assert path.position_px.shape == (35, 2)


def test_finer_steps_of_the_path_hardly_change_the_events():
    coarse, fine = (
        sum(len(e) for e in simulate_dvs(rings(8), path=saccades(step_us=step), generator=seeded()))
        for step in (4_000, 1_000)
    )
    assert coarse == pytest.approx(fine, rel=0.02)


def test_smooth_saccades_run_along_a_closed_triangle_and_rest_at_its_corners():
    path = saccades(step_us=1_000, smooth=True)
    assert torch.allclose(path.position_px[0], path.position_px[-1])
    speed = path.position_px.diff(dim=0).norm(dim=1)
    third = len(speed) // 3
    for corner in (0, third, 2 * third, len(speed) - 1):
        assert speed[corner] < 0.1 * speed.max()
    sides = [speed[:third].sum(), speed[third : 2 * third].sum(), speed[2 * third :].sum()]
    assert np.allclose(sides, [5.45, 6.5, 5.2], atol=0.25)


def test_a_smaller_triangle_gives_fewer_events():
    small, large = (
        sum(len(e) for e in simulate_dvs(rings(4), path=saccades(amplitude=a), generator=seeded())) for a in (0.5, 1.0)
    )
    assert 0.3 < small / large < 0.7


def test_scale_enlarges_the_picture():
    image = torch.zeros(1, 8, 8)
    image[:, 2:6, 2:6] = 1
    extents = []
    for scale in (1.0, 3.0):
        (events,) = simulate_dvs(image, sensor=NO_NOISE, scale=scale, generator=seeded())
        extents.append(np.ptp(events["x"]) + 1)
    assert extents[0] <= 4 + 1 + 6 + 4  # the square, interpolation, the path's 5.5 px, the lens' tails
    assert 8 - 2 <= extents[1] - extents[0] <= 8 + 6


def test_blur_makes_an_edge_take_longer_to_pass():
    image = torch.zeros(1, 40, 80)
    image[..., :40] = 1
    passing_us = []
    for blur in (0.0, 1.5):
        sensor = DVS(0.2, 0.2, dark=0.3, blur_px=blur)
        path = along_columns(20.0, 200_000.0, 101)
        (events,) = simulate_dvs(image, sensor=sensor, size=(1, 40), path=path, generator=seeded())
        passing_us.append(np.ptp(events["t"][events["x"] == 30]))
    assert passing_us[0] < 10_000  # one pixel of linear interpolation at .1 px per ms
    assert passing_us[1] > 2.5 * passing_us[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": rings(1) * 255}, r"images must lie in \[0, 1\].*divide grey values by 255"),
        ({"images": rings(1)[0]}, "at least 3 axes"),
        ({"images": rings(1).unsqueeze(1)}, "three axes"),
        ({"images": torch.zeros(1, 28, 28, dtype=torch.uint8)}, "floating-point"),
        ({"images": torch.full((1, 28, 28), math.nan)}, "finite"),
        ({"sensor": DVS(threshold_on=0)}, "threshold_on must be positive"),
        ({"sensor": DVS(threshold_off=-0.2)}, "threshold_off must be positive"),
        ({"sensor": DVS(dark=0)}, "dark must be positive"),
        ({"sensor": DVS(refractory_us=-1)}, "refractory_us must be zero or more"),
        ({"sensor": DVS(noise_rate_hz=-1)}, "noise_rate_hz must be zero or more"),
        ({"sensor": DVS(threshold_sd=-1)}, "threshold_sd must be zero or more"),
        ({"sensor": DVS(blur_px=math.inf)}, "blur_px must be finite"),
        ({"size": 34}, r"size must be \(height, width\)"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"generator": [seeded(), seeded()]}, "a list of 1, one per picture, got 2"),
        ({"generator": [3]}, r"got 1 \(int\)"),
        ({"path": CameraPath(torch.zeros(3, 2), torch.zeros(3))}, "path times must rise from 0"),
        ({"path": CameraPath(torch.zeros(3, 3), torch.arange(3))}, "path must hold positions"),
        ({"path": CameraPath(torch.zeros(1, 2), torch.zeros(1))}, "K of at least 2"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"images": rings(1), "generator": seeded(), **change}
    with pytest.raises(ValueError, match=message):
        simulate_dvs(arguments.pop("images"), **arguments)


@pytest.mark.parametrize("name", ["duration_us", "step_us"])
def test_a_path_without_duration_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        saccades(**{name: 0})
