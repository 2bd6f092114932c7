"""What is inferred about your pictures; edit it, and `limner plan pictures` says what follows."""

from limner import Index, Number, Pipeline, Stage, Text, file

facts = Stage(
    "facts",
    infer="inferrers:Facts",
    reads={"image": file("image_url")},
    outputs={"kind": Text(), "bytes": Number(least=0, whole=True), "entropy": Number(least=0, most=8)},
    batch=16,
)

pipeline = Pipeline(
    "pictures",
    collection="pictures",
    stages=[facts],
    index=Index(text=["title"]),
    about="Pictures of a folder, and facts about their files.",
)
