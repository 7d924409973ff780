"""The networks: backbones with ImageNet weights, the classifier and the U-Net.

Importing this package imports nothing else; import the module that you need.
"""
