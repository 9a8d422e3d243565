"""Weights from elsewhere: one module a family of foreign checkpoints.

`loading` reads a file; nothing in it runs (`unpickling`). A family (`mmseg`, `authors`, `openseg`, `imagenet`) gives
every weight our name (`converted_checkpoint`) and says what the network is (`architecture`). `convert` builds that
network, checks that nothing is left over or missing, and writes the folder with its card (`converted_card`).
`imagenet_hrnet` takes ImageNet weights into a backbone for training. `pretrained` checks folders of our own.
"""
