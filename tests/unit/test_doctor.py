"""The doctor finds what is wrong, names the mend, and says so in its exit status."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import psutil
import pytest
import torch

from spikelab import doctor
from spikelab.doctor import Finding

REQUIREMENTS = ["torch>=2.5", "numpy>=1.26", 'nbgrader<0.10,>=0.9.5; extra == "grading"', 'ruff>=0.6; extra == "dev"']


def versions(**known: str):
    def installed(name: str) -> str:
        if name not in known:
            raise PackageNotFoundError(name)
        return known[name]

    return installed


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """A machine on which nothing is wrong, whatever machine the test runs on."""
    monkeypatch.delenv("SPIKELAB_PROFILE", raising=False)
    monkeypatch.delenv("SPIKELAB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "processor", lambda: [Finding("cores", "2")])


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10, 13), "wrong"), ((3, 11, 0), "fine"), ((3, 13, 5), "fine"), ((3, 14, 0), "wrong")]
)
def test_python_is_judged_by_the_range_of_the_course(version, state):
    finding = doctor.python_version(version)
    assert finding.state == state
    assert bool(finding.mend) == (state == "wrong")


def test_the_range_of_pythons_is_that_of_pyproject():
    parts = set(doctor.metadata.metadata("spikelab")["Requires-Python"].split(","))
    assert parts == {f">={doctor.OLDEST[0]}.{doctor.OLDEST[1]}", f"<{doctor.NEWEST[0]}.{doctor.NEWEST[1] + 1}"}


def test_packages_within_their_ranges_are_fine_and_show_their_version():
    findings = doctor.packages(
        REQUIREMENTS, installed=versions(torch="2.13.0+cpu", numpy="2.4.6", nbgrader="0.9.6", ruff="0.17.5")
    )
    assert [(f.name, f.found, f.state) for f in findings] == [
        ("torch", "2.13.0+cpu", "fine"),
        ("numpy", "2.4.6", "fine"),
        ("nbgrader", "0.9.6", "fine"),
        ("ruff", "0.17.5", "fine"),
    ]


def test_a_package_outside_its_range_is_wrong_and_the_mend_is_the_range():
    findings = doctor.packages(
        REQUIREMENTS, installed=versions(torch="2.4.0", numpy="2.4.6", nbgrader="0.10.0", ruff="0.17.5")
    )
    wrong = {f.name: f for f in findings if f.state == "wrong"}
    assert set(wrong) == {"torch", "nbgrader"}
    assert "2.4.0" in wrong["torch"].found
    assert '"torch>=2.5"' in wrong["torch"].mend


def test_a_missing_package_is_wrong_but_a_missing_extra_is_a_note():
    findings = {f.name: f for f in doctor.packages(REQUIREMENTS, installed=versions(torch="2.13.0"))}
    assert findings["numpy"].state == "wrong"
    assert findings["extra grading"].state == "note"
    assert "nbgrader" in findings["extra grading"].found
    assert "spikelab[dev]" in findings["extra dev"].mend


def test_a_library_that_is_not_installed_is_wrong(monkeypatch):
    def requires(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", requires)
    (finding,) = doctor.packages(*doctor.course_requirements())
    assert finding.state == "wrong"
    assert "pip install -e ." in finding.mend


def test_versions_other_than_the_pins_are_named(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# a comment\nnumpy==2.4.6  # via spikelab\ntorch==2.13.0\nrich==15.0.0\n"
        "appnope==1.0.0 ; sys_platform == 'nowhere'\n"
    )
    as_pinned = doctor.pins(lock, versions(numpy="2.4.6", torch="2.13.0+cpu", rich="15.0.0"))
    assert (as_pinned.state, as_pinned.found[:5]) == ("fine", "all 3")
    other = doctor.pins(lock, versions(numpy="2.0.0", torch="2.13.0"))
    assert other.state == "note"
    assert other.found == "numpy 2.0.0, pinned 2.4.6; rich none, pinned 15.0.0"
    assert doctor.pins(tmp_path / "absent").state == "note"


def test_this_environment_is_as_pinned():
    finding = doctor.pins(doctor.Path(doctor.__file__).resolve().parents[1] / "requirements.lock")
    assert finding.state == "fine", finding.found


def test_more_threads_than_cores_are_wrong():
    assert doctor.torch_threads(2, 2).state == "fine"
    finding = doctor.torch_threads(8, 2)
    assert finding.state == "wrong"
    assert "OMP_NUM_THREADS to 2" in finding.mend


def test_threads_are_those_of_torch():
    findings = {f.name: f for f in doctor.processor()}
    assert findings["torch threads"].found.split()[0] == str(torch.get_num_threads())
    assert int(findings["cores"].found) >= 1


def test_memory_of_a_small_machine_is_noted():
    assert doctor.memory(25.3) == Finding("memory", "25.3 GB")
    assert doctor.memory(3.9).state == "fine"
    assert doctor.memory(2.0).state == "note"
    assert doctor.memory(None).found == "unknown"


def test_memory_is_read_from_the_system_or_from_psutil(monkeypatch):
    expected = psutil.virtual_memory().total / 1e9
    assert doctor.total_memory_gb() == pytest.approx(expected, rel=0.02)
    monkeypatch.delattr(doctor.os, "sysconf")
    assert doctor.total_memory_gb() == pytest.approx(expected, rel=0.02)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert doctor.total_memory_gb() is None


def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_gpu_is_named_with_its_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    card = SimpleNamespace(name="Card 9", total_memory=24e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    assert doctor.gpu() == Finding("GPU", "Card 9, 24 GB")


def test_no_gpu_is_fine_but_one_that_torch_cannot_use_is_noted(monkeypatch):
    no_cuda(monkeypatch)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.gpu().state == "fine"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}")
    assert doctor.gpu().state == "note"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert doctor.gpu() == Finding("GPU", "Apple GPU (mps)")


def test_a_torch_that_cannot_be_imported_is_wrong(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert doctor.gpu().state == "wrong"
    assert [f.name for f in doctor.processor()] == ["cores"]


def test_profile_is_fast_or_full():
    assert doctor.profile({}).found.startswith("fast")
    assert doctor.profile({"SPIKELAB_PROFILE": "full"}) == Finding("profile", "full")
    wrong = doctor.profile({"SPIKELAB_PROFILE": "Fast"})
    assert wrong.state == "wrong"
    assert "Fast" in wrong.found
    assert "fast or full" in wrong.mend


def test_data_sets_are_found_in_the_named_folder_before_the_cache(tmp_path):
    named, cache = tmp_path / "data", tmp_path / "cache" / "spikelab"
    for folder in (named / "nmnist", cache / "nmnist", cache / "VOCdevkit"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    environment = {"SPIKELAB_DATA": str(named), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    findings = {f.name: f for f in doctor.data_sets(environment)}
    assert findings["N-MNIST"].found == str(named / "nmnist")
    assert findings["Pascal VOC"].found == str(cache / "VOCdevkit")
    assert findings["COCO"].found == "no folder coco"
    assert {f.state for f in findings.values()} == {"fine"}


def test_a_data_folder_that_is_none_and_an_empty_data_set_are_wrong(tmp_path):
    findings = doctor.data_sets({"SPIKELAB_DATA": str(tmp_path / "no"), "XDG_CACHE_HOME": str(tmp_path)})
    assert [f.name for f in findings if f.state == "wrong"] == ["data folder"]
    (tmp_path / "coco").mkdir()
    findings = doctor.data_sets({"SPIKELAB_DATA": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})
    assert [f.name for f in findings if f.state == "wrong"] == ["COCO"]


def test_browser_is_the_first_on_the_path_and_its_absence_a_note():
    assert doctor.browser({"chromium-browser": "/usr/bin/chromium-browser"}.get).found == "/usr/bin/chromium-browser"
    assert doctor.browser(lambda name: None).state == "note"


@pytest.mark.usefixtures("healthy")
def test_exit_status_is_zero_when_nothing_is_wrong(capsys):
    assert doctor.doctor() == 0
    out = capsys.readouterr().out
    assert "Nothing is wrong." in out
    for name in ("Python", "torch", "snntorch", "jupyter-book", "nbgrader", "cores", "memory", "GPU", "browser"):
        assert f" {name} " in out


@pytest.mark.usefixtures("healthy")
def test_exit_status_is_one_when_something_is_wrong_and_the_mend_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("SPIKELAB_PROFILE", "[warp]")
    assert doctor.doctor() == 1
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == "wrong profile: SPIKELAB_PROFILE=[warp]. Set it to fast or full, or unset it."
