# SPDX-License-Identifier: Apache-2.0
"""What a policy would have done, as pages that open without a network and as a table for a pull request."""
