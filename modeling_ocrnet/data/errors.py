"""The error for invalid data."""

from ..common.errors import UserError


class DataError(UserError):
    """The data is invalid; the message names the file, the value, what was expected and the remedy."""


def size_problem(path: str | None, mask: tuple[int, int], image: tuple[int, int]) -> str | None:
    """The message for a mask and an image with different (width, height); `None` if they are the same."""
    if mask == image:
        return None
    turned = mask == image[::-1]
    remedy = "turn it as EXIF turns the image" if turned else "export it at the image's size, without interpolation"
    return f"{path}: {mask[0]}x{mask[1]}, but its image is {image[0]}x{image[1]}: {remedy}"
