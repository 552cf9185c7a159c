#!/usr/bin/env python3
"""Holds contrib/ to what it promises: its shell is good, and its commands are there and do what they should.

usage: tests/contrib/run.py PROGRAM

Ends with 77, as ctest has it for skipped tests, where there is no PyYAML.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import yaml
except ImportError:
    sys.exit(77)

ROOT = Path(__file__).resolve().parent.parent.parent
GUEST_FILE = ROOT / "tests/cli/bin/guest-file"
ACTION = yaml.safe_load((ROOT / "contrib/action.yml").read_text())
CONTAINER = (ROOT / "contrib/Containerfile").read_text().splitlines()
program = None


def check_shell(test, script):
    script = f"set -eo pipefail\n{script}"  # as GitHub's runner begins; podman's ends with the line
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", "--shell=bash", "-"], input=script, text=True,
                              capture_output=True)
        test.assertEqual(done.returncode, 0, done.stdout)


def check_programs_of_the_repository(test, script):
    """Each tool is there, and each target of make is one."""
    for tool in re.findall(r"\btools/[\w-]+", script):
        test.assertTrue(os.access(ROOT / tool, os.X_OK), tool)
    for target in re.findall(r"(?<!/)\bmake (\w+)", script):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


class Action(unittest.TestCase):
    def test_has_shell_that_is_good_and_commands_that_are_there(self):
        self.assertEqual(ACTION["runs"]["using"], "composite")
        for step in ACTION["runs"]["steps"]:
            self.assertEqual(step["shell"], "bash")
            check_shell(self, step["run"])
            check_programs_of_the_repository(self, step["run"])
            # What a caller gives is a word of the environment, never a part of the script.
            self.assertNotIn("${{", step["run"])

    def test_gives_steps_no_input_that_it_does_not_have(self):
        for step in ACTION["runs"]["steps"]:
            for value in step.get("env", {}).values():
                self.assertIn(re.fullmatch(r"\$\{\{ inputs\.(\w+) \}\}", value)[1], ACTION["inputs"])

    def run_step(self, **inputs):
        """The last step, with a repository whose cbit is the one under test; its exit status."""
        step = ACTION["runs"]["steps"][-1]
        given = {name: spec.get("default", "") for name, spec in ACTION["inputs"].items()} | inputs
        with tempfile.TemporaryDirectory() as folder:
            build = Path(folder) / "build/release"
            build.mkdir(parents=True)
            (build / "cbit").symlink_to(program)
            kernel = Path(folder) / "a kernel"
            subprocess.run([GUEST_FILE, "bzimage", kernel, *given["kernel"].split()], check=True)
            values = {name: given[value.split(".")[1].split()[0]] for name, value in step["env"].items()}
            values["CBIT_KERNEL"] = str(kernel)
            environment = os.environ | values | {"GITHUB_ACTION_PATH": f"{folder}/contrib"}
            (Path(folder) / "contrib").mkdir()
            return subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], env=environment,
                                  capture_output=True, text=True)

    def test_runs_the_kernel_that_it_is_given_and_ends_as_cbit_ends(self):
        self.assertEqual(self.run_step(command="true", options="").returncode, 11)
        done = self.run_step(command="true")
        self.assertEqual(done.returncode, 65, done.stderr)  # --sev, and a kernel that is not for it
        self.assertIn("a kernel cannot use encrypted memory", done.stderr)

    def test_gives_the_command_as_one_word(self):
        done = self.run_step(command="echo 'a b' \"$(c)\"; exit 3", options="--memory 2T --quiet")
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertIn("--memory 2T is over the limit", done.stderr)

    def test_is_used_in_the_document_with_inputs_that_it_has(self):
        (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/ci.md").read_text(), re.DOTALL)
        steps = yaml.safe_load(example)["jobs"]["sev"]["steps"]
        (used,) = [step["with"] for step in steps if "/contrib@" in step.get("uses", "")]
        self.assertLessEqual(used.keys(), ACTION["inputs"].keys())
        required = {name for name, spec in ACTION["inputs"].items() if spec.get("required")}
        self.assertLessEqual(required, used.keys())


class Container(unittest.TestCase):
    def test_has_shell_that_is_good_and_commands_that_are_there(self):
        scripts = [line.removeprefix("RUN ") for line in CONTAINER if line.startswith("RUN ")]
        self.assertTrue(scripts)
        for script in scripts:
            check_shell(self, script)
            check_programs_of_the_repository(self, script)

    def test_begins_with_the_debian_that_the_readme_names(self):
        self.assertIn("FROM debian:12", CONTAINER)
        self.assertIn("Debian 12", (ROOT / "README.md").read_text())

    def test_copies_folders_of_the_repository_alone(self):
        for line in CONTAINER:
            if line.startswith("COPY "):
                self.assertTrue((ROOT / line.split()[1]).is_dir(), line)


if __name__ == "__main__":
    program = Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
