# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of results: medians, ratios and targets."""
import statistics


BEST = False


def use_best():
    """On a busy host the best of the rounds says more than their median."""
    global BEST
    BEST = True


def median(values, high=False):
    """The median; with use_best() the lowest value, or the highest where high is good."""
    if not values:
        return None
    if BEST:
        return max(values) if high else min(values)
    return statistics.median(values)


class Table:
    def __init__(self):
        self.rows = []
        self.missed = 0

    def title(self, text):
        print(f"\n== {text}", flush=True)

    def row(self, name, unit, bare=None, fio=None, qemu=None, vireo=None, target=None):
        """target: (text, value reached or None, comparison '<=' or '>=', limit)."""
        def show(label, v):
            return f" {label} {v:9.4g}" if v is not None else ""
        line = f"{name:34}{unit:>6}" + show("bare", bare) + show("fio", fio)
        line += show("qemu", qemu) + show("vireo", vireo)
        if vireo and qemu:
            line += f"  vireo/qemu {vireo / qemu:5.2f}"
        if target is not None:
            text, value, compare, limit = target
            line += f"  [{text}"
            if value is not None:
                good = value <= limit if compare == "<=" else value >= limit
                self.missed += not good
                line += f": {value:.3g} {'ok' if good else 'MISSED'}"
            line += "]"
        print(line, flush=True)
        self.rows.append({"name": name, "unit": unit, "bare": bare, "fio": fio, "qemu": qemu,
                          "vireo": vireo})


def ratio(a, b):
    return a / b if a is not None and b else None
