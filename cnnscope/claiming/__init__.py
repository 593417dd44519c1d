"""How the claims of lectures, papers and libraries are held against graphs.

    ledger        architectures/claims/*.toml as Claims: what is printed where, and what to measure on which net
    nets          the nets that the claims name, each traced once
    subjects      a graph, and the part of it that a measure means
    quantities    the vocabulary: what can be read off one graph; building has those of its structure
    measures      a measure of the ledger to its value: a quantity of a net, or arithmetic over such
    conventions   the ways of counting that are in use
    deciding      stated against computed, to a verdict
    listing       verdicts as text, Markdown, CSV and JSON

``cnnscope.claims`` brings them together.
"""
