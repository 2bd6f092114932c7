"""Stands in for a SLURM cluster: runs a batch script as sbatch would, with the commands that a job finds there."""

import os
import re
import subprocess
import sys
from pathlib import Path

#: What stands in for SLURM's commands on the path of a job: srun runs what it is given, squeue tells the time left.
SRUN = '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
SQUEUE = '#!/bin/sh\necho "  $LEFT"\n'
APPTAINER = '#!/bin/sh\necho "$@" > "$PWD/apptainer.txt"\nwhile [ "$1" != limner ]; do shift; done\nexec "$@"\n'


class Slurm:
    """Runs a batch script as sbatch would, without a cluster."""

    def __init__(self, folder: Path, script: Path) -> None:
        self.script = script
        self.folder = folder
        folder.mkdir()
        commands = folder / "bin"
        commands.mkdir()
        for name, text in {"srun": SRUN, "squeue": SQUEUE, "apptainer": APPTAINER}.items():
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        limner = commands / "limner"
        limner.write_text(f'#!/bin/sh\nexec {sys.executable} -m limner.cli.main "$@"\n')
        limner.chmod(0o755)
        self._path = f"{commands}{os.pathsep}{os.environ['PATH']}"

    def directives(self) -> dict[str, str]:
        """The options that the script's head asks for."""
        found = re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", self.script.read_text(), re.MULTILINE)
        return dict(found)

    def sbatch(self, count: int, *, left: str, **environment: str) -> "list[subprocess.Popen[bytes]]":
        """Start an array of *count* jobs, each with so much time left."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LIMNER_") and "proxy" not in k.lower()}
        jobs = []
        for at in range(1, count + 1):
            slurm = {"SLURM_JOB_ID": str(100 + at), "SLURM_ARRAY_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": str(at)}
            own = {"PATH": self._path, "LEFT": left, "SLURM_SUBMIT_DIR": str(self.folder)} | slurm | environment
            with (self.folder / f"{at}.log").open("wb") as log:
                jobs.append(
                    subprocess.Popen(
                        ["bash", str(self.script)], cwd=self.folder, env=clean | own, stdout=log, stderr=log
                    )
                )
        return jobs

    def said(self) -> str:
        """What all jobs wrote."""
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))
