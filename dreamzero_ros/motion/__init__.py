# SPDX-License-Identifier: Apache-2.0
"""From an action chunk to a joint trajectory that is continuous and within limits, whatever the chunk was.

- ``trajectory``  points with velocities and the cubics between them, as controllers interpolate
- ``timeline``    when each target is due
- ``splice``      the wanted motion: a curve through the targets, joined to what is being executed
- ``limits``      what the joints may do, and the report of what a chunk wanted beyond it
- ``tracker``     follows the wanted motion within the limits; brakes
- ``plan``        all of it: ``plan`` for a chunk, ``stop`` for a soft stop
"""
