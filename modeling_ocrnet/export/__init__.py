"""Export a trained network for another runtime, and check the export against the network."""
