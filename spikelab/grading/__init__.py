"""Checking, releasing and grading the course's exercises on top of nbgrader.

Learners meet ``tasks`` (in test cells) and ``check``; instructors ``release``, ``autograde``, ``feedback`` and
``reports``; maintainers ``lint`` and ``contract``.
"""
