# SPDX-License-Identifier: Apache-2.0
"""The cameras: topic, rate, image, stamps, and how they go together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from dreamzero_ros.embodiment.schema import Camera, Embodiment
from dreamzero_ros.observation.judgement import Judgement, commonest
from dreamzero_ros.ros.check.graph import check_publisher, names, silent
from dreamzero_ros.ros.check.listen import Listener
from dreamzero_ros.ros.check.rows import Result, Row, failed, passed, skipped, warned
from dreamzero_ros.ros.check.samples import NS_PER_S, Samples, check_rate, check_stamps
from dreamzero_ros.ros.qos import SENSOR

SAME_ASPECT = 0.01
"""Aspect ratios that differ by less are one, rounded to whole pixels."""
MOST_REFUSED = 0.1
"""Share of images that cannot be used which their neighbours make up for."""


def check_camera(listener: Listener, robot: Embodiment, camera: Camera, seconds: float) -> list[Row]:
    """The rows of one camera, as far as they make sense."""
    samples, max_age_s = listener.images[camera.name], listener.buffer.max_age_s
    fix = f"set compressed: {str(not camera.compressed).lower()} and topic of this camera in the robot file"
    kind = CompressedImage if camera.compressed else Image
    others = [listener.node.resolve_topic_name(other.topic) for other in robot.cameras]
    topic = check_publisher(listener.node, camera.topic, kind, SENSOR, fix, others)
    if topic.result is Result.FAIL:
        return [topic]
    publishers = listener.node.get_publishers_info_by_topic(camera.topic)
    if len(publishers) > 1:
        finding = f"{len(publishers)} publishers: {names(publishers)}"
        return [failed("topic", finding, "let one node publish this topic")]
    if not samples:
        return [topic, silent(seconds)]
    cameras, newest = listener.cameras, samples.newest
    encoding = newest.format if camera.compressed else newest.encoding
    return [
        topic,
        check_rate("rate", samples, robot.image_tolerance_s, max_age_s),
        check_image(camera, cameras.sizes.get(camera.name), encoding, cameras.judgements[camera.name]),
        check_stamps("stamps", samples, max_age_s),
    ]


def check_image(camera: Camera, size: tuple[int, int] | None, encoding: str, judgement: Judgement) -> Row:
    """Whether the images can be used, and what is done to their size.

    Args:
        camera: The camera of the robot file.
        size: Width and height of the last image that can be used [pixels]; None where there is none.
        encoding: Of an image, or its format.
        judgement: What was found in the images.
    """
    refusal = commonest(judgement.refusals)
    if refusal is not None:
        expected, found = refusal
        count = f"{found.count} of {judgement.own} images cannot be used"
        finding = f"{count}: expected {expected}, got {found.got}"
        few = judgement.refused <= MOST_REFUSED * judgement.own
        return warned("image", finding, found.fix) if few else failed("image", finding, found.fix)
    if size is None:
        return skipped("image", "none was looked at yet", "check once more")
    width, height = size
    size_words = f"{width}x{height} {encoding}"
    wanted = f"{camera.width}x{camera.height}"
    if (width, height) == (camera.width, camera.height):
        return passed("image", f"{size_words}, as in the robot file")
    ratio = (width / height) / (camera.width / camera.height)
    lost = 1 - min(ratio, 1 / ratio)
    if lost > SAME_ASPECT:
        what = {
            "letterbox": f"black bars take {lost:.0%} of the view",
            "crop": f"{lost:.0%} of the image is cut off",
            "stretch": f"it is distorted by {lost:.0%}",
        }[camera.fit]
        fix = f"set the camera to the shape of {wanted}: the model was trained on whole views of it"
        return warned("image", f"{size_words} becomes {wanted} ({camera.fit}): {what}", fix)
    if width < camera.width:
        return warned(
            "image", f"{size_words} is enlarged to {wanted}", f"set the camera to at least {wanted}"
        )
    return passed("image", f"{size_words}, scaled to {wanted}")


def check_together(images: Mapping[str, Samples], tolerance_s: float) -> Row:
    """Whether the cameras' clocks agree and their images form sets.

    Args:
        images: By camera.
        tolerance_s: Furthest that two images of a set may lie apart [s].
    """
    what = "together"
    if not all(len(samples) > 2 for samples in images.values()):
        return skipped(what, "not every camera has images")
    ages_s = {name: float(np.median(samples.ages_s)) for name, samples in images.items()}
    oldest, newest = max(ages_s, key=ages_s.__getitem__), min(ages_s, key=ages_s.__getitem__)
    spread_s = ages_s[oldest] - ages_s[newest]
    if spread_s > tolerance_s:
        finding = f"{oldest} is stamped {_ms(spread_s)} behind {newest}; the tolerance is {_ms(tolerance_s)}"
        fix = "synchronise the clocks of the cameras (chrony, PTP), or speed up the slow one"
        return failed(what, finding, fix)
    apart_s = _apart_s(list(images.values()))
    finding = f"images of a set lie within {_ms(apart_s)}; the tolerance is {_ms(tolerance_s)}"
    if apart_s > tolerance_s:
        return failed(what, finding, "raise the rate of the slowest camera, or trigger the cameras together")
    return passed(what, finding)


def _apart_s(streams: list[Samples]) -> float:
    """Median, over the images of the slowest camera, of the distance to the furthest of the other cameras."""
    slowest = np.array(min(streams, key=len).stamps_ns)
    distances = [np.abs(slowest[:, None] - np.array(samples.stamps_ns)).min(axis=1) for samples in streams]
    return float(np.median(np.max(distances, axis=0))) / NS_PER_S


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
