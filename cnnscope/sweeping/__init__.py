"""Many models at many settings, each a row: ``requests`` and ``selecting`` say which, ``journals`` keeps what is done,
``spreading`` gives the rest to workers, and each worker has a ``Server`` (``serving``) whose children do the work
(``examining``). What is on this side of the child never imports torch.
"""
