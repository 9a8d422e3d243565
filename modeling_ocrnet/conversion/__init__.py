"""Conversion of other projects' checkpoints: one module for each family.

`loading` reads a file without running any code in it (`unpickling`). A family (`mmseg`, `authors`, `openseg`,
`imagenet`) renames every weight to our name (`converted_checkpoint`) and derives the architecture (`architecture`).
`convert` builds that network, checks that no weight is left over or missing, and writes the folder with its model card
(`converted_card`). `imagenet_hrnet` loads ImageNet weights into a backbone for training. `pretrained` checks our own
folders.
"""
