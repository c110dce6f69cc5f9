# SPDX-License-Identifier: Apache-2.0
"""A robot, its controllers and its cameras, without hardware and without ROS.

- ``controller``  a joint_trajectory_controller as the released branches run it
- ``world``       joints that follow their setpoints with a lag
- ``kinematics``  where the parts of a simple arm are
- ``render``      synthetic cameras, with ``camera`` and ``solids`` to draw
- ``footage``     recorded videos as cameras
"""
