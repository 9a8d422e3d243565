"""Weights from elsewhere: one module a family of foreign checkpoints.

A file comes in through `reading` (nothing in it runs: `unpickling`), a family (`mmseg`, `authors`, `openseg`,
`imagenet`) gives every weight our name and says what the network is (`translation`, `architecture`), and `convert`
builds that network, checks that nothing is left over or missing, and writes the folder with its `model_card`.
`imagenet_hrnet` is how training takes ImageNet weights into a backbone.
"""
