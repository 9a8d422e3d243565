"""Paired measurements beside other implementations. They need the checkout: the wheel does not hold them."""
