# SPDX-License-Identifier: Apache-2.0
"""Installs the package, its launch files, its robot files and its commands."""

from pathlib import Path
from typing import Any

from setuptools import find_packages, setup
from setuptools.command.develop import develop
from setuptools.command.install_scripts import install_scripts

NAME = "dreamzero_ros"
TYPED = "dreamzero-"
"""Prefix of the commands that people type without `ros2 run`."""


class TypedInBin:
    """Puts the typed commands into bin/, which install/setup.bash adds to the PATH; nodes stay in lib/."""

    place: str
    """Attribute of the command that says where executables are written to."""

    def write_script(self, script_name: str, *rest: Any) -> None:
        """Writes an executable to the folder of its kind."""
        nodes = getattr(self, self.place)
        setattr(self, self.place, folder_of(script_name, nodes))
        super().write_script(script_name, *rest)
        setattr(self, self.place, nodes)


class InstallScripts(TypedInBin, install_scripts):
    """For `colcon build`."""

    place = "install_dir"


class Develop(TypedInBin, develop):
    """For `colcon build --symlink-install`."""

    place = "script_dir"


def folder_of(script: str, nodes: str) -> str:
    """Where an executable is installed to, given the folder of setup.cfg in which `ros2 run` looks."""
    in_lib = Path(nodes).parts[-2:] == ("lib", NAME)
    return str(Path(nodes).parents[1] / "bin") if in_lib and script.startswith(TYPED) else nodes


def shared(folder: str, pattern: str) -> tuple[str, list[str]]:
    """The files of a folder and the place they are installed to."""
    return f"share/{NAME}/{folder}", [str(path) for path in sorted(Path(folder).glob(pattern))]


setup(
    name=NAME,
    version="0.1.0",
    description="Runs the DreamZero world action model as a closed-loop manipulation policy.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={f"{NAME}.evaluation.report": ["*.html", "*.css", "*.js"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        shared("launch", "*.launch.py"),
        shared("config", "*.*"),
        shared("config/embodiments", "*.y*ml"),
        shared("config/rviz", "*.rviz"),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    cmdclass={"install_scripts": InstallScripts, "develop": Develop},
    entry_points={
        "console_scripts": [
            f"policy_node = {NAME}.ros.policy_node:main",
            f"sim_node = {NAME}.ros.sim_node:main",
            f"footage_node = {NAME}.ros.footage_node:main",
            f"check = {NAME}.ros.check.command:main",
            f"run = {NAME}.ros.run_command:main",
            f"evaluate_bag = {NAME}.evaluation.run_command:main",
            f"demo = {NAME}.ros.demo:main",
            f"make_bag = {NAME}.evaluation.make_bag_command:main",
            f"dreamzero-bench = {NAME}.bench.command:main",
            f"dreamzero-evaluate = {NAME}.evaluation.command:main",
        ]
    },
)
