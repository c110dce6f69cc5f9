# SPDX-License-Identifier: Apache-2.0
"""Measurements: of the loop on this machine, and of everything that the package owes of a GPU."""
