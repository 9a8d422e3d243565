"""What is said when data isn't as it should be."""

from ..common.errors import UserError


class DataError(UserError):
    """Something is wrong with the data; the message names the file, the value, what was expected and the remedy."""


def size_problem(path: str | None, mask: tuple[int, int], image: tuple[int, int]) -> str | None:
    """What is said where a mask and its image differ in their (width, height); `None` where they don't."""
    if mask == image:
        return None
    turned = mask == image[::-1]
    remedy = "turn it, as EXIF turns the image" if turned else "export it at the image's size, without interpolation"
    return f"{path}: {mask[0]}x{mask[1]}, but its image is {image[0]}x{image[1]}: {remedy}"
