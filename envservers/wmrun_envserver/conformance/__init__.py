"""Checks that any environment server must pass, whatever language it is written in.

The suite is a client: it knows the protocol (docs/protocol.md) and, where a check needs an
environment whose rows can be computed by hand or that fails on request, the test environments
"echo" and "fault" as README.md beside this file specifies them.
"""
