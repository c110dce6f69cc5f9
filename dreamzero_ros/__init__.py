# SPDX-License-Identifier: Apache-2.0
"""Runs the DreamZero world action model as a closed-loop policy on a robot.

The map, lowest level first; imports only go down:

- ``embodiment``   what a robot is, as data: schema, loader, prompts, normalisation
- ``observation``  camera and joint messages -> ``Frame``
- ``engine``       the world action model: transformer, caches, sampler, encoders, weights, bench
- ``motion``       action chunk -> joint trajectory that is continuous and within limits
- ``kinematics``   joint positions -> poses of links, from a robot description
- ``policy``       ``reset()`` and ``infer(frame) -> ActionChunk``
- ``sim``          a simulated arm, its controllers and its cameras
- ``training``     the flow-matching objective
- ``bench``        times the loop; measures everything that the package owes of a GPU
- ``ros``          the only importer of rclpy: nodes, bridge, console commands
"""
