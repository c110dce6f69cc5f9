# SPDX-License-Identifier: Apache-2.0
"""Where joint positions put the links of a robot description; chains need the optional package pinocchio.

- ``chain``      poses of one link in another, for a chunk of joint positions at once
- ``cartesian``  the same poses as x, y, z, roll, pitch, yaw
"""
