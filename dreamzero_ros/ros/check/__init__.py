# SPDX-License-Identifier: Apache-2.0
"""The preflight: what a run needs, looked at one by one before the first run.

`files` and `memory` look at this machine. `listen` hears the robot for a few seconds; `cameras`, `joints` and
`controllers` judge what was heard and who is there. `latency` asks the policy for chunks that nobody follows.
"""
