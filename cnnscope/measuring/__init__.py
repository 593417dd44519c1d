"""The only place that touches a device: time by events, memory by the allocator's own history, energy by NVML.

Names are imported from the modules themselves; ``sessions`` has ``measure``, which runs all of it.
"""
