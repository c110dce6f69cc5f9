# SPDX-License-Identifier: Apache-2.0
"""The generated interfaces; nothing else imports dreamzero_msgs."""

from dreamzero_msgs.action import RunPolicy
from dreamzero_msgs.msg import Chunk, PolicyStatus
from dreamzero_msgs.srv import SetInstruction

__all__ = ["Chunk", "PolicyStatus", "RunPolicy", "SetInstruction"]
