"""The networks of the lecture, one file per paper, written so that each can be read beside its paper.

`catalog.toml` lists them: paper, input, and the figures that each network must have. It is data and is read
without torch. A file needs nothing but torch and `layers.py`: copy the two out and they work on their own. Two need
more, and say so: `inception_resnet.py` the other half of its paper, `inception_v4.py`, and `fusion.py` the files of
its four members.
"""
