# SPDX-License-Identifier: Apache-2.0
"""One report of everything that the package owes of a GPU: whether it is right there, and how fast.

`stages` lists what is measured, most valuable first. `runner` starts every stage as a process of its own with
a limit; `child` is that process and writes each result at once; `page` makes one page of all.
"""
