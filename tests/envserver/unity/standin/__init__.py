"""A stand-in for a Unity player: an executable that speaks the ML-Agents wire protocol.

It runs in the Python of the env server, with the messages of `mlagents_envs`. What its agents do is
computed from integers, so that a test can say every row beforehand (`scene.py`).
"""
