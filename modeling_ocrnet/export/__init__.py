"""A trained network as a file for another runtime, checked against the network itself."""
