# SPDX-License-Identifier: Apache-2.0
from dreamzero_ros.engine.library_warnings import hide_known_warnings

hide_known_warnings()  # before any module of this package imports their libraries
