# SPDX-License-Identifier: Apache-2.0
"""From an action chunk to a joint trajectory that is continuous and within limits, whatever the chunk was.

- ``trajectory``  points with velocities and the cubics between them, as controllers interpolate
- ``chunk``       what is read of a chunk, and which chunk is refused at once
- ``settings``    how a chunk becomes a trajectory
- ``timeline``    when each target is due
- ``smooth``      arm joints without jitter
- ``gripper``     grippers without blips
- ``splice``      the wanted motion: a curve through the targets, joined to what is being executed
- ``limits``      what the joints may do, and the report of what a chunk wants beyond it
- ``pace``        clamp, slow down or refuse what is beyond
- ``tracker``     follows the wanted motion within the limits; brakes
- ``plan``        all of it: ``plan`` for a chunk, ``stop`` for a soft stop
- ``approach``    a gentle way from one resting pose to another
"""
