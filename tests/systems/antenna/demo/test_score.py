"""How the demonstration judges itself: it would notice if insects were missed or confused."""

from limner.domain.values import Value
from limner.systems.antenna.demo import score_of
from limner.systems.antenna.trap_pictures import TrapFrame, night


def data_of(frames: list[TrapFrame]) -> list[dict[str, Value]]:
    """A callback that says just what was drawn."""
    return [
        {
            "sourceImageId": frame.name,
            "detections": [
                {"boundingBox": dict(zip(("x1", "y1", "x2", "y2"), thing.box, strict=True)), "trackId": thing.track}
                for thing in frame.things
            ],
        }
        for frame in frames
    ]


def a_night() -> list[TrapFrame]:
    """Three frames with insects that stay."""
    return list(night(seed=4, frames=3, things=6, size=(480, 320)))


def test_what_was_drawn_scores_whole() -> None:
    """An answer that is the truth finds everything, follows everything, and confuses nothing."""
    # given
    frames = a_night()

    # when
    score = score_of(frames, data_of(frames))

    # then
    assert score.insects > 5
    assert score.links > 2
    assert (score.found, score.followed, score.wrong, score.extra) == (score.insects, score.links, 0, 0)


def test_missed_insect_is_counted() -> None:
    """A picture without detections takes its insects and their links away."""
    # given
    frames = a_night()
    data = data_of(frames)
    data[1]["detections"] = []

    # when
    score = score_of(frames, data)

    # then
    insects = [sum(thing.label != "debris" for thing in frame.things) for frame in frames]
    assert score.found == score.insects - insects[1]
    assert score.followed == 0


def test_confused_tracks_are_counted() -> None:
    """Insects that are all given one track are taken for one another."""
    # given
    frames = a_night()
    data = data_of(frames)
    for image in data:
        for one in image["detections"]:
            one["trackId"] = "one"

    # when
    score = score_of(frames, data)

    # then
    assert score.wrong > 0
