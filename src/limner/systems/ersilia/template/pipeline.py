"""What is predicted of your molecules: the packages that ship with Limner, and those in the folder `packages`."""

from pathlib import Path

from limner.systems.ersilia.pipeline import molecules_pipeline

pipeline = molecules_pipeline(Path(__file__).parent / "packages")
