"""Systems: plug-ins that bring pipelines, shapes, trainers and a demo; found by entry point, imported by nothing."""

from collections.abc import Mapping

from msgspec import Struct, field

from limner.domain.pipelines import Pipeline
from limner.domain.reads import FileRead


class Trainer(Struct, frozen=True, kw_only=True):
    """A plain trainer class that the platform feeds with stored values and whose model it registers."""

    #: Model that it makes.
    model: str
    #: ``package.module:Class`` with ``train(samples, *, seed, **parameters) -> Path`` and ``evaluate(model, samples)``.
    trainer: str
    #: Pipeline and path of the values that it reads: ``features.vector``, or with *read* the field of a file's address.
    pipeline: str
    samples: str
    #: How the pictures that it reads are fetched and decoded; None where it reads stored values.
    read: FileRead | None = None
    #: ``package.module:function`` with ``gate(metrics, champion_metrics) -> list of reasons to refuse``.
    gate: str | None = None


class LibraryReport(Struct, frozen=True, kw_only=True):
    """What an audit of one job over the rows of a file found."""

    job: str
    #: What the job was about, as a person calls it.
    about: str
    #: Rows by what became of them.
    counts: Mapping[str, int]
    #: Rows that were stored without a value in a column, by column.
    nulls: Mapping[str, int] = field(default_factory=dict)
    #: A sentence each, of what is not as it should be; whole where there is none.
    problems: tuple[str, ...] = ()


class System(Struct, frozen=True, kw_only=True):
    """What a plug-in brings; targets are ``package.module:name`` and are loaded when they are needed."""

    name: str
    about: str
    pipelines: tuple[Pipeline, ...] = ()
    #: Pipelines that are made when they are first asked for, by name: a target is a function of the project's folder.
    makers: Mapping[str, str] = field(default_factory=dict)
    #: Modules that the makers import; where one of them is not installed, their pipelines are not offered.
    needs: tuple[str, ...] = ()
    #: Shapes of foreign JSON objects, by name: each target is a :class:`limner.domain.records.Shape`.
    shapes: Mapping[str, str] = field(default_factory=dict)
    #: Resolvers of addresses, by name: ``resolve(url) -> url``.
    resolvers: Mapping[str, str] = field(default_factory=dict)
    #: Names that other APIs give to stages, each with the ``stage`` or ``pipeline.stage`` that it stands for.
    stage_names: Mapping[str, str] = field(default_factory=dict)
    #: Trainers by the name that ``limner train`` is given.
    trainers: Mapping[str, Trainer] = field(default_factory=dict)
    #: Models that ship with it, by name: the resource's ``package:path``.
    models: Mapping[str, str] = field(default_factory=dict)
    #: ``package.module:function`` with ``function(folder, project) -> FolderReport | None``, both folders: what
    #: `limner models check FOLDER` says of a model that lies in a folder; None where it is none of this system's.
    check_folder: str | None = None
    #: ``package.module:function`` with ``function(reference, project, *, python, again) -> FolderReport | None``: what
    #: `limner models install` does for a model that lies in a folder or is known by name; None where it is none of
    #: this system's. The facts are ``folder``, ``built``, ``python``, ``bytes``, ``day`` and ``packages``.
    install_model: str | None = None
    #: ``package.module:function`` with ``function(app, library) -> list of LibraryReport``: what ``limner audit
    #: --library FILE`` says of the jobs that worked on the rows of a file.
    audit_library: str | None = None
    #: By collection: ``package.module:function`` with ``function(app, *, stage, to) -> int``: what ``limner export
    #: --stage STAGE --to PLACE`` does, and how many values that were.
    exports: Mapping[str, str] = field(default_factory=dict)
    #: Forms of callbacks, by name: ``body(host, job, keys) -> dict``; see :mod:`limner.app.callback_pages`.
    callbacks: Mapping[str, str] = field(default_factory=dict)
    #: ``demo(app, say) -> None`` run by ``limner demo NAME``.
    demo: str | None = None
    #: ``package:folder`` of the project that ``limner init --from NAME`` copies.
    template: str | None = None
    #: ``package.module:function`` with ``function(projects, needs) -> fastapi.APIRouter``: routes that its own clients
    #: already speak, mounted where the setting `facades` names the system.
    routes: str | None = None
    #: More of such functions, by the name under which ``facades`` asks for each; never mounted unasked.
    more_routes: Mapping[str, str] = field(default_factory=dict)
