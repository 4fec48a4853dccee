"""nbgrader's settings for this course; `spikelab grade` and nbgrader's own commands both read them."""

import os
import sys

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    GetGrades,
    LimitOutput,
    LockCells,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
    SaveCells,
)

from spikelab.grading.feedback import StripHiddenTests
from spikelab.grading.release import StableNotebook
from spikelab.grading.repair import RepairSubmission
from spikelab.grading.sandbox import SandboxExecute

c = get_config()  # noqa: F821

# nbgrader calls `alembic` by name when it makes a gradebook, also where the environment is not activated.
commands = os.path.dirname(sys.executable)
if commands not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join([commands, os.environ.get("PATH", os.defpath)])

# Folders: solutions/NN_slug/exercises.ipynb is the source, chapters/NN_slug/exercises.ipynb what students get.
# Everything about students stays under grading/, which git ignores.
c.CourseDirectory.root = os.path.dirname(os.path.abspath(__file__))
c.CourseDirectory.course_id = "spikelab"
c.CourseDirectory.notebook_id = "exercises"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "chapters"
c.CourseDirectory.submitted_directory = "grading/submitted"
c.CourseDirectory.autograded_directory = "grading/autograded"
c.CourseDirectory.feedback_directory = "grading/feedback"
c.CourseDirectory.solution_directory = "grading/solution"
c.CourseDirectory.source_with_tests_directory = "grading/source_with_tests"
c.CourseDirectory.db_url = f"sqlite:///{os.path.join(c.CourseDirectory.root, 'grading', 'gradebook.db')}"
os.makedirs(os.path.join(c.CourseDirectory.root, "grading"), exist_ok=True)

# Never copied from solutions/ to students, nor over what the authors keep in chapters/.
c.CourseDirectory.ignore = [
    ".ipynb_checkpoints",
    "__pycache__",
    "*.pyc",
    "feedback",
    ".DS_Store",
    "wrong_answers.py",
    "pictures.py",
    "meta.yml",
    "lesson.ipynb",
]

# A released notebook is the same, byte for byte, each time it is generated.
c.GenerateAssignment.preprocessors = [
    LockCells,
    ClearSolutions,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    SaveCells,
    ClearHiddenTests,
    ClearMarkScheme,
    ComputeChecksums,
    StableNotebook,
    CheckCellMetadata,
]

# Autograding: a submission is repaired, then runs in a process of its own, in a scratch folder.
c.Autograde.sanitize_preprocessors = [
    ClearOutput,
    RepairSubmission,
    OverwriteKernelspec,
    OverwriteCells,
    CheckCellMetadata,
]
c.Autograde.autograde_preprocessors = [
    SandboxExecute,
    LimitOutput,
    SaveAutoGrades,
    AssignLatePenalties,
    CheckCellMetadata,
]
c.Execute.timeout = 60  # s per cell, for `spikelab check` as well
c.Execute.startup_timeout = 120  # s for a kernel to start
c.SandboxExecute.notebook_timeout_s = 600  # s of wall clock for one submission
c.SandboxExecute.memory_mb = 6144  # address space of the kernel

# Feedback shows what students may see: no hidden test, not even quoted.
c.GenerateFeedback.preprocessors = [GetGrades, StripHiddenTests, CSSHTMLHeaderPreprocessor]
