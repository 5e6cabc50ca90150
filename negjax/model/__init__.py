"""The transformer: one block for all families, and the prefix/suffix/replay mechanism.

Axis letters are used in names (`shift_blf`), in comments and in parameter metadata:

    B prompts            L layers                 H query heads
    T prefix tokens      F neurons of a layer     G key/value heads
    S suffix tokens      D residual width         J query heads per key/value head (H / G)
    K targets            V vocabulary             C head width
    M target tokens      N neurons intervened on  X activation shifts
    P prompts replayed together, R rows of each
"""
